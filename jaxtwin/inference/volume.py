"""The information-volume (Laplace evidence) term of the objective and its derivative.

A posterior density is per unit of the chosen parameters, so its mode moves if the parameters are chosen
differently: a scar field that is halfway everywhere has parameters that the maps determine, one that is 0 or
1 has none inside. The mode with respect to the information volume, sqrt(det(I + J^T W J)), is the same in all
coordinates (Jermyn 2005, doi 10.1214/009053604000001273). The logarithm of that volume is the term that the
Laplace approximation of the evidence adds to the density: it penalises parameters that only follow the noise.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..twin import PlacedMap, Theta, Twin
from .arrival_model import (
    AbstractArrivalModel,
    Linearised,
    RayArrival,
    linearised,
    tissue_indices,
    tissue_part,
)
from .problem import Problem, zeros


def log_volume(
    problem: Problem,
    white: Theta,
    placed: tuple[PlacedMap, ...],
    models: Sequence[AbstractArrivalModel],
) -> tuple[float, Theta, tuple[Linearised, ...]]:
    """log det(I + J^T W J)/2, with J of the activation times along arrival models around `white`, its
    derivative with respect to `white`, and the models `linearised`.

    It is evaluated at the `level` of the noise of the evidence; the dependence of the volume on the noise is
    in `Arrival.lost`. The effect of the conduction direction on J is neglected. 0 for models with the exact
    Jacobian of a few parameters.
    """
    rays = [model for model in models if isinstance(model, RayArrival)]
    if len(rays) < len(models):
        each = zip(models, placed, strict=True)
        return 0.0, zeros(white), tuple(linearised(white, problem, m, one) for m, one in each)
    twin, theta = problem.twin, problem.prior.at(white)
    arrival = problem.arrival
    at_level = theta | {"evidence": theta["evidence"] | {arrival.name: {"noise": jnp.asarray(arrival.level)}}}
    flat, back = ravel_pytree(theta)
    indices, precision = tissue_indices(theta), np.eye(flat.size)
    faster = [model.speed_slope(theta, twin) for model in rays]
    known, weights = [], []
    for model, one, steep in zip(rays, placed, faster, strict=True):
        found = linearised(white, problem, model, one, model.slope(white, problem, steep))
        told, _ = arrival.information(at_level, one, found.values[0])
        weight = np.asarray(told, np.float64)[:, None]
        slope = found.slopes[0]
        assert slope is not None
        precision += slope.T @ (weight * slope)
        known.append(found)
        weights.append(weight)
    # (I + J^T W J)^-1 from the coordinates of the prior to those of the tissue in theta
    inverse, gradient = problem.prior.from_theta(np.eye(flat.size)).T, np.zeros(flat.size)
    inverse = np.linalg.solve(precision, inverse[:, indices])
    total = np.zeros((twin.space.nodes, len(indices)))
    for model, steep, weight, found in zip(rays, faster, weights, known, strict=True):
        pulled = -(model.matrix(twin.space.nodes).T @ (weight * (found.slopes[0] @ inverse)))
        # slower tissue has longer delays, and so a steeper derivative
        gradient[indices] -= steep @ np.einsum("kn,nk->n", steep, pulled)
        total += 0.5 * (_corners(twin, model).T @ pulled)
    # how the log speed at a node changes with theta itself changes with theta
    real = flat.dtype
    places = jax.tree.map(
        lambda place: np.asarray(place, int),
        ravel_pytree(tissue_part(theta))[1](jnp.arange(len(indices), dtype=real)),
    )["tissue"]
    of_fields = {
        name: jnp.asarray(np.einsum("nk,nk->n", total[:, places[name]], np.asarray(basis)), real)
        for name, basis in twin.tissue_map.bases.items()
    }
    made = back(jnp.asarray(gradient, real))
    bent = zeros(theta) | {"tissue": _second(theta["tissue"], twin, of_fields)}
    slope = problem.prior.pull(jax.tree.map(jnp.add, made, bent))
    return 0.5 * float(np.linalg.slogdet(precision)[1]), slope, tuple(known)


def _corners(twin: Twin, model: RayArrival) -> sp.csr_array:
    """From nodes to the cells through which the front reached each, as a mean of the corners."""
    corners = np.asarray(twin.mesh.cells)[np.asarray(model.cell)]
    count, each = corners.shape
    ends = np.arange(count + 1) * each
    return sp.csr_array((np.full(corners.size, 1.0 / each), corners.ravel(), ends), shape=(count, count))


@eqx.filter_jit
def _second(of_tissue: Theta, twin: Twin, weights: dict[str, Float[Array, " nodes"]]) -> Theta:
    """d/dtheta of sum_n w_n d(log D_n)/d(fields), the `weights` those of the fields at each node."""

    def steep(some: Theta):
        fields = twin.tissue_map.fields(some)
        return jnp.sum(jax.jvp(twin.tissue_map.log_diffusivity, (fields,), (weights,))[1])

    return jax.grad(steep)(of_tissue)
