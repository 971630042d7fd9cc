"""The volume that maps leave: its derivative, and what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxtwin as jt
import jaxtwin.twin.placed
from jaxtwin.inference.arrival_model import Linearised, curvature
from jaxtwin.inference.local_loss import along_rays
from jaxtwin.inference.log_speed import log_speed, tissue_part
from jaxtwin.inference.objective import simulated_assessment, simulated_models
from jaxtwin.inference.volume import log_volume
from tests.inference.theta import placed_on, problem_of

MESH = jt.sheet(10.0, 10.0, 0.5, fibre_angle=0.4)
NODES = len(MESH.points)


def two_maps():
    """A twin of conductivity and scar with two pacing sites."""
    modes = jt.matern_modes(MESH, correlation_length=6.0, count=10)
    tissue_map = jt.LogDiffusivity(
        jt.field(modes, 0.3), reference=0.2, floor=0.02, ceiling=1.0, ratio=2.0,
        scar_basis=jt.field(modes, 3.0), scar_bias=-2.0, scar_depth=2.0, sharpness=1.0,
    )  # fmt: skip
    return jt.Twin(
        MESH, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, times=jt.Times(90.0, 0.2),
        beats=tuple(jt.pulse(jt.in_sphere(MESH, c, 1.2), NODES) for c in ([0.0, 0.0], [10.0, 10.0])),
        estimate_mesh_error=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def problem():
    """A twin of conductivity and scar, both felt at theta, its observations and the courses of two maps."""
    problem, random = problem_of(two_maps()), np.random.default_rng(3)
    theta = jax.tree.map(lambda leaf: jnp.asarray(random.normal(0.0, 0.7, leaf.shape)), problem.prior.mean)
    where = random.choice(NODES, 60, replace=False)
    data = jt.MappingData(
        np.tile(MESH.points[where], (2, 1)), np.full(120, 20.0), map_index=np.repeat([0, 1], 60),
        names=("one", "two"),
    )  # fmt: skip
    placed = placed_on(problem, data.with_sigma(0.5))
    activation = simulated_assessment(problem, placed, theta).activation
    return problem, theta, placed, simulated_models(problem, theta, placed, activation)


def _delays(model):
    """What the last segment before each node adds to the arrival at the points, (points, nodes)."""
    paths = model.paths
    later = paths.rays.push(np.eye(NODES))
    return jnp.asarray(paths.points @ later - paths.departure @ later)


def test_an_arrival_model_and_its_gradient_are_sums_over_rays(problem):
    problem, theta, _, (model, _) = problem
    random = np.random.default_rng(4)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.normal(0.0, 0.3, leaf.shape)), theta)
    weights = jnp.asarray(random.normal(size=len(model.arrival)))

    def dense(white):
        now = log_speed(tissue_part(problem.prior.at(white)), problem.twin, model.cell, model.direction)
        return model.arrival + _delays(model) @ jnp.expm1(model.log_speed - now)

    there, back = jax.vjp(dense, jax.tree.map(jnp.add, theta, step))
    moved = jax.tree.map(jnp.add, theta, step)
    (found,), pull = along_rays(problem, [model])(moved)
    np.testing.assert_allclose(found, there, rtol=1e-10)
    found, expected = (ravel_pytree(g)[0] for g in (pull((weights,)), back(weights)[0]))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert np.abs(expected).max() > 0.5, "or there is nothing to compare"


def test_the_derivative_of_the_volume_is_that_of_the_courses(problem):
    """By automatic differentiation of the whole determinant, with the Jacobian itself by forward mode."""
    problem, theta, placed, models = problem
    flat, back = ravel_pytree(theta)
    delays = [_delays(model) for model in models]

    def volume(numbers):
        total, arrival = jnp.eye(flat.size), problem.arrival
        for model, one, delay in zip(models, placed, delays, strict=True):

            def predicted(f, model=model, one=one, delay=delay):
                part = tissue_part(problem.prior.at(back(f)))
                now = log_speed(part, problem.twin, model.cell, model.direction)
                there = model.arrival + delay @ jnp.expm1(model.log_speed - now)
                return arrival.predict(back(f), problem.twin, one, there, None)

            slope = jax.jacfwd(predicted)(numbers)
            at = theta | {"evidence": {"arrival": {"noise": jnp.asarray(arrival.level)}}}
            weight = arrival.information(at, one, predicted(flat))[0]
            total = total + (slope * weight[:, None]).T @ slope
        return 0.5 * jnp.linalg.slogdet(total)[1]

    value, gradient, _ = log_volume(problem, theta, placed, models)
    expected, slope = jax.value_and_grad(volume)(flat)
    assert value == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(ravel_pytree(gradient)[0], slope, rtol=1e-4, atol=1e-4)
    assert np.abs(slope).max() > 0.5, "or there is nothing to compare"


def test_maps_of_unlike_size_share_derivatives_of_few_points(monkeypatch):
    """The volume of chosen points is near that of all; a short map, padded at one place, does not count more
    rows than it has points."""
    twin = two_maps()
    problem, random = problem_of(twin), np.random.default_rng(5)
    theta = jax.tree.map(lambda leaf: jnp.asarray(random.normal(0.0, 0.3, leaf.shape)), problem.prior.mean)
    where = np.concatenate(
        [random.choice(NODES, 200, replace=False), random.choice(NODES, 20, replace=False)]
    )
    data = jt.MappingData(
        MESH.points[where], np.full(220, 20.0), map_index=np.repeat([0, 1], [200, 20]), names=("one", "two")
    ).with_sigma(2.0)

    def volume():
        placed = placed_on(problem, data)
        activation = simulated_assessment(problem, placed, theta).activation
        models = simulated_models(problem, theta, placed, activation)
        value, _, known = log_volume(problem, theta, placed, models)
        return value, curvature(problem, theta, placed, models, known), known

    whole, bent, _ = volume()
    monkeypatch.setattr(jaxtwin.twin.placed, "CHOSEN", 100)
    few, near, known = volume()
    assert [len(each.slopes[0]) for each in known] == [100, 100]
    assert few == pytest.approx(whole, rel=0.03)
    assert np.linalg.norm(near - bent) < 0.1 * np.linalg.norm(bent)


def test_rows_that_stand_for_no_point_have_no_weight():
    found = Linearised((), (np.zeros((4, 2)),), np.asarray([0, 0, 1]))
    np.testing.assert_array_equal(found.gathered(0, [1.0, 2.0, 4.0]), [3.0, 4.0, 0.0, 0.0])
