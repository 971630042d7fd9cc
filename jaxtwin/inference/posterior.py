"""The posterior of a fit: its Laplace approximation, with the exact curvature where it matters."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..twin import PlacedMap, Theta, Wave
from .arrival_model import curvature
from .fit import Fit
from .laplace import Laplace, laplace
from .map_loss import curvature_product, residual
from .objective import simulated_models, weighed
from .problem import Problem, zeros


def posterior(fit: Fit, *, rank: int = 20, waves: Sequence[Wave] | None = None) -> Laplace:
    """The posterior of the parameters of a fit as a Gaussian around its estimate (Laplace approximation).

    **Arguments:**

    - `rank`: products with the exact curvature, each a forward-mode and a reverse-mode derivative of every
      beat, which correct the curvature along rays; 0 leaves it at that.
    - `waves`: `fit.waves()`, if already computed.

    **Returns:** a `Laplace`, from which `predict`, `spread` and `design_next` follow.

    **Example:**

    ```python
    found = jt.fit(twin, data)
    draws = jt.posterior(found).sample(jax.random.key(0), 100)
    ```
    """
    problem, white = fit.problem, fit.problem.prior.white(fit.theta)
    waves = tuple(waves or fit.waves())
    activation = tuple(wave.activation for wave in waves)
    models = simulated_models(problem, white, fit.placed, activation)
    problem, placed = weighed(problem, fit.placed, white, models, waves)
    placed = _sandwiched(problem, placed, white, activation)

    def product(v: Theta) -> Theta:
        total = zeros(white)
        for one in placed:
            total = jax.tree.map(jnp.add, total, curvature_product(v, white, problem, one))
        return total

    return laplace(problem.prior, white, product, rank, curvature(problem, white, placed, models))


def _sandwiched(problem: Problem, placed: Sequence[PlacedMap], white: Theta, activation):
    """Weights by what the residuals show of their distribution, should the likelihood have another."""
    residuals = np.concatenate(
        [np.asarray(residual(white, problem, one, lat)) for one, lat in zip(placed, activation, strict=True)]
    )
    # a fit makes residuals smaller than errors, by the parameters that it used up
    errors = residuals[np.isfinite(residuals)] / np.sqrt(1.0 - float(problem.arrival.lost))
    share = problem.arrival.errors.efficiency(errors)
    return tuple(
        eqx.tree_at(lambda p: p.weight, one, jnp.where(one.silent, one.weight, share * one.weight))
        for one in placed
    )
