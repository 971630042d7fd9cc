"""The course of a wave to the points of a map: how arrivals there change near one theta, cheaply."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..monodomain import ForwardMode, Rays, eikonal, rays
from ..posterior import Course, Observation, Theta
from .misfit import aside, at_points, information, loss
from .twin import Twin

EXACT = 16  # numbers in theta up to which the whole Jacobian costs little


def simulated_course(
    twin: Twin, theta: Theta, observation: Observation, activation: Float[Array, " nodes"]
) -> Course:
    """The course of one simulated `activation` at theta."""
    if ravel_pytree(theta)[0].size <= EXACT:
        there = at_points(observation, activation)
        matrix = jnp.nan_to_num(_jacobian(theta, twin, observation))
        return Course(jnp.nan_to_num(there), jnp.isfinite(there), matrix, theta, None, None)
    pulse = observation.stimulus.strength[observation.pulse]
    paths = rays(
        twin.mesh, np.asarray(_diffusivity(twin, theta)), np.asarray(activation),
        np.flatnonzero(np.asarray(pulse) > 0), np.asarray(twin.space.gradients),
    )  # fmt: skip
    return _along(twin, theta, observation, activation, paths)


def eikonal_course(
    twin: Twin, theta: Theta, observation: Observation, more: Float[Array, " points"] | float = 0.0
) -> Course:
    """The course of the eikonal wave at theta, with `more` ms at the points."""
    stimulus, pulse = observation.stimulus, observation.pulse
    starts = np.flatnonzero(np.asarray(stimulus.strength[pulse]) > 0)
    onset = np.asarray(stimulus.onset[pulse], np.float64)[starts]
    speed = float(twin.cells(theta).speed(1.0))
    arrival, paths = eikonal(
        twin.mesh, np.asarray(_diffusivity(twin, theta)), speed, starts, onset,
        np.asarray(twin.space.gradients),
    )  # fmt: skip
    activation = jnp.asarray(arrival, twin.space.mass.dtype)
    course = _along(twin, theta, observation, activation, paths)
    return eqx.tree_at(lambda c: c.predicted, course, course.predicted + more)


def _along(twin: Twin, theta: Theta, observation: Observation, activation, paths: Rays) -> Course:
    place, real = observation.place, twin.space.mass.dtype
    there = at_points(observation, activation)
    count = place.nodes.shape[0]
    ends = np.arange(count + 1) * place.nodes.shape[1]
    weights, nodes = np.asarray(place.weights, np.float64), np.asarray(place.nodes)
    at = sp.csr_array((weights.ravel(), nodes.ravel(), ends), shape=(count, twin.space.nodes))
    around = np.asarray(observation.clock.nodes)
    around = around[np.isfinite(np.asarray(activation)[around])]
    leaving = sp.csr_array((np.full(len(around), 1.0), around, [0, len(around)]), shape=(1, twin.space.nodes))
    matrix = jnp.asarray(paths.pull(at) - paths.pull(leaving) / max(len(around), 1), real)
    cell, slope = jnp.asarray(paths.cell), jnp.asarray(paths.slope, real)
    return Course(jnp.nan_to_num(there), jnp.isfinite(there), matrix, theta, cell, slope)


def curvature(
    twin: Twin, theta: Theta, observations: tuple[Observation, ...], courses: list[Course]
) -> Float[np.ndarray, "numbers numbers"]:
    """J^T W J as a matrix, with J from the courses."""
    flat, back = ravel_pytree(theta)
    total = np.zeros((flat.size, flat.size))
    noise = np.asarray(ravel_pytree(back(0.0 * flat) | {"noise": jnp.ones_like(theta["noise"])})[0])
    for course, observation in zip(courses, observations, strict=True):
        there, slope = _slope(theta, twin, course, observation)
        weight, of_noise = information(theta, twin, observation, there)
        slope = np.asarray(slope, np.float64)
        total += (slope * np.asarray(weight, np.float64)[:, None]).T @ slope
        total += np.diag(float(of_noise) * noise.astype(np.float64))
    return total


@eqx.filter_jit
@eqx.filter_value_and_grad
def nearby(theta: Theta, twin: Twin, course: Course, observation: Observation):
    """The loss of one map by its course, and its gradient."""
    return loss(theta, twin, observation, _foretold(theta, twin, course, observation))


def _foretold(theta: Theta, twin: Twin, course: Course, observation: Observation):
    """The prediction at the points by the course, ms; NaN where no wave came."""
    if course.cell is None:
        moved = ravel_pytree(jax.tree.map(jnp.subtract, theta, course.theta))[0]
        there = course.predicted + course.matrix @ moved
    else:
        before = _pace(_of_tissue(course.theta, twin), twin, course)
        faster = _pace(_of_tissue(theta, twin), twin, course) - jax.lax.stop_gradient(before)
        slower = jnp.clip(-faster, -3.0, 3.0)  # no course holds farther than that
        there = course.predicted - course.matrix @ jnp.expm1(slower)
    return jnp.where(course.reached, there + aside(theta, twin, observation), jnp.nan)


@eqx.filter_jit
def _slope(theta: Theta, twin: Twin, course: Course, observation: Observation):
    """The prediction at the points at the theta of the course, ms, and its derivative, (points, numbers)."""
    flat, back = ravel_pytree(theta)
    there = _foretold(theta, twin, course, observation)
    beside = jax.jacfwd(lambda f: aside(back(f), twin, observation))(flat)
    if course.cell is None:
        return there, beside + course.matrix
    # forward through the fields, whose columns are gathers, and not backward, which would scatter
    some, of_some = ravel_pytree(_of_tissue(theta, twin))
    columns = jax.vmap(of_some)(course.matrix @ jax.jacfwd(lambda f: _pace(of_some(f), twin, course))(some))
    rows = len(course.matrix)
    full = jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape), leaf.dtype), theta) | columns
    return there, beside + jax.vmap(lambda row: ravel_pytree(row)[0])(full)


def _pace(tissue: Theta, twin: Twin, course: Course) -> Float[Array, " nodes"]:
    """q = log(speed of the cells) + log(slope.D slope)/2 at the nodes."""
    slope = course.slope
    rate = jnp.einsum("nd,nde,ne->n", slope, twin.diffusivity(tissue)[course.cell], slope)
    steep = rate > 0.0
    along = 0.5 * jnp.log(jnp.where(steep, rate, 1.0))
    return along + jnp.log(twin.cells(tissue).speed(jnp.ones((), rate.dtype)))


def _of_tissue(theta: Theta, twin: Twin) -> Theta:
    """The part of theta that rays depend on."""
    names = [*twin.conductivity.mean(), *(["cells"] if twin.ionic_sd else [])]
    return {name: theta[name] for name in names}


@eqx.filter_jit
def _diffusivity(twin: Twin, theta: Theta):
    return twin.diffusivity(theta)


@eqx.filter_jit
def _jacobian(theta: Theta, twin: Twin, observation: Observation):
    flat, back = ravel_pytree(theta)
    ahead = eqx.tree_at(lambda m: m.adjoint, twin, ForwardMode())
    return jax.jacfwd(
        lambda f: at_points(observation, ahead.activation(back(f), observation.stimulus, observation.beat))
    )(flat)
