"""Design of the next measurement: the pacing sites with the largest expected information about the tissue."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .._results import InputError
from ..monodomain import Stimulus
from ..twin import OFFSET_SD, place_unmeasured
from .arrival_model import eikonal_model
from .evidence.arrival import log_noise
from .laplace import Laplace
from .log_speed import tissue_indices
from .problem import Problem


def design_next(
    problem: Problem,
    posterior: Laplace,
    stimuli: Sequence[Stimulus],
    positions: Float[np.ndarray, "points dim"],
    *,
    count: int = 1,
    sigma_ms: float = 2.0,
) -> list[tuple[int, float]]:
    """Ranks candidate pacing stimuli by the expected information gain of mapping them next.

    The gain is about diffusivity, scar, fibres and cells, for the linearised twin with the estimated noise:
    the decrease of the log volume of the posterior (D-optimality; Chaloner, Verdinelli 1995, doi
    10.1214/ss/1177009939), with time offset and discrepancy of the new map unknown. Each site after the first
    is chosen as if the previous ones had been mapped. Waves are eikonal, without simulation.

    **Arguments:** `problem`: `found.problem`. `posterior`: from `posterior`. `stimuli`: the candidates.
    `positions`: (points, dim), mm, where LATs would be measured. `count`: number of sites to choose.
    `sigma_ms`: standard deviation of the new LATs, ms, before its estimated scale.

    **Returns:** (index, expected gain in nats), the best first.

    **Raises:** `InputError` for more sites than candidates.

    **Example:**

    ```python
    sites = [jt.pulse(jt.in_sphere(mesh, mesh.points[k], 3.0), len(mesh.points)) for k in (0, 500)]
    best = jt.design_next(found.problem, jt.posterior(found), sites, mesh.points[::10])
    ```
    """
    if not 0 < count <= len(stimuli):
        raise InputError(
            f"{count} sites of {len(stimuli)} candidates", "one or more, at most all", "Add candidates"
        )
    at = tissue_indices(posterior.theta)
    root = posterior.root()[at]
    covariance = root @ root.T
    told = [_information(problem, posterior, stimulus, positions, sigma_ms) for stimulus in stimuli]
    chosen: list[tuple[int, float]] = []
    for _ in range(count):
        root = np.linalg.cholesky(covariance)
        left = [k for k in range(len(told)) if k not in dict(chosen)]
        eye = np.eye(len(root))
        gain = {k: 0.5 * np.linalg.slogdet(eye + root.T @ told[k] @ root)[1] for k in left}
        best = max(left, key=gain.__getitem__)
        chosen.append((best, float(gain[best])))
        # the next is chosen as if this one had been mapped
        within = eye + root.T @ told[best] @ root
        covariance = root @ np.linalg.solve(within, root.T)
        covariance = 0.5 * (covariance + covariance.T)
    return chosen


def _information(
    problem: Problem, posterior: Laplace, stimulus: Stimulus, positions, sigma_ms: float
) -> Float[np.ndarray, "some some"]:
    """J^T R^-1 J of an unmeasured map: R contains its noise, offset and discrepancy."""
    theta, placed = posterior.theta, place_unmeasured(problem.twin, stimulus, positions)
    model = eikonal_model(problem, posterior.white, placed)
    reached = np.asarray(model.reached)
    slope = model.slope(posterior.white, problem)[:, tissue_indices(theta)][reached]
    nuisance = np.full((len(positions), 1), OFFSET_SD)
    if placed.basis is not None:
        nuisance = np.concatenate([nuisance, np.asarray(placed.basis, np.float64)], axis=1)
    nu = problem.arrival.errors.degrees
    noise = (sigma_ms * float(np.exp(log_noise(theta)))) ** 2 * (nu + 3.0) / (nu + 1.0)
    # R^-1 by Woodbury: the nuisance parameters are few
    added = nuisance[reached] / noise**0.5
    seen = added.T @ slope
    small = np.eye(added.shape[1]) + added.T @ added
    return (slope.T @ slope - seen.T @ np.linalg.solve(small, seen)) / noise
