"""From speeds along and across the fibres to the diffusion tensor."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Parameter


def diffusion_tensor(
    fibres: Float[Array, "cells dim"] | Float[np.ndarray, "cells dim"],
    along: Parameter,
    ratio: Parameter = 1.0,
) -> Float[Array, "cells dim dim"]:
    """D = D_t I + (D_l - D_t) f f^T, mm2/ms, in each cell.

    `fibres`: unit vectors. `along`: D_l, a number or one per cell, mm2/ms. `ratio`: D_l / D_t, at least 1.
    On a surface the part of I across it meets only tangential gradients and has no effect.
    """
    along = jnp.asarray(along, float)
    fibres = jnp.asarray(fibres, along.dtype)
    cells, dim = fibres.shape
    longitudinal = jnp.broadcast_to(along, (cells,))[:, None, None]
    transverse = jnp.broadcast_to(along / ratio, (cells,))[:, None, None]
    identity = jnp.eye(dim, dtype=along.dtype)[None]
    return transverse * identity + (longitudinal - transverse) * fibres[:, :, None] * fibres[:, None, :]
