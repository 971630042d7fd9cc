"""One simulated beat and its discretisation error."""

import equinox as eqx
from jaxtyping import Array, Float

from ..signals import NumericalError


class Wave(eqx.Module):
    """One simulated beat.

    - `activation`: (nodes,), ms on the clock of its stimulus, NaN where not activated.
    - `error`: estimated discretisation error; None in a twin that does not estimate it.
    """

    activation: Float[Array, " nodes"]
    error: NumericalError | None
