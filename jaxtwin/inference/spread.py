"""Fields of posterior uncertainty: diffusivity and scar at the nodes."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..twin import AbstractTissueMap, Theta, Wave, diffusivity_error
from .fit import Fit
from .laplace import Laplace


class Spread(eqx.Module):
    """Posterior uncertainty of diffusivity and scar at each node; (nodes,) arrays.

    - `log_sd`: standard deviation of the logarithm of D, to first order in theta: what the Gaussian knows.
      Far from scar its draws have the scar of the prior, at places that the data speak against.
    - `low`, `high`: the middle 90 % of D over draws, mm2/ms, in which such rare scar is not.
    - `information`: the fraction of the prior variance of log D that the data removed, 0 to 1.
    - `scar`: the probability that the scar fraction is above a half.
    """

    log_sd: Float[Array, " nodes"]
    low: Float[Array, " nodes"]
    high: Float[Array, " nodes"]
    information: Float[Array, " nodes"]
    scar: Float[Array, " nodes"]


def spread(
    fit: Fit, posterior: Laplace, *, waves: Sequence[Wave] | None = None, draws: int = 200, seed: int = 0
) -> Spread:
    """The posterior uncertainty of diffusivity and scar at the nodes, from draws of posterior and prior.

    Their discretisation error widens log D. `waves`: `fit.waves()`, if already computed.

    **Example:**

    ```python
    log_sd = jt.spread(found, jt.posterior(found)).log_sd
    ```
    """
    twin = fit.twin
    error = diffusivity_error(twin, tuple(fit.waves() if waves is None else waves))
    return spread_of(twin.tissue_map, posterior, error=error, draws=draws, seed=seed)


def spread_of(
    tissue_map: AbstractTissueMap,
    posterior: Laplace,
    *,
    error: Float[np.ndarray, " nodes"] | float = 0.0,
    draws: int = 200,
    seed: int = 0,
) -> Spread:
    """As `spread`, with the standard deviation of log D that the discretisation leaves as `error`."""
    before_data = Laplace(
        posterior.prior, jax.tree.map(jnp.zeros_like, posterior.white),
        posterior.directions, jnp.zeros_like(posterior.gain),
    )  # fmt: skip
    key = jax.random.key(seed)  # the same draws for both, so that their noise cancels in the ratio
    drawn = posterior.sample(key, draws)
    log_d, scar = _fields(tissue_map, drawn)
    near, before = (_linear(tissue_map, posterior.theta, d) for d in (drawn, before_data.sample(key, draws)))
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
def _linear(tissue_map: AbstractTissueMap, theta: Theta, draw: Theta):
    """The change of log D to first order. Parameters of the tissue alone."""
    move = jax.tree.map(jnp.subtract, draw["tissue"], theta["tissue"])
    return jax.jvp(lambda t: jnp.log(tissue_map.diffusivity(t)), (theta["tissue"],), (move,))[1]


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(None, 0))
def _fields(tissue_map: AbstractTissueMap, theta: Theta):
    return jnp.log(tissue_map.diffusivity(theta["tissue"])), tissue_map.scar(theta["tissue"])
