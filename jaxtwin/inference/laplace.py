"""Laplace approximation of the posterior at its mode."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from scipy.linalg import solve_triangular

from ..twin import Theta
from .identify import identifiability
from .prior import Prior

DENSE = 64  # parameters up to which the full curvature is computed
UNCHANGED = 0.01  # rms relative change of the standard deviations by a product that corrects nothing
NOT_BELOW = -0.9999  # a correction must leave part of the precision


class Laplace(eqx.Module):
    """Laplace approximation of the posterior: theta = prior.at(z) with z ~ N(white, (I + V diag(l) V^T)^-1).

    In the coordinates z of the prior, where it is N(0, I), the data change it in a few directions V only.
    Along direction k they are worth l_k >= 0 measurements that are each as precise as the prior (Bui-Thanh et
    al. 2013, doi 10.1137/12089586X).

    - `prior`: of theta. `white`: the mode, z. `directions`: V, (parameters, rank), orthonormal. `gain`: l,
      the largest first.
    """

    prior: Prior
    white: Theta
    directions: Float[Array, "parameters rank"]
    gain: Float[Array, " rank"]

    @property
    def theta(self) -> Theta:
        """The posterior mode."""
        return self.prior.at(self.white)

    def at(self, standard: Float[Array, " parameters"]) -> Theta:
        """Maps a standard normal vector to a draw of theta."""
        flat, back = ravel_pytree(self.white)
        # (I + V l V^T)^(-1/2) = I - V (1 - (1 + l)^(-1/2)) V^T
        shrink = 1.0 - jax.lax.rsqrt(1.0 + self.gain)
        moved = standard - self.directions @ (shrink * (self.directions.T @ standard))
        return self.prior.at(back(flat + moved))

    def sample(self, key: Array, count: int) -> Theta:
        """Draws of theta; each array has a leading axis of `count`."""
        flat, _ = ravel_pytree(self.white)
        return jax.vmap(self.at)(jax.random.normal(key, (count, flat.size), flat.dtype))

    def root(self) -> Float[np.ndarray, "parameters parameters"]:
        """A root of the covariance of theta: covariance = root root^T, parameters in the order of
        `ravel_pytree`."""
        v, gain = np.asarray(self.directions, np.float64), np.asarray(self.gain, np.float64)
        root = np.eye(len(v)) - (v * (1.0 - (1.0 + gain) ** -0.5)) @ v.T
        return self.prior.to_theta(root.T).T

    def variance(self) -> Theta:
        """Posterior variance of each parameter in theta."""
        flat, back = ravel_pytree(self.white)
        if self.prior.root is not None:
            return back(jnp.asarray((self.root() ** 2).sum(axis=1), flat.dtype))
        kept = self.gain / (1.0 + self.gain)
        return back(1.0 - jnp.sum(kept[None] * self.directions**2, axis=1))

    def sd_of(self, slopes: Float[np.ndarray, "values parameters"]) -> Float[np.ndarray, " values"]:
        """Posterior standard deviations of values with these derivatives with respect to theta."""
        slopes = self.prior.from_theta(slopes)
        inside = slopes @ np.asarray(self.directions, np.float64)
        gain = np.asarray(self.gain, np.float64)
        square = (slopes.astype(np.float64) ** 2).sum(axis=1) - inside**2 @ (gain / (1.0 + gain))
        return np.sqrt(np.maximum(square, 0.0))

    def labels(self) -> Theta:
        """For each parameter in theta: "identified", "weak", or "not" if the data hardly reduce its prior
        variance."""
        before = Laplace(self.prior, self.white, self.directions, jnp.zeros_like(self.gain)).variance()
        return jax.tree.map(
            lambda left, full: identifiability(np.asarray(left) / np.asarray(full)), self.variance(), before
        )

    def as_prior(self) -> Prior:
        """This posterior as the prior of the next fit of a twin with the same parameters."""
        flat, _ = ravel_pytree(self.white)
        return Prior(self.theta, jnp.asarray(self.root(), flat.dtype))


def krylov(
    product: Callable[[np.ndarray], np.ndarray],
    size: int,
    steps: int,
    settled: Callable[[np.ndarray, np.ndarray], bool] = lambda values, vectors: False,
):
    """Ritz values and vectors of a symmetric matrix in the Krylov space of up to `steps` products; fewer if
    they have `settled` before.

    One pass with full orthogonalisation: products are expensive here, and restarts would take several times
    as many. Ritz values never exceed the eigenvalues that they approximate, so the posterior is rather too
    wide.
    """
    rows, images = np.zeros((0, size)), []
    values, vectors = np.zeros(0), np.zeros((size, 0))
    v = np.random.default_rng(0).standard_normal(size)
    for _ in range(steps):
        for _ in range(2):
            v = v - rows.T @ (rows @ v)
        length = np.linalg.norm(v)
        if images and length <= 1e-8 * np.linalg.norm(images[0]):
            break
        rows = np.concatenate([rows, v[None] / length])
        images.append(product(rows[-1]))
        v = images[-1]
        projected = rows @ np.stack(images, axis=1)
        values, inside = np.linalg.eigh(0.5 * (projected + projected.T))
        vectors = rows.T @ inside
        if settled(values, vectors):
            break
    return values, vectors


class Settled:
    """Whether the posterior standard deviations have stopped changing from one correction to the next, for a
    precision of factor (I + V diag(values) V^T) factor^T."""

    def __init__(self, factor: Float[np.ndarray, "numbers numbers"]):
        self._root = solve_triangular(factor, np.eye(len(factor)), lower=True).T
        self._sd = np.sqrt((self._root**2).sum(axis=1))
        self._times = 0

    def __call__(self, values: np.ndarray, vectors: np.ndarray) -> bool:
        kept = np.maximum(values, NOT_BELOW)
        moved = (self._root @ vectors) ** 2 @ (kept / (1.0 + kept))
        sd = np.sqrt(np.maximum((self._root**2).sum(axis=1) - moved, 0.0))
        change = np.sqrt(np.mean((sd / self._sd - 1.0) ** 2))
        self._sd, self._times = sd, self._times + 1 if change < UNCHANGED else 0
        return self._times > 1


def laplace(
    prior: Prior,
    white: Theta,
    curvature: Callable[[Theta], Theta],
    rank: int = 30,
    nearby: Float[np.ndarray, "numbers numbers"] | None = None,
) -> Laplace:
    """The Laplace approximation at `white`. `curvature`: v -> J^T W J v, the Gauss-Newton curvature of the
    misfit.

    With up to `rank` parameters, or 64 without `nearby`, the full curvature is computed; otherwise its
    projection on the Krylov space of `rank` products, which contains the leading directions. `nearby` is a
    cheap approximation of the curvature as a matrix: it is used first, and the products only find its error,
    which has a much lower rank. They stop once two in a row have changed the standard deviations by less than
    1 %; with `rank` 0 there are none.
    """
    flat, back = ravel_pytree(white)

    def product(v: np.ndarray) -> np.ndarray:
        return np.asarray(ravel_pytree(curvature(back(jnp.asarray(v, flat.dtype))))[0], np.float64)

    if flat.size <= rank or (nearby is None and flat.size <= DENSE):
        whole = np.stack([product(column) for column in np.eye(flat.size)])
        gain, directions = np.linalg.eigh(0.5 * (whole + whole.T))
    elif nearby is not None and rank == 0:
        gain, directions = np.linalg.eigh(nearby)
    elif nearby is None:
        gain, directions = krylov(product, flat.size, rank)
    else:
        # I + J^T W J = L (I + E) L^T with L L^T = I + nearby, and E of low rank
        factor = np.linalg.cholesky(np.eye(flat.size) + nearby)

        def remainder(v: np.ndarray) -> np.ndarray:
            at = solve_triangular(factor, v, lower=True, trans=1)
            return solve_triangular(factor, at + product(at), lower=True) - v

        wrong, where = krylov(remainder, flat.size, rank, Settled(factor))
        corrected = factor @ where
        precision = factor @ factor.T + (corrected * np.maximum(wrong, NOT_BELOW)) @ corrected.T
        gain, directions = np.linalg.eigh(precision)
        gain = gain - 1.0
    order = np.argsort(gain)[::-1]
    return Laplace(
        prior, white, jnp.asarray(directions[:, order], flat.dtype),
        jnp.asarray(np.maximum(gain[order], 0.0), flat.dtype),
    )  # fmt: skip
