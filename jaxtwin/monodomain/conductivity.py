"""Diffusion tensors from diffusivities along and across the fibres."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import InputError
from .._types import Parameter
from ..cells import known

ROUNDING = 1e-5  # tolerance of a principal minor, relative to the largest entry


def diffusion_tensor(
    fibres: Float[Array, "cells dim"] | Float[np.ndarray, "cells dim"],
    along: Parameter,
    ratio: Parameter = 1.0,
) -> Float[Array, "cells dim dim"]:
    """Returns the diffusion tensor D = D_t I + (D_l - D_t) f f^T of each cell, mm2/ms.

    On a surface, the normal part of I multiplies tangential gradients only and has no effect.

    **Arguments:**

    - `fibres`: (cells, dim), unit vectors. A zero vector marks a cell without a fibre: the formula then gives
      D = D_t I, so the cell is isotropic, in this package and in any other code that evaluates it.
    - `along`: D_l, mm2/ms, a number or (cells,).
    - `ratio`: D_l / D_t, at least 1, a number or (cells,).

    **Returns:** (cells, dim, dim), mm2/ms.

    **Example:**

    ```python
    d_along = jt.MitchellSchaeffer().diffusivity(0.7)  # mm2/ms, for 0.7 mm/ms
    diffusivity = jt.diffusion_tensor(mesh.fibres, d_along, ratio=4.0)
    ```
    """
    along = jnp.asarray(along, float)
    fibres = jnp.asarray(fibres, along.dtype)
    cells, dim = fibres.shape
    longitudinal = jnp.broadcast_to(along, (cells,))[:, None, None]
    transverse = jnp.broadcast_to(along / ratio, (cells,))[:, None, None]
    identity = jnp.eye(dim, dtype=along.dtype)[None]
    return transverse * identity + (longitudinal - transverse) * fibres[:, :, None] * fibres[:, None, :]


def turned_tensor(
    fibres: Float[Array, "cells dim"] | Float[np.ndarray, "cells dim"],
    across: Float[Array, "cells dim"] | Float[np.ndarray, "cells dim"],
    along: Float[Array, " cells"],
    stretch: Float[Array, " cells"],
    shear: Float[Array, " cells"],
) -> Float[Array, "cells dim dim"]:
    """Returns the diffusion tensor of each cell of a surface from log-Euclidean coordinates, mm2/ms.

    log D = m (f f^T + p p^T) + b (f f^T - p p^T) + c (f p^T + p f^T), with f the `fibres`, p perpendicular to
    them in the surface (`across`), b the `stretch` and c the `shear`. Conduction is fastest, D_l = `along` =
    exp(m + beta), in the direction rotated from f towards p by half the angle of (b, c); D_l/D_t = exp(2
    beta) with beta = |(b, c)|. These coordinates are smooth through isotropy, b = c = 0, where a fibre angle
    is undefined (Arsigny et al. 2006, doi 10.1002/mrm.20965). A cell without a fibre, f = p = 0, is isotropic
    with D_t, as in `diffusion_tensor`.
    """
    f, p = jnp.asarray(fibres, along.dtype), jnp.asarray(across, along.dtype)
    square = stretch**2 + shear**2
    small = square < 1e-6
    beta = jnp.sqrt(jnp.where(small, 1.0, square))
    # sinh(beta)/beta and cosh(beta), smooth through zero
    ratio = jnp.where(small, 1.0 + square / 6.0, jnp.sinh(beta) / beta)
    even = jnp.where(small, 1.0 + square / 2.0, jnp.cosh(beta))
    half = magnitude(stretch, shear)
    level = along * jnp.exp(-half)

    def outer(a, b):
        return a[:, :, None] * b[:, None, :]

    def column(values):
        return (level * values)[:, None, None]

    both, apart = outer(f, f) + outer(p, p), outer(f, f) - outer(p, p)
    mixed = outer(f, p) + outer(p, f)
    without = jnp.where((f == 0.0).all(axis=1), jnp.exp(-half), 0.0)
    isotropic = column(without) * jnp.eye(f.shape[1], dtype=along.dtype)[None]
    return column(even) * both + column(ratio * stretch) * apart + column(ratio * shear) * mixed + isotropic


def magnitude(stretch: Parameter, shear: Parameter) -> Float[Array, "..."]:
    """beta = |(stretch, shear)|, half the logarithm of D_l/D_t; its derivative is 0 where both are 0."""
    square = jnp.asarray(stretch**2 + shear**2)
    positive = square > 0.0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


@eqx.filter_jit
def _least_minor(tensor: Float[Array, "... dim dim"]) -> Float[Array, "..."]:
    """Smallest principal minor of each tensor, relative to its largest entry; negative if the tensor is not
    symmetric."""
    scale = jnp.abs(tensor).max(axis=(-2, -1))
    d = tensor / jnp.where(scale > 0.0, scale, 1.0)[..., None, None]
    dim = d.shape[-1]
    minors = [d[..., i, i] for i in range(dim)]
    minors += [d[..., i, i] * d[..., j, j] - d[..., i, j] ** 2 for i in range(dim) for j in range(i + 1, dim)]
    if dim == 3:
        minors.append(jnp.linalg.det(d))
    skew = jnp.abs(d - jnp.swapaxes(d, -2, -1)).max(axis=(-2, -1))
    return jnp.stack([*minors, -skew]).min(axis=0)


def check_diffusivity(tensor: Float[Array, "... dim dim"]) -> None:
    """Raises `InputError` for a diffusion tensor that is not finite, symmetric and positive semidefinite.

    Call it outside traced functions, where the values are known.
    """
    if known(tensor) is None:
        return
    least = np.asarray(_least_minor(tensor))
    bad = ~(least >= -ROUNDING)
    if bad.any():
        first = int(bad.reshape(-1, bad.shape[-1]).any(axis=0).argmax())
        worst = np.asarray(tensor, np.float64).reshape(-1, *tensor.shape[-3:])[:, first]
        finite = np.isfinite(worst).all()
        raise InputError(
            f"a diffusivity that is {'not symmetric and positive' if finite else 'not finite'}"
            f" in {int(bad.sum())} cells, first in cell {first}: {np.round(worst[0], 6).tolist()} mm2/ms",
            "symmetric positive definite tensors; 0 where tissue does not conduct",
            "Correct the conductivity there",
        )
