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

    - `log_sd`: standard deviation of log D, to first order in theta. Far from scar, draws of the Gaussian
      contain scar as often as the prior, at places where the data exclude it; the first order does not.
    - `low`, `high`: central 90 % interval of D over draws, mm2/ms, which excludes such rare scar.
    - `information`: fraction of the prior variance of log D that the data removed, 0 to 1.
    - `scar`: probability that the scar fraction is above 0.5.
    """

    log_sd: Float[Array, " nodes"]
    low: Float[Array, " nodes"]
    high: Float[Array, " nodes"]
    information: Float[Array, " nodes"]
    scar: Float[Array, " nodes"]


def spread(
    fit: Fit, posterior: Laplace, *, waves: Sequence[Wave] | None = None, draws: int = 200, seed: int = 0
) -> Spread:
    """Returns the posterior uncertainty of diffusivity and scar at the nodes, compared with the prior.

    **Arguments:**

    - `fit`: the fitted twin. `posterior`: from `posterior`.
    - `waves`: `fit.waves()`, if already computed; their discretisation error widens log D.
    - `draws`, `seed`: number of posterior samples, and their random seed.

    **Returns:** a `Spread`.

    **Example:**

    ```python
    log_sd = jt.spread(found, jt.posterior(found)).log_sd  # (nodes,)
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
    """As `spread`, with `error` the standard deviation of log D due to discretisation."""
    before_data = Laplace(
        posterior.prior, jax.tree.map(jnp.zeros_like, posterior.white),
        posterior.directions, jnp.zeros_like(posterior.gain),
    )  # fmt: skip
    key = jax.random.key(seed)  # the same random numbers for both, so that their noise cancels in the ratio
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
    """The change of log D to first order, for parameters of the tissue only."""
    move = jax.tree.map(jnp.subtract, draw["tissue"], theta["tissue"])
    return jax.jvp(lambda t: jnp.log(tissue_map.diffusivity(t)), (theta["tissue"],), (move,))[1]


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(None, 0))
def _fields(tissue_map: AbstractTissueMap, theta: Theta):
    return jnp.log(tissue_map.diffusivity(theta["tissue"])), tissue_map.scar(theta["tissue"])
