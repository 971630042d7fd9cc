"""Posterior samples of a fit, to check its Laplace approximation."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from ..twin import PlacedMap, Theta, simulated_waves
from .fit import Fit
from .laplace import Laplace
from .map_loss import simulated, summed
from .nuts import Draws, library, nuts
from .objective import simulated_models, weighed
from .problem import Problem


class LogPosterior(eqx.Module):
    """Log posterior density of theta up to a constant, by simulation of all maps."""

    problem: Problem
    placed: tuple[PlacedMap, ...]

    def __call__(self, theta: Theta) -> Float[Array, ""]:
        total = self.problem.prior.energy(self.problem.prior.white(theta))
        for one in self.placed:
            solved, records = simulated(theta, self.problem, one)
            total = total + summed(theta, self.problem, one, solved, records)[0]
        return -total


def log_posterior(fit: Fit, theta: Theta) -> LogPosterior:
    """The log posterior of a fit, with the discretisation error estimated at `theta`."""
    waves = simulated_waves(fit.twin, theta)
    white = fit.problem.prior.white(theta)
    models = simulated_models(fit.problem, white, fit.placed, tuple(wave.activation for wave in waves))
    _, placed = weighed(fit.problem, fit.placed, white, models, waves)
    # sampling all parameters already accounts for the degrees of freedom that they take from the noise:
    # to correct the likelihood too would count them twice
    return LogPosterior(fit.problem.counted(0.0, 0.0), placed)


def sample(
    fit: Fit,
    posterior: Laplace,
    *,
    draws: int = 500,
    warmup: int = 100,
    seed: int = 0,
    report: Callable[[int, float], Any] = lambda done, acceptance: None,
) -> Draws:
    """Draws posterior samples of theta by the no-U-turn sampler, to check the Laplace approximation
    `posterior` on small problems.

    It samples in coordinates in which `posterior` is standard normal (Hoffman, Gelman 2014, doi
    10.48550/arXiv.1111.4246). One draw takes about seven gradients of the simulation of all maps. The
    discretisation error is estimated once, at the mode.

    **Arguments:** `draws`: number of samples, at least 10. `warmup`: trajectories that adapt the step size
    first. `report`: called with the number of trajectories done, warm-up included, and the acceptance of the
    last.

    **Returns:** `Draws`.

    **Raises:** `InputError` without blackjax (`pip install "jaxtwin[bayes]"`) or for fewer than 10 draws.

    **Example:**

    ```python
    draws = jt.sample(found, jt.posterior(found), draws=200)
    ```
    """
    library()  # raise before the simulations if it is missing
    density = log_posterior(fit, posterior.theta)
    return nuts(density, posterior, draws=draws, warmup=warmup, seed=seed, report=report)
