"""The volume that maps leave: its derivative, and what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxtwin as jt
from jaxtwin.twin.course import _foretold
from jaxtwin.twin.misfit import information
from jaxtwin.twin.search import simulated, simulated_courses
from jaxtwin.twin.volume import log_volume

MESH = jt.sheet(10.0, 10.0, 0.5, fibre_angle=0.4)
NODES = len(MESH.points)


@pytest.fixture(scope="module")
def problem():
    """A twin of conductivity and scar, both felt at theta, its observations and the courses of two maps."""
    modes = jt.matern_modes(MESH, correlation_length=6.0, count=10)
    conductivity = jt.LogConductivity(
        jt.field(modes, 0.3), reference=0.2, floor=0.02, ceiling=1.0, ratio=2.0,
        scar_basis=jt.field(modes, 3.0), scar_bias=-2.0, scar_depth=2.0, sharpness=1.0,
    )  # fmt: skip
    twin = jt.Twin(
        MESH, ionic=jt.MitchellSchaeffer(), conductivity=conductivity, times=jt.Times(90.0, 0.2),
        stimuli=tuple(jt.pulse(jt.in_sphere(MESH, c, 1.2), NODES) for c in ([0.0, 0.0], [10.0, 10.0])),
        mesh_error=False,
    )  # fmt: skip
    random = np.random.default_rng(3)
    theta = jax.tree.map(lambda leaf: jnp.asarray(random.normal(0.0, 0.7, leaf.shape)), twin.mean())
    where = random.choice(NODES, 60, replace=False)
    data = jt.MappingData(
        np.tile(MESH.points[where], (2, 1)), np.full(120, 20.0), map_index=np.repeat([0, 1], 60),
        names=("one", "two"),
    )  # fmt: skip
    observations = twin.observations(data, 0.5)
    arrival = simulated(twin, observations, theta).arrival
    return twin, theta, observations, tuple(simulated_courses(twin, theta, observations, arrival))


def test_the_derivative_of_the_volume_is_that_of_the_courses(problem):
    """By automatic differentiation of the whole determinant, with the Jacobian itself by forward mode."""
    twin, theta, observations, courses = problem
    flat, back = ravel_pytree(theta)

    def volume(numbers):
        total = jnp.eye(flat.size)
        for course, observation in zip(courses, observations, strict=True):
            slope = jax.jacfwd(lambda f, c=course, o=observation: _foretold(back(f), twin, c, o))(numbers)
            at = theta | {"noise": observation.level}
            weight = information(at, twin, observation, course.predicted)[0]
            total = total + (slope * weight[:, None]).T @ slope
        return 0.5 * jnp.linalg.slogdet(total)[1]

    value, gradient, _ = log_volume(twin, theta, observations, courses)
    expected, slope = jax.value_and_grad(volume)(flat)
    assert value == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(ravel_pytree(gradient)[0], slope, rtol=1e-4, atol=1e-4)
    assert np.abs(slope).max() > 0.5, "or there is nothing to compare"
