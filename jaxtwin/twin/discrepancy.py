"""What activation times have beside the model: a smooth field for each map."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..anatomy import Mesh
from ..fem import matern_modes
from .variation import Variation


class Discrepancy(eqx.Module):
    """The model discrepancy of a map: a field of activation times, ms, without a constant, which is the time
    offset of the map.

    - `basis`: (nodes, terms), scaled by the prior standard deviation, ms.
    - `variation`: its scales, if a fit may change them; None: they stay.
    """

    basis: Float[Array, "nodes terms"]
    variation: Variation | None = None

    def rescaled(self, sd_ms: float, length_mm: float) -> "Discrepancy":
        """The same field with other scales."""
        factors = jnp.asarray(self.factors(sd_ms, length_mm), self.basis.dtype)
        assert self.variation is not None
        return Discrepancy(self.basis * factors[None], self.variation.changed(sd_ms, length_mm))

    def factors(self, sd_ms: float, length_mm: float) -> Float[np.ndarray, " terms"]:
        """By which other scales multiply the columns of the basis."""
        assert self.variation is not None
        return self.variation.weights(sd_ms, length_mm)[1:]


def discrepancy(
    mesh: Mesh,
    *,
    sd_ms: float,
    correlation_length: float = 20.0,
    modes: int = 300,
    infer_scales: bool = True,
) -> Discrepancy:
    """A Matern field of activation times that each map may have in addition to the model.

    **Arguments:** `sd_ms`: its prior standard deviation, ms. `correlation_length`, mm. `modes`: their number;
    at most a third of the nodes. `infer_scales`: whether a fit may change the first two.

    **Example:** `jt.Twin(..., discrepancy=jt.discrepancy(mesh, sd_ms=3.0))`
    """
    found = matern_modes(mesh, correlation_length=correlation_length, count=min(modes, len(mesh.points) // 3))
    return Discrepancy(sd_ms * found.modes[:, 1:], Variation.of(found, sd_ms) if infer_scales else None)
