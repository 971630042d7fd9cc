"""How sure a fit is: the Gaussian that touches the posterior at its top."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from scipy.linalg import solve_triangular

from .parameterisation import LogConductivity, Theta

DENSE = 64  # numbers in theta up to which all of the curvature is computed
NOT_BELOW = -0.9999  # a correction may not take all of a precision away
IDENTIFIED, WEAK = 0.1, 0.5  # posterior over prior variance, below which a number is called so


class Laplace(eqx.Module):
    """N(theta, (I + V diag(l) V^T)^-1): what a Gaussian prior and the curvature of the misfit leave.

    The prior of theta is N(0, I), so that the data change the prior in few directions V only, those in which
    they are worth l > 0 measurements as sure as the prior (Bui-Thanh et al. 2013, doi 10.1137/12089586X).

    - `theta`: the middle. `directions`: V, (numbers, rank), orthonormal. `gain`: l, the largest first.
    """

    theta: Theta
    directions: Float[Array, "numbers rank"]
    gain: Float[Array, " rank"]

    def at(self, white: Float[Array, " numbers"]) -> Theta:
        """theta + (I + V diag(l) V^T)^(-1/2) white: what is standard normal becomes this Gaussian."""
        flat, back = ravel_pytree(self.theta)
        # (I + V l V^T)^(-1/2) = I - V (1 - (1 + l)^(-1/2)) V^T
        shrink = 1.0 - jax.lax.rsqrt(1.0 + self.gain)
        return back(flat + white - self.directions @ (shrink * (self.directions.T @ white)))

    def sample(self, key: Array, count: int) -> Theta:
        """Draws of theta, with (count,) in front of each array."""
        flat, _ = ravel_pytree(self.theta)
        return jax.vmap(self.at)(jax.random.normal(key, (count, flat.size), flat.dtype))

    def variance(self) -> Theta:
        """The variance of each number in theta; 1 is what it was before the data."""
        _, back = ravel_pytree(self.theta)
        kept = self.gain / (1.0 + self.gain)
        return back(1.0 - jnp.sum(kept[None] * self.directions**2, axis=1))

    def sd_of(self, slopes: Float[np.ndarray, "values numbers"]) -> Float[np.ndarray, " values"]:
        """Standard deviations of values with these derivatives by theta."""
        inside = slopes @ np.asarray(self.directions, np.float64)
        gain = np.asarray(self.gain, np.float64)
        square = (slopes.astype(np.float64) ** 2).sum(axis=1) - inside**2 @ (gain / (1.0 + gain))
        return np.sqrt(np.maximum(square, 0.0))

    def labels(self) -> dict[str, np.ndarray]:
        """Each number in theta: "identified", "weak", or "not" where the data hardly narrow the prior."""
        return {name: identifiability(np.asarray(left)) for name, left in self.variance().items()}


def identifiability(left: np.ndarray) -> np.ndarray:
    """ "identified", "weak" or "not", from posterior over prior variance."""
    return np.where(left < IDENTIFIED, "identified", np.where(left < WEAK, "weak", "not"))


class Combination(eqx.Module):
    """A combination of logarithms of parameters, and how far the data narrow it.

    - `names`, `share`: sum_k share_k log(name_k); the share of largest size is 1 or -1.
    - `left`: posterior over prior variance.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    share: Float[np.ndarray, " names"]
    left: float

    def __str__(self) -> str:
        terms = [
            f"{'-' if value < 0 else '+'} {abs(value):.2f} log {name}"
            for name, value in zip(self.names, self.share, strict=True)
            if abs(value) > 0.02
        ]
        return " ".join(terms).removeprefix("+ ")


def combinations(
    names: tuple[str, ...], slopes: Float[np.ndarray, "points names"], sd: Float[np.ndarray, " names"]
) -> list[Combination]:
    """What data with these derivatives (over their noise) by the logarithms of parameters tell apart.

    The eigenvectors of the Fisher information, whitened by the prior standard deviations `sd`; the best
    determined first.
    """
    white = slopes * sd[None]
    gain, vectors = np.linalg.eigh(white.T @ white)
    made = []
    for g, v in zip(gain[::-1], vectors.T[::-1], strict=True):
        share = v / sd  # of the parameters themselves: the data see v.(log p/sd)
        made.append(
            Combination(names, share / share[np.abs(share).argmax()], float(1.0 / (1.0 + max(g, 0.0))))
        )
    return made


