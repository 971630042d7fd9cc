"""Draws from the posterior of a twin itself, beside which its Gaussian can be judged."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from ..mapping import MappingData
from ..posterior import Draws, Laplace, Observation, Theta, nuts
from ..posterior.nuts import library
from .misfit import half_square, summed
from .search import simulated_courses, weighed
from .twin import Twin


class LogPosterior(eqx.Module):
    """The logarithm of the posterior density of theta, but for a constant, by simulation of all maps."""

    twin: Twin
    observations: tuple[Observation, ...]

    def __call__(self, theta: Theta) -> Float[Array, ""]:
        total = half_square(theta)
        for observation in self.observations:
            activation = self.twin.activation(theta, observation.stimulus, observation.beat)
            total = total + summed(theta, self.twin, observation, activation)[0]
        return -total


def log_posterior(twin: Twin, data: MappingData, theta: Theta, sigma_ms: float) -> LogPosterior:
    """With the error of the mesh as it is at `theta`."""
    observations = twin.observations(data, sigma_ms)
    waves = twin.waves(theta)
    courses = simulated_courses(twin, theta, observations, tuple(wave.activation for wave in waves))
    observations = weighed(twin, observations, theta, courses, waves)
    # draws of all numbers free the noise from what they use up: to do so in the likelihood too counts twice
    return LogPosterior(twin, tuple(o.weighed(o.mesh_error, 0.0, 0.0) for o in observations))


def sample(
    twin: Twin,
    data: MappingData,
    posterior: Laplace,
    draws: int,
    warmup: int,
    seed: int,
    sigma_ms: float,
    report: Callable[[int, float], Any],
) -> Draws:
    """See `Twin.sample`."""
    library()  # where it is missing, say so before the simulations
    density = log_posterior(twin, data, posterior.theta, sigma_ms)
    return nuts(density, posterior, draws=draws, warmup=warmup, seed=seed, report=report)
