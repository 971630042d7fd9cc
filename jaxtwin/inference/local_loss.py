"""The negative log posterior by arrival models, near the theta of the models."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..twin import PlacedMap, Theta, Twin
from .arrival_model import AbstractArrivalModel, JacobianArrival, RayArrival, timed_evidence
from .log_speed import speed_of_fields
from .problem import Problem

FARTHEST = 3.0  # change of the log speed beyond which the linearisation fails

# white parameters -> the arrival times of all maps, and the gradient of their sums with given weights
Arrivals = Callable[[Theta], tuple[tuple, Callable[[tuple], Theta]]]


def local_loss(
    problem: Problem, models: Sequence[AbstractArrivalModel], placed: tuple[PlacedMap, ...]
) -> Callable[[Theta], tuple[Float[Array, ""], Theta]]:
    """White parameters -> the negative log posterior by the arrival models of all maps, and its gradient.

    Evidence with a record of its own is excluded; the exact gradients of the simulation include it.
    """
    rays = [model for model in models if isinstance(model, RayArrival)]
    arrivals = along_rays(problem, rays) if len(rays) == len(models) else _by_jacobian(problem, models)

    def loss(white: Theta) -> tuple[Float[Array, ""], Theta]:
        there, pull = arrivals(white)
        total, (gradient, weights) = _total((white, there), problem, placed)
        return total, jax.tree.map(jnp.add, gradient, pull(weights))

    return loss


def along_rays(problem: Problem, models: Sequence[RayArrival]) -> Arrivals:
    """Arrival times along the rays of each wave: sums over nodes of delays that scale with the inverse of the
    speed. The fields of the tissue are evaluated once for all maps."""
    fronts = tuple(jnp.stack(each) for each in zip(*(m.front for m in models), strict=True))
    reached = [np.asarray(model.reached) for model in models]
    start = [np.asarray(model.arrival) for model in models]

    def arrivals(white: Theta):
        fields, slower = _slower(white, problem, fronts)
        delays = np.expm1(np.asarray(slower, np.float64))
        there = tuple(
            np.where(seen, first + model.paths.later(row).astype(first.dtype), np.nan).astype(first.dtype)
            for seen, first, model, row in zip(reached, start, models, delays, strict=True)
        )

        def pull(weights: tuple) -> Theta:
            each = zip(reached, models, weights, strict=True)
            at_nodes = [
                m.paths.collect(np.where(seen, np.asarray(w, np.float64), 0.0)) for seen, m, w in each
            ]
            return _pulled(white, problem, fields, fronts, jnp.asarray(np.stack(at_nodes), slower.dtype))

        return there, pull

    return arrivals


def _by_jacobian(problem: Problem, models: Sequence[AbstractArrivalModel]) -> Arrivals:
    exact = [model for model in models if isinstance(model, JacobianArrival)]

    def arrivals(white: Theta):
        back = ravel_pytree(white)[1]

        def pull(weights: tuple) -> Theta:
            each = zip(exact, weights, strict=True)
            total = jnp.stack([jnp.where(m.reached, w, 0.0) @ m.jacobian for m, w in each]).sum(axis=0)
            return problem.prior.pull(back(total))

        there = []
        for model in exact:
            moved = problem.prior.push(jax.tree.map(jnp.subtract, white, model.white))
            times = model.arrival + model.jacobian @ ravel_pytree(moved)[0]
            there.append(jnp.where(model.reached, times, jnp.nan))
        return tuple(there), pull

    return arrivals


@eqx.filter_jit
@eqx.filter_value_and_grad
def _total(at: tuple[Theta, tuple], problem: Problem, placed: tuple[PlacedMap, ...]):
    """The negative log posterior at white parameters and the arrival times of all maps."""
    white, arrival = at
    total, theta = problem.prior.energy(white), problem.prior.at(white)
    for there, one in zip(arrival, placed, strict=True):
        for evidence in timed_evidence(problem, one):
            value = evidence.predict(theta, problem.twin, one, there, None)
            total = total + evidence.loss(theta, one, value)
    return total


@eqx.filter_jit
def _slower(white: Theta, problem: Problem, fronts):
    """The fields at the nodes, and by how much the log speed at each node is below that of the fronts."""
    theta = problem.prior.at(white)
    fields = problem.twin.tissue_map.fields(theta["tissue"])
    return fields, _below(fields, theta["cells"], problem.twin, fronts)


@eqx.filter_jit
def _pulled(white: Theta, problem: Problem, fields, fronts, weights) -> Theta:
    """The gradient of the weighted sum of the delays that `_slower` lengthens."""
    cells = problem.prior.at(white)["cells"]
    slower, back = jax.vjp(lambda f, c: _below(f, c, problem.twin, fronts), fields, cells)
    of_fields, of_cells = back(weights * jnp.exp(slower))

    def seen(white: Theta):
        theta = problem.prior.at(white)
        return problem.twin.tissue_map.fields(theta["tissue"]), theta["cells"]

    return jax.vjp(seen, white)[1]((of_fields, of_cells))[0]


def _below(fields, cells: Theta, twin: Twin, fronts) -> Float[Array, "maps nodes"]:
    def of_map(cell, direction, at):
        return jnp.clip(at - speed_of_fields(fields, cells, twin, cell, direction), -FARTHEST, FARTHEST)

    return jax.vmap(of_map)(*fronts)
