"""What to measure next: the sites whose maps are expected to tell most about the tissue."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._results import InputError
from ..monodomain import Stimulus
from ..posterior import Laplace
from .course import eikonal_course, tissue_slope, which_of_tissue
from .observed import unmeasured
from .twin import OFFSET_SD, Twin


def next_sites(
    twin: Twin, posterior: Laplace, stimuli: tuple[Stimulus, ...], positions, count: int, sigma_ms: float
) -> list[tuple[int, float]]:
    """See `Twin.next_sites`."""
    if not 0 < count <= len(stimuli):
        raise InputError(
            f"{count} sites of {len(stimuli)} candidates", "one or more, at most all", "Add candidates"
        )
    covariance = _of_tissue_alone(twin, posterior)
    told = [_information(twin, posterior, stimulus, positions, sigma_ms) for stimulus in stimuli]
    chosen: list[tuple[int, float]] = []
    for _ in range(count):
        root = np.linalg.cholesky(covariance)
        left = [k for k in range(len(told)) if k not in dict(chosen)]
        eye = np.eye(len(root))
        gain = {k: 0.5 * np.linalg.slogdet(eye + root.T @ told[k] @ root)[1] for k in left}
        best = max(left, key=gain.__getitem__)
        chosen.append((best, float(gain[best])))
        # the next is chosen as if this one had been measured
        within = eye + root.T @ told[best] @ root
        covariance = root @ np.linalg.solve(within, root.T)
        covariance = 0.5 * (covariance + covariance.T)
    return chosen


def _of_tissue_alone(twin: Twin, posterior: Laplace) -> Float[np.ndarray, "some some"]:
    """The posterior covariance of the numbers of the tissue, whatever the others are."""
    at = which_of_tissue(posterior.theta, twin)
    gain, v = np.asarray(posterior.gain, np.float64), np.asarray(posterior.directions, np.float64)[at]
    return np.eye(len(at)) - (v * (gain / (1.0 + gain))) @ v.T


def _information(
    twin: Twin, posterior: Laplace, stimulus: Stimulus, positions, sigma_ms: float
) -> Float[np.ndarray, "some some"]:
    """J^T R^-1 J of a map that was not measured: R has its noise, offset and discrepancy."""
    theta = posterior.theta
    observation = unmeasured(twin, stimulus, positions)
    course = eikonal_course(twin, theta, observation)
    slope = tissue_slope(theta, twin, course)[:, which_of_tissue(posterior.theta, twin)]
    reached = np.asarray(course.reached)
    slope = slope[reached]
    nuisance = np.full((len(positions), 1), OFFSET_SD)
    if twin.discrepancy is not None:
        nuisance = np.concatenate([nuisance, np.asarray(observation.basis, np.float64)], axis=1)
    nu = twin.likelihood.degrees
    noise = (sigma_ms * float(jnp.exp(theta["noise"]))) ** 2 * (nu + 3.0) / (nu + 1.0)
    # R^-1 by Woodbury: the nuisances are few
    beside = nuisance[reached] / noise**0.5
    seen = beside.T @ slope
    small = np.eye(beside.shape[1]) + beside.T @ beside
    return (slope.T @ slope - seen.T @ np.linalg.solve(small, seen)) / noise
