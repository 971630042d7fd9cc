"""How much of theta a fit has used up: the volume that the maps leave, and how it changes with theta.

A posterior density says how probable theta is per unit of its own numbers, and its mode moves when those are
chosen otherwise: a field of scar that is halfway everywhere has numbers that the maps determine, one that is
0 or 1 has none inside. The mode per unit of information volume, sqrt(det(I + J^T W J)), is the same in all
coordinates (Jermyn 2005, doi 10.1214/009053604000001273), and the logarithm of that volume is what Laplace's
approximation of the evidence has beside the density: numbers that only follow the noise do not pay.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..posterior import Observation, Theta
from .course import Course, delays, pace_slope, slopes, tissue_numbers, which_of_tissue
from .misfit import information
from .twin import Twin


def log_volume(
    twin: Twin, theta: Theta, observations: tuple[Observation, ...], courses: tuple[Course, ...]
) -> tuple[float, Theta, tuple]:
    """log det(I + J^T W J)/2 with J along the courses, which begin at theta, its derivative by theta, and the
    `slopes` of the courses.

    At the `level` of the noise of the observations: how the volume changes with the noise, their `lost` has.
    How the direction of conduction changes J is left out. 0 where courses have the exact Jacobian of a few
    numbers, which is not followed.
    """
    nothing = jax.tree.map(jnp.zeros_like, theta)
    if any(course.nodes is None for course in courses):
        known = (slopes(theta, twin, c, o) for c, o in zip(courses, observations, strict=True))
        return 0.0, nothing, tuple(known)
    at_level = theta | {"noise": observations[0].level}
    flat, back = ravel_pytree(theta)
    numbers, precision = which_of_tissue(theta, twin), np.eye(flat.size)
    faster = [pace_slope(theta, twin, course) for course in courses]
    known, weights = [], []
    for course, observation, steep in zip(courses, observations, faster, strict=True):
        there, slope = slopes(theta, twin, course, observation, steep)
        weight = np.asarray(information(at_level, twin, observation, there)[0], np.float64)[:, None]
        precision += slope.T @ (weight * slope)
        known.append((there, slope))
        weights.append(weight)
    inverse, gradient = np.linalg.inv(precision)[:, numbers], np.zeros(flat.size)
    total = np.zeros((twin.space.nodes, len(numbers)))
    for course, steep, weight, (_, slope) in zip(courses, faster, weights, known, strict=True):
        pulled = delays(twin, course).T @ (weight * (slope @ inverse))  # (nodes, numbers)
        # slower tissue has longer delays, and so a steeper derivative
        gradient[numbers] -= steep @ np.einsum("kn,nk->n", steep, pulled)
        total += 0.5 * (_corners(twin, course).T @ pulled)
    # how the pace at a node changes with theta itself changes with theta
    real = flat.dtype
    split = jax.tree.map(
        lambda place: np.asarray(place, int),
        ravel_pytree(tissue_numbers(theta, twin))[1](jnp.arange(len(numbers), dtype=real)),
    )
    of_fields = {
        name: jnp.asarray(np.einsum("nk,nk->n", total[:, split[name]], np.asarray(basis)), real)
        for name, basis in twin.conductivity.bases.items()
    }
    made = back(jnp.asarray(gradient, real))
    slope = jax.tree.map(jnp.add, made, nothing | _bent(theta, twin, of_fields))
    return 0.5 * float(np.linalg.slogdet(precision)[1]), slope, tuple(known)


def _corners(twin: Twin, course: Course) -> sp.csr_array:
    """From nodes to the cells through which the front came to each, as a mean of the corners."""
    corners = np.asarray(twin.mesh.cells)[np.asarray(course.cell)]
    count, each = corners.shape
    ends = np.arange(count + 1) * each
    return sp.csr_array((np.full(corners.size, 1.0 / each), corners.ravel(), ends), shape=(count, count))


@eqx.filter_jit
def _bent(theta: Theta, twin: Twin, weights: dict[str, Float[Array, " nodes"]]) -> Theta:
    """d/dtheta of sum_n w_n d(log D_n)/d(fields), the `weights` those of the fields at each node."""
    some = {name: theta[name] for name in twin.conductivity.mean()}

    def steep(some: Theta):
        fields = twin.conductivity.fields(some)
        return jnp.sum(jax.jvp(twin.conductivity.log_diffusivity, (fields,), (weights,))[1])

    return jax.grad(steep)(some)
