"""The information-volume (Laplace evidence) term of the objective and its derivative.

A posterior density is per unit of the chosen parameters, so its mode moves if the parameters are chosen
differently: a scar field that is halfway everywhere has parameters that the maps determine, one that is 0 or
1 has none inside. The mode with respect to the information volume, sqrt(det(I + J^T W J)), is the same in all
coordinates (Jermyn 2005, doi 10.1214/009053604000001273). The logarithm of that volume is the term that the
Laplace approximation of the evidence adds to the density: it penalises parameters that only follow the noise.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.linalg import cho_factor, cho_solve

from ..twin import PlacedMap, Theta
from .arrival_model import AbstractArrivalModel, Linearised, RayArrival, linearised
from .log_speed import bent
from .problem import Problem, zeros


def log_volume(
    problem: Problem,
    white: Theta,
    placed: tuple[PlacedMap, ...],
    models: Sequence[AbstractArrivalModel],
) -> tuple[float, Theta, tuple[Linearised, ...]]:
    """log det(I + J^T W J)/2, with J of the activation times along arrival models around `white`, its
    derivative with respect to `white`, and the models `linearised`.

    J has the rows of the `chosen` points of each map, each for all points near it. It is evaluated at the
    `level` of the noise of the evidence; the dependence of the volume on the noise is in `Arrival.lost`. The
    effect of the conduction direction on J is neglected. 0 for models with the exact Jacobian of a few
    parameters.
    """
    rays = [model for model in models if isinstance(model, RayArrival)]
    if len(rays) < len(models):
        each = zip(models, placed, strict=True)
        return 0.0, zeros(white), tuple(linearised(white, problem, m, one) for m, one in each)
    twin, theta = problem.twin, problem.prior.at(white)
    arrival = problem.arrival
    at_level = theta | {"evidence": theta["evidence"] | {arrival.name: {"noise": jnp.asarray(arrival.level)}}}
    flat, back = ravel_pytree(theta)
    precision = np.eye(flat.size)
    courses, known, weighted = [], [], []
    for model, one in zip(rays, placed, strict=True):
        steep, paths = model.steep(theta, twin), model.paths.some(one.chosen)
        found = linearised(white, problem, model, one, paths.slope(steep, flat.size))
        told, _ = arrival.information(at_level, one, found.values[0])
        slope, weight = found.slopes[0], found.gathered(0, told)
        assert slope is not None
        scaled = np.sqrt(weight)[:, None] * slope
        weighted.append(np.sqrt(weight)[:, None] * scaled)
        precision += scaled.T @ scaled
        courses.append((steep, paths))
        known.append(found)
    factor = cho_factor(precision, lower=True)
    gradient = np.zeros(flat.size)
    for model, (steep, paths), slope in zip(rays, courses, weighted, strict=True):
        # of the volume with respect to J, then to theta: J holds the delays times the slope of the log speed
        of_slope = problem.prior.to_theta(cho_solve(factor, slope.T).T)
        slower, of_fields = np.zeros(twin.space.nodes), {}
        for block, dots in paths.dots(steep, of_slope):
            # slower tissue has longer delays, and so a steeper derivative
            slower += (block.weights * dots).sum(axis=1)
            if block.name is not None:
                of_fields[block.name] = of_fields.get(block.name, 0.0) + dots
        gradient += steep.transposed(slower, flat.size)
        weights = {name: jnp.asarray(values, flat.dtype) for name, values in of_fields.items()}
        more = zeros(theta) | {"tissue": bent(theta, twin, model.cell, model.direction, weights)}
        gradient -= np.asarray(ravel_pytree(more)[0], np.float64)
    slope = problem.prior.pull(back(jnp.asarray(gradient, flat.dtype)))
    return float(np.log(np.diagonal(factor[0])).sum()), slope, tuple(known)
