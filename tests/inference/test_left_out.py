"""Errors at points that a fit does not see."""

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import jaxtwin as jt
from jaxtwin.inference import left_out
from jaxtwin.inference.arrival_model import linearised
from jaxtwin.inference.objective import simulated_models

MESH = jt.sheet(12.0, 12.0, 0.75)
NODES = len(MESH.points)


def two_maps_of_unlike_size():
    """A fit in one step of gradients, so that it has not converged, and with a silent point."""
    modes = jt.matern_modes(MESH, correlation_length=6.0, count=20)
    tissue_map = jt.LogDiffusivity(jt.field(modes), reference=0.2, floor=0.02, ceiling=1.0)
    twin = jt.Twin(
        MESH, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, times=jt.Times(60.0, 0.2),
        beats=tuple(jt.pulse(jt.in_sphere(MESH, c, 1.5), NODES) for c in ([0.0, 0.0], [12.0, 12.0])),
        estimate_mesh_error=False,
    )  # fmt: skip
    random = np.random.default_rng(2)
    where = random.choice(np.setdiff1d(np.arange(NODES), [0, NODES - 1]), 35, replace=False)
    maps = np.repeat([0, 1], [20, 15])
    lat = np.linalg.norm(MESH.points[where] - 12.0 * maps[:, None], axis=1) / 0.5 + random.normal(size=35)
    silent = np.arange(35) == 20
    data = jt.MappingData(
        MESH.points[where], np.where(silent, np.nan, lat), map_index=maps, silent=silent,
        names=("one", "two"),
    )  # fmt: skip
    return jt.fit(twin, data.with_sigma(1.0), iterations=1, eikonal_rounds=0)


def test_errors_are_those_of_the_linear_fit_of_all_other_points():
    found = two_maps_of_unlike_size()
    problem, white = found.problem, found.problem.prior.white(found.theta)
    z = np.asarray(ravel_pytree(white)[0])
    slopes, gaps, weights, place = [], [], [], []
    models = simulated_models(problem, white, found.placed, found.activation)
    rows = np.arange(len(found.data.lat_ms)), found.data.map_index
    for k, (model, one) in enumerate(zip(models, found.placed, strict=True)):
        known = linearised(white, problem, model, one)
        own = rows[0][rows[1] == k]
        timed = np.asarray(one.timed)[: len(own)]
        there, slope = np.asarray(known.values[0])[: len(own)], known.slopes[0][: len(own)]
        weight = np.asarray(problem.arrival.information(found.theta, one, jnp.asarray(known.values[0]))[0])
        slopes.append(slope[timed])
        gaps.append(found.data.lat_ms[own][timed] - there[timed] + slope[timed] @ z)
        weights.append(weight[: len(own)][timed])
        place.append(own[timed])
    slope, gap, weight = np.concatenate(slopes), np.concatenate(gaps), np.concatenate(weights)
    expected = np.full((2, len(rows[0])), np.nan)
    for k, row in enumerate(np.concatenate(place)):
        rest = np.arange(len(gap)) != k
        normal = np.eye(len(z)) + slope[rest].T @ (weight[rest, None] * slope[rest])
        fitted = np.linalg.solve(normal, slope[rest].T @ (weight[rest] * gap[rest]))
        expected[0, row] = gap[k] - slope[k] @ fitted
        expected[1, row] = 1.0 / weight[k] + slope[k] @ np.linalg.solve(normal, slope[k])
    errors, variances = left_out(found)
    np.testing.assert_allclose(errors, expected[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variances, expected[1], rtol=1e-6)
    assert np.isnan(errors).sum() == 1, "the silent point"
    residual = np.sqrt(np.nanmean((gap - slope @ z) ** 2))
    assert np.sqrt(np.nanmean(errors**2)) > 1.02 * residual
