"""One simulated beat, and what the edges of the mesh may have done to it."""

import equinox as eqx
from jaxtyping import Array, Float

from ..signals import NumericalError


class Wave(eqx.Module):
    """One simulated beat.

    - `activation`: when it came to the nodes, ms on the clock of its stimulus, NaN where it did not.
    - `error`: what the edges of the mesh leave as error in that, estimated; None in a twin without it.
    """

    activation: Float[Array, " nodes"]
    error: NumericalError | None
