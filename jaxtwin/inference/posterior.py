"""The posterior of a fit: Laplace approximation with exact curvature in the leading directions."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..twin import PlacedMap, Theta, Wave, of_each
from .arrival_model import curvature
from .fit import Fit
from .following import windows_at
from .laplace import Laplace, laplace
from .map_loss import curvature_product, residual
from .objective import simulated_models, weighed
from .problem import Problem


def posterior(fit: Fit, *, rank: int = 20, waves: Sequence[Wave] | None = None) -> Laplace:
    """Returns the Laplace approximation of the posterior of a fit: a Gaussian at its estimate.

    **Arguments:**

    - `fit`: from `fit`.
    - `rank`: maximum number of products with the exact curvature, which correct the curvature along rays
      until the standard deviations no longer change; each takes a forward-mode and a reverse-mode derivative
      of every beat. 0: no products. With at most `rank` parameters the whole curvature is exact; with up to
      16 it is so at any `rank`, except for evidence with a recorder.
    - `waves`: `fit.waves()`, if already computed.

    **Returns:** a `Laplace`, the input of `predict`, `spread` and `design_next`.

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

    stepped = problem.stepped_for(white)
    each = list(zip(placed, windows_at(stepped, placed, white, activation), strict=True))

    def product(v: Theta) -> Theta:
        found = of_each(lambda one: curvature_product(v, white, stepped, *one), each)
        return jax.tree.map(lambda *each: sum(each[1:], each[0]), *found)

    return laplace(problem.prior, white, product, rank, curvature(problem, white, placed, models))


def _sandwiched(problem: Problem, placed: Sequence[PlacedMap], white: Theta, activation):
    """The problem and its maps, weighted by the empirical distribution of the residuals (sandwich
    correction)."""
    residuals = np.concatenate(
        [np.asarray(residual(white, problem, one, lat)) for one, lat in zip(placed, activation, strict=True)]
    )
    # residuals are smaller than errors, by the degrees of freedom that the fit has used
    errors = residuals[np.isfinite(residuals)] / np.sqrt(1.0 - float(problem.arrival.lost))
    share = problem.arrival.errors.efficiency(errors)
    return tuple(
        eqx.tree_at(lambda p: p.weight, one, jnp.where(one.silent, one.weight, share * one.weight))
        for one in placed
    )
