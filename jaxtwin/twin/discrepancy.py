"""What activation times have beside the model: a smooth field for each map."""

import equinox as eqx
from jaxtyping import Array, Float

from ..anatomy import Mesh
from ..fem import matern_modes
from .variation import Variation


class Discrepancy(eqx.Module):
    """The model discrepancy of a map: a field of activation times, ms, without a constant, which is the time
    offset of the map.

    - `basis`: (nodes, terms), scaled by the prior standard deviation, ms.
    - `variation`: its scales, where a fit may infer others.
    """

    basis: Float[Array, "nodes terms"]
    variation: Variation | None = None


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
    at most a third of the nodes. `infer_scales`: whether a fit may infer others.

    **Example:** `jt.Twin(..., discrepancy=jt.discrepancy(mesh, sd_ms=3.0))`
    """
    found = matern_modes(mesh, correlation_length=correlation_length, count=min(modes, len(mesh.points) // 3))
    return Discrepancy(sd_ms * found.modes[:, 1:], Variation.of(found, sd_ms) if infer_scales else None)
