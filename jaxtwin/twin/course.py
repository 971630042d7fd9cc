"""The course of a wave to the points of a map: how arrivals there change near one theta, cheaply."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from ..monodomain import ForwardMode, Rays, eikonal, rays
from ..observe import wave_speed
from ..posterior import Course, Observation, Theta
from .misfit import aside, at_points, half_square, information, loss, voltage_slope
from .twin import Twin

PIECE = 128  # entries
COLUMNS = 16  # of a derivative at once
FARTHEST = 3.0  # change of the logarithm of a pace beyond which no course holds
EXACT = 16  # numbers in theta up to which the whole Jacobian costs little


def simulated_course(
    twin: Twin, theta: Theta, observation: Observation, activation: Float[Array, " nodes"]
) -> Course:
    """The course of one simulated `activation` at theta."""
    if ravel_pytree(theta)[0].size <= EXACT:
        there = at_points(observation, activation)
        matrix = jnp.nan_to_num(_jacobian(theta, twin, observation))
        return Course(jnp.nan_to_num(there), jnp.isfinite(there), matrix, None, None, theta, None, None, None)
    starts, _ = observation.stimulus.starts(observation.beat)
    paths = rays(
        twin.mesh, np.asarray(_diffusivity(twin, theta)), np.asarray(activation), starts,
        np.asarray(twin.space.gradients),
    )  # fmt: skip
    return _along(twin, theta, observation, activation, paths)


def eikonal_course(
    twin: Twin, theta: Theta, observation: Observation, more: Float[Array, " points"] | float = 0.0
) -> Course:
    """The course of the eikonal wave at theta, with `more` ms at the points."""
    starts, onset = observation.stimulus.starts(observation.beat)
    speed = float(wave_speed(twin.cells(theta), 1.0))
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
    each = sp.csr_array(np.ones((count, 1)) / max(len(around), 1))
    delays = sp.csr_array(paths.pull(at) - each @ paths.pull(leaving))
    entries, columns, row = _in_pieces(delays)
    cell, slope = jnp.asarray(paths.cell), jnp.asarray(paths.slope, real)
    return Course(
        jnp.nan_to_num(there), jnp.isfinite(there), jnp.asarray(entries, real), jnp.asarray(columns),
        jnp.asarray(row), theta, cell, slope, pace(tissue_numbers(theta, twin), twin, cell, slope),
    )  # fmt: skip


def _in_pieces(matrix: sp.csr_array):
    """Entries of a sparse matrix and their columns, in pieces of rows, (pieces, PIECE), and the row of each
    piece: the longest row then costs no more than its entries. A power of 2 of pieces, so that few programs
    are compiled; those at the end are zero."""
    length = np.diff(matrix.indptr)
    pieces = -(-length // PIECE)
    count = 1 << int(max(pieces.sum(), 1) - 1).bit_length()
    entries, columns = np.zeros((count, PIECE)), np.zeros((count, PIECE), np.int32)
    within = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], length)
    piece = np.repeat(np.cumsum(pieces) - pieces, length) + within // PIECE
    entries[piece, within % PIECE], columns[piece, within % PIECE] = matrix.data, matrix.indices
    row = np.full(count, len(length) - 1, np.int32)
    row[: pieces.sum()] = np.repeat(np.arange(len(length)), pieces)
    return entries, columns, row


def curvature(
    twin: Twin,
    theta: Theta,
    observations: tuple[Observation, ...],
    courses: Sequence[Course],
    known: Sequence[tuple] = (),
) -> Float[np.ndarray, "numbers numbers"]:
    """J^T W J as a matrix, with J from the courses; `known`: their `slopes`, where they are at hand."""
    flat, back = ravel_pytree(theta)
    total = np.zeros((flat.size, flat.size))
    noise = np.asarray(ravel_pytree(back(0.0 * flat) | {"noise": jnp.ones_like(theta["noise"])})[0])
    each = zip(courses, observations, strict=True)
    known = known or [slopes(theta, twin, course, observation) for course, observation in each]
    for (there, slope), observation in zip(known, observations, strict=True):
        weight, of_noise = information(theta, twin, observation, there)
        total += (slope * np.asarray(weight, np.float64)[:, None]).T @ slope
        total += np.diag(float(of_noise) * noise.astype(np.float64))
        if twin.voltage is not None and observation.log_mv is not None:
            more = np.asarray(voltage_slope(theta, twin, observation), np.float64)
            total += (more * np.asarray(twin.voltage.information(observation.log_mv))[:, None]).T @ more
    return total


@eqx.filter_jit
@eqx.filter_value_and_grad
def nearby(theta: Theta, twin: Twin, courses: list[Course], observations: tuple[Observation, ...]):
    """The negative log posterior by the courses of all maps, and its gradient."""
    total = half_square(theta)
    for course, observation in zip(courses, observations, strict=True):
        total = total + loss(theta, twin, observation, _foretold(theta, twin, course, observation))
    return total


def _foretold(theta: Theta, twin: Twin, course: Course, observation: Observation):
    """The prediction at the points by the course, ms; NaN where no wave came."""
    if course.nodes is None or course.pace is None:
        moved = ravel_pytree(jax.tree.map(jnp.subtract, theta, course.theta))[0]
        there = course.predicted + course.matrix @ moved
    else:
        faster = pace(tissue_numbers(theta, twin), twin, course.cell, course.slope) - course.pace
        slower = jnp.clip(-faster, -FARTHEST, FARTHEST)
        of_pieces = jnp.sum(course.matrix * jnp.expm1(slower)[course.nodes], axis=1)
        there = course.predicted.at[course.row].add(-of_pieces, indices_are_sorted=True)
    return jnp.where(course.reached, there + aside(theta, twin, observation), jnp.nan)


@eqx.filter_jit
def _beside(theta: Theta, twin: Twin, course: Course, observation: Observation):
    """The prediction at the points at the theta of the course, ms, and the derivative of what stands beside
    the wave, (points, numbers)."""
    flat, back = ravel_pytree(theta)
    slope = jax.jacfwd(lambda f: aside(back(f), twin, observation))(flat)
    return _foretold(theta, twin, course, observation), slope


@eqx.filter_jit
def _faster(theta: Theta, twin: Twin, course: Course):
    """The derivative of the pace of the wave at the nodes by the numbers of the tissue, (numbers, nodes)."""
    some, of_some = ravel_pytree(tissue_numbers(theta, twin))
    # forward, since columns are gathers and rows would scatter; some at a time, to stay in the cache
    return jax.lax.map(
        lambda v: jax.jvp(lambda f: pace(of_some(f), twin, course.cell, course.slope), (some,), (v,))[1],
        jnp.eye(some.size, dtype=some.dtype), batch_size=COLUMNS,
    )  # fmt: skip


def slopes(theta: Theta, twin: Twin, course: Course, observation: Observation, faster=None):
    """The prediction at the points at theta, ms, and its derivative, (points, numbers). `faster`: the
    `pace_slope`, where it is at hand."""
    there, beside = _beside(theta, twin, course, observation)
    return there, np.asarray(beside, np.float64) + tissue_slope(theta, twin, course, faster)


def tissue_slope(
    theta: Theta, twin: Twin, course: Course, faster=None
) -> Float[np.ndarray, "points numbers"]:
    """The derivative of the arrival at the points by the numbers of the tissue; 0 for those beside it."""
    if course.nodes is None:
        return np.asarray(course.matrix, np.float64)
    slope = np.zeros((len(course.predicted), ravel_pytree(theta)[0].size))
    faster = pace_slope(theta, twin, course) if faster is None else faster
    slope[:, which_of_tissue(theta, twin)] = delays(twin, course) @ faster.T
    return slope


def which_of_tissue(theta: Theta, twin: Twin) -> Int[np.ndarray, " some"]:
    """Which of the flattened numbers of theta those of the tissue are."""
    flat, back = ravel_pytree(theta)
    return np.asarray(
        ravel_pytree(tissue_numbers(back(jnp.arange(flat.size, dtype=flat.dtype)), twin))[0], int
    )


def delays(twin: Twin, course: Course) -> sp.csr_array:
    """d(arrival at the points)/d(pace at the nodes), ms, at the theta of a course along rays."""
    assert course.nodes is not None
    count = len(course.predicted)
    row = np.repeat(np.asarray(course.row), PIECE)
    entries = np.ravel(course.matrix).astype(np.float64)
    return sp.coo_array((entries, (row, np.ravel(course.nodes))), shape=(count, twin.space.nodes)).tocsr()


def pace_slope(theta: Theta, twin: Twin, course: Course) -> Float[np.ndarray, "numbers nodes"]:
    """The derivative of the pace at the nodes by the numbers of the tissue."""
    return np.asarray(_faster(theta, twin, course), np.float64)


@eqx.filter_jit
def pace(tissue: Theta, twin: Twin, cell, slope) -> Float[Array, " nodes"]:
    """q = log(speed of the cells) + log(slope.D slope)/2 at the nodes."""
    rate = jnp.einsum("nd,nde,ne->n", slope, twin.diffusivity(tissue, cell), slope)
    steep = rate > 0.0
    along = 0.5 * jnp.log(jnp.where(steep, rate, 1.0))
    return along + jnp.log(wave_speed(twin.cells(tissue), jnp.ones((), rate.dtype)))


def tissue_numbers(theta: Theta, twin: Twin) -> Theta:
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
