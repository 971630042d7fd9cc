"""Draws from the posterior of a fit itself, against which its Gaussian can be judged."""

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
    """The logarithm of the posterior density of theta, but for a constant, by simulation of all maps."""

    problem: Problem
    placed: tuple[PlacedMap, ...]

    def __call__(self, theta: Theta) -> Float[Array, ""]:
        total = self.problem.prior.energy(self.problem.prior.white(theta))
        for one in self.placed:
            solved, records = simulated(theta, self.problem, one)
            total = total + summed(theta, self.problem, one, solved, records)[0]
        return -total


def log_posterior(fit: Fit, theta: Theta) -> LogPosterior:
    """With the discretisation error as it is at `theta`."""
    waves = simulated_waves(fit.twin, theta)
    white = fit.problem.prior.white(theta)
    models = simulated_models(fit.problem, white, fit.placed, tuple(wave.activation for wave in waves))
    _, placed = weighed(fit.problem, fit.placed, white, models, waves)
    # draws of all parameters free the noise from what they use up: to do so in the likelihood too counts
    # twice
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
    """Draws of theta from the posterior itself, of which `posterior` is the Gaussian approximation: a check
    of that on small problems.

    By the no-U-turn sampler (Hoffman, Gelman 2014, doi 10.48550/arXiv.1111.4246), in coordinates in which
    `posterior` is standard normal. A draw takes some seven gradients of the simulation of all maps; the
    `warmup` trajectories before adapt their step. The discretisation error is estimated once, at the mode.
    `report` gets the number of trajectories done, warmup included, and the acceptance on the last.

    **Raises:** `InputError` without blackjax (`pip install "jaxtwin[bayes]"`) or for fewer than 10 draws.
    """
    library()  # where it is missing, say so before the simulations
    density = log_posterior(fit, posterior.theta)
    return nuts(density, posterior, draws=draws, warmup=warmup, seed=seed, report=report)