class Spread(eqx.Module):
    """What a posterior leaves open at each node; (nodes,) arrays.

    - `log_sd`: standard deviation of the logarithm of D, to first order in theta: what the Gaussian knows.
      Far from scar its draws have the scar of the prior, at places that the data speak against.
    - `low`, `high`: the middle 90 % of D over draws, mm2/ms, in which such rare scar is not.
    - `information`: the share of the prior variance of log D that the data removed, 0 to 1.
    - `scar`: the probability that the share of scar is above a half.
    """

    log_sd: Float[Array, " nodes"]
    low: Float[Array, " nodes"]
    high: Float[Array, " nodes"]
    information: Float[Array, " nodes"]
    scar: Float[Array, " nodes"]


def spread(
    conductivity: LogConductivity,
    posterior: Laplace,
    *,
    error: Float[np.ndarray, " nodes"] | float = 0.0,
    draws: int = 200,
    seed: int = 0,
) -> Spread:
    """The fields of conductivity and scar over draws from the posterior, beside draws from the prior.

    `error`: standard deviation of log D beside it, as `Twin.error_of_conductivity` has it.
    """
    prior = Laplace(
        jax.tree.map(jnp.zeros_like, posterior.theta), posterior.directions, jnp.zeros_like(posterior.gain)
    )
    key = jax.random.key(seed)  # the same draws for both, so that their noise cancels in the ratio
    drawn = posterior.sample(key, draws)
    log_d, scar = _fields(conductivity, drawn)
    near, before = (_linear(conductivity, posterior.theta, d) for d in (drawn, prior.sample(key, draws)))
    beside = np.random.default_rng(seed).standard_normal((draws, 1)) * np.broadcast_to(error, log_d.shape[1:])
    beside = jnp.asarray(beside, log_d.dtype)
    low, high = jnp.exp(jnp.quantile(log_d + beside, jnp.asarray([0.05, 0.95], log_d.dtype), axis=0))
    left = jnp.var(near + beside, axis=0) / jnp.var(before, axis=0)
    return Spread(
        jnp.std(near + beside, axis=0), low, high, jnp.clip(1.0 - left, 0.0, 1.0),
        jnp.mean(scar > 0.5, axis=0, dtype=log_d.dtype),
    )  # fmt: skip


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(None, None, 0))
def _linear(conductivity: LogConductivity, theta: Theta, draw: Theta):
    """The change of log D to first order. What is no number of the conductivity is left aside."""
    here, there = ({name: t[name] for name in conductivity.bases} for t in (theta, draw))
    move = jax.tree.map(jnp.subtract, there, here)
    return jax.jvp(lambda t: jnp.log(conductivity.diffusivity(t)), (here,), (move,))[1]


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(None, 0))
def _fields(conductivity: LogConductivity, theta: Theta):
    return jnp.log(conductivity.diffusivity(theta)), conductivity.scar(theta)


def krylov(product: Callable[[np.ndarray], np.ndarray], size: int, steps: int):
    """Ritz values and vectors of a symmetric matrix in the Krylov space of so many products.

    One pass with full orthogonalisation: products are dear here, restarts would take several times as many.
    Ritz values never exceed the eigenvalues they stand for, so that a posterior is rather too wide.
    """
    rows, images = np.zeros((0, size)), []
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
    values, vectors = np.linalg.eigh(0.5 * (projected + projected.T))
    return values, rows.T @ vectors


def laplace(
    theta: Theta,
    curvature: Callable[[Theta], Theta],
    rank: int = 30,
    nearby: Float[np.ndarray, "numbers numbers"] | None = None,
) -> Laplace:
    """The Gaussian at `theta`. `curvature`: v -> J^T W J v, the Gauss-Newton curvature of the misfit.

    With up to `rank` numbers in theta, or 64 where there is nothing `nearby`, all of it is computed, beyond
    that its part in the Krylov space of `rank` products, which holds the leading directions. `nearby` is a
    cheap approximation of it as a matrix: what it explains is then taken from it, and the products find where
    it is wrong, of which there is far less; none with `rank` 0.
    """
    flat, back = ravel_pytree(theta)

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

        wrong, where = krylov(remainder, flat.size, rank)
        corrected = factor @ where
        precision = factor @ factor.T + (corrected * np.maximum(wrong, NOT_BELOW)) @ corrected.T
        gain, directions = np.linalg.eigh(precision)
        gain = gain - 1.0
    order = np.argsort(gain)[::-1]
    return Laplace(
        theta, jnp.asarray(directions[:, order], flat.dtype),
        jnp.asarray(np.maximum(gain[order], 0.0), flat.dtype),
    )  # fmt: skip
