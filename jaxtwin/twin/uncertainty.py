"""How sure a fit is, and which combinations of its parameters the maps tell at all."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..mapping import MappingData
from ..monodomain import ForwardMode
from ..posterior import Combination, Laplace, Observation, Theta, combinations, laplace
from .course import curvature
from .misfit import curvature_product, derivative_by_globals, residual
from .search import simulated_courses, weighed
from .twin import Twin
from .wave import Wave

ROUNDING = 1e-9  # of the largest eigenvalue of the information
IDENTIFIED = 0.1  # posterior over prior variance, below which a combination of parameters is known


class IdentifiabilityWarning(UserWarning):
    """More is asked for than the data can tell."""


def posterior(
    twin: Twin, data: MappingData, theta: Theta, rank: int, sigma_ms: float, waves: tuple[Wave, ...]
) -> Laplace:
    """See `Twin.posterior`."""
    observations = twin.observations(data, sigma_ms)
    arrival = tuple(wave.activation for wave in waves)
    courses = simulated_courses(twin, theta, observations, arrival)
    observations = weighed(twin, observations, theta, courses, waves)
    observations = _sandwiched(twin, observations, theta, arrival)
    ahead = eqx.tree_at(lambda m: m.adjoint, twin, ForwardMode())

    def product(v: Theta) -> Theta:
        total = jax.tree.map(jnp.zeros_like, theta)
        for observation in observations:
            more = curvature_product(v, theta, twin, ahead, observation)
            total = jax.tree.map(jnp.add, total, more)
        return total

    return laplace(theta, product, rank, curvature(twin, theta, observations, courses))


def _sandwiched(twin: Twin, observations: tuple[Observation, ...], theta: Theta, arrival):
    """Weights by what the residuals show of their distribution, should the likelihood have another."""
    residuals = np.concatenate(
        [np.asarray(residual(theta, twin, o, lat)) for o, lat in zip(observations, arrival, strict=True)]
    )
    # a fit makes residuals smaller than errors, by the numbers that it used up
    errors = residuals[np.isfinite(residuals)] / np.sqrt(1.0 - float(observations[0].lost))
    share = twin.likelihood.efficiency(errors)
    return tuple(
        eqx.tree_at(lambda o: o.weight, o, jnp.where(o.silent, o.weight, share * o.weight))
        for o in observations
    )


def told(twin: Twin, data: MappingData, theta: Theta, sigma_ms: float) -> list[Combination]:
    """See `Twin.combinations`."""
    names, rows = _globals(twin, data, theta, sigma_ms)
    return combinations(names, rows, np.asarray([1.0, *(sd for _, sd in twin.ionic_sd)]))


def cramer_rao(twin: Twin, data: MappingData, theta: Theta, sigma_ms: float) -> dict[str, float]:
    """See `Twin.cramer_rao`."""
    names, rows = _globals(twin, data, theta, sigma_ms)
    gain, vectors = np.linalg.eigh(rows.T @ rows)
    with np.errstate(divide="ignore"):
        spread = np.where(gain > ROUNDING * gain.max(initial=0.0), 1.0 / gain, np.inf)
    # a parameter with any part in what is not told at all has no bound
    share = np.where(vectors**2 > ROUNDING, vectors**2, 0.0)
    square = np.where(share > 0.0, share * spread[None], 0.0).sum(axis=1)
    return dict(zip(names, np.sqrt(square).tolist(), strict=True))


def _globals(twin: Twin, data: MappingData, theta: Theta, sigma_ms: float):
    """Names of D and the cell parameters, and what a change of their logarithms does to each point over its
    noise, with the offset of each map free: the square of this is the Fisher information."""
    rows = []
    for observation in twin.observations(data, sigma_ms):
        dense = np.asarray(observation.dense)
        slope = np.asarray(derivative_by_globals(theta, twin, observation), np.float64)[dense]
        slope = slope[np.isfinite(slope).all(axis=1)]
        if not len(slope):
            continue
        sigma = float(np.median(np.asarray(observation.sigma_ms)[dense]))
        rows.append((slope - slope.mean(axis=0)) / sigma)
    return ("D", *(name for name, _ in twin.ionic_sd)), np.concatenate(rows)


def warn_of_unknown(found: list[Combination]) -> None:
    """Says so where more parameters are asked for than the maps can tell apart."""
    known = [c for c in found if c.left < IDENTIFIED]
    if len(known) < len(found):
        names = "; ".join(str(c) for c in known) or "none"
        warnings.warn(
            f"{len(found)} parameters are asked for ({', '.join(found[0].names)}) and the maps identify "
            f"{len(known)} of their combinations: {names}. What is given for the rest is the prior. Fix "
            "the others, or add beats that show them (premature stimuli for recovery)",
            IdentifiabilityWarning, stacklevel=3,
        )  # fmt: skip
