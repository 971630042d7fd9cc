"""The negative log posterior of one map by simulation: value, gradient, curvature products."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..monodomain import ForwardMode, Window
from ..twin import PlacedMap, Solved, Theta, compiled_once
from .evidence.arrival import log_noise
from .problem import Problem, zeros

# In all functions `white` are the parameters in the coordinates of the prior, see `Prior`.


@eqx.filter_jit
def prior_term(white: Theta, problem: Problem):
    """The negative log prior and its gradient."""
    return jax.value_and_grad(problem.prior.energy)(white)


def simulated(theta: Theta, problem: Problem, placed: PlacedMap, window: Window | None = None):
    """One simulated beat, and the record of each evidence."""
    twin = problem.twin
    wanted = [one.recorder(twin, placed) for one in problem.evidence]
    solved = twin.solve(theta, placed.beat, tuple(r for r in wanted if r is not None), window)
    left = iter(solved.records)
    records = tuple(None if r is None else next(left) for r in wanted)
    return solved, records


def predicted(theta: Theta, problem: Problem, placed: PlacedMap, arrival, records: tuple) -> tuple:
    """The predictions of each evidence at the points."""
    return tuple(
        one.predict(theta, problem.twin, placed, arrival, record)
        for one, record in zip(problem.evidence, records, strict=True)
    )


def loss(theta: Theta, problem: Problem, placed: PlacedMap, values: tuple) -> Float[Array, ""]:
    """The sum of the negative log likelihoods of all evidence."""
    each = zip(problem.evidence, values, strict=True)
    return sum((one.loss(theta, placed, value) for one, value in each), start=jnp.zeros((), problem.dtype))


def summed(theta: Theta, problem: Problem, placed: PlacedMap, solved: Solved, records: tuple):
    """Loss of a simulated beat, infinite if it diverged; number of captured points, and the sum of their
    squared residuals, ms2."""
    values = predicted(theta, problem, placed, placed.arrival(solved.activation), records)
    hit = jnp.isfinite(values[0]) & placed.timed
    square = jnp.sum(jnp.where(hit, values[0] - placed.lat_ms, 0.0) ** 2)
    total = jnp.where(solved.diverged, jnp.inf, loss(theta, problem, placed, values))
    return total, hit.sum(), square


def _whole_if_escaped(work: Callable, white: Theta, problem: Problem, placed: PlacedMap, window):
    """The result of `work`, on all nodes if the front leaves the window."""
    escaped, found = work(white, problem, placed, window)
    return work(white, problem, placed, None)[1] if window is not None and escaped else found


def value_and_gradient(white: Theta, problem: Problem, placed: PlacedMap, window: Window | None = None):
    """((loss, (captured, sum of squares, activation)), gradient) of one simulated beat, solved on all nodes
    if its front leaves the window."""
    return _whole_if_escaped(_value_and_gradient, white, problem, placed, window)


@compiled_once
@eqx.filter_jit
def _value_and_gradient(white: Theta, problem: Problem, placed: PlacedMap, window: Window | None):
    def of(white: Theta):
        theta = problem.prior.at(white)
        solved, records = simulated(theta, problem, placed, window)
        value, captured, square = summed(theta, problem, placed, solved, records)
        return value, (solved.escaped, captured, square, jax.lax.stop_gradient(solved.activation))

    (value, (escaped, *rest)), gradient = jax.value_and_grad(of, has_aux=True)(white)
    return escaped, ((value, tuple(rest)), gradient)


def value(white: Theta, problem: Problem, placed: PlacedMap, window: Window | None = None):
    """(activation, (loss, captured, sum of squares)) of one simulated beat, without a gradient; on all nodes
    if its front leaves the window."""
    return _whole_if_escaped(_value, white, problem, placed, window)


@compiled_once
@eqx.filter_jit
def _value(white: Theta, problem: Problem, placed: PlacedMap, window: Window | None):
    theta = problem.prior.at(white)
    solved, records = simulated(theta, problem, placed, window)
    return solved.escaped, (solved.activation, summed(theta, problem, placed, solved, records))


def stays(white: Theta, problem: Problem, placed: PlacedMap, window: Window) -> bool:
    """Whether the front of a simulated beat stays in its window."""
    return not bool(_value(white, problem, placed, window)[0])


@eqx.filter_jit
def residual(white: Theta, problem: Problem, placed: PlacedMap, activation) -> Float[Array, " points"]:
    """(prediction - LAT)/scale; NaN at points without a residual."""
    theta = problem.prior.at(white)
    there = problem.arrival.predict(theta, problem.twin, placed, placed.arrival(activation), None)
    gap = there - placed.lat_ms
    return jnp.where(placed.timed, gap / (placed.sigma_ms * jnp.exp(log_noise(theta))), jnp.nan)


def information(theta: Theta, problem: Problem, placed: PlacedMap, values: tuple) -> tuple[Any, ...]:
    """Fisher information of the predictions of each evidence, and of its own nuisance parameters."""
    each = zip(problem.evidence, values, strict=True)
    return tuple(one.information(theta, placed, there) for one, there in each)


def nuisance_information(theta: Theta, problem: Problem, found: tuple) -> Theta:
    """The information of nuisance parameters as the diagonal of a matrix: zero for all others."""
    own = {}
    for one, (_, more) in zip(problem.evidence, found, strict=True):
        group = theta["evidence"][one.name]
        own[one.name] = {key: jnp.zeros_like(leaf) + more.get(key, 0.0) for key, leaf in group.items()}
    return zeros(theta) | {"evidence": zeros(theta["evidence"]) | own}


@compiled_once
@eqx.filter_jit
def curvature_product(
    v: Theta, white: Theta, problem: Problem, placed: PlacedMap, window: Window | None = None
) -> Theta:
    """J^T W J v of one map, with the exact Jacobian of its simulation."""
    forward = problem.with_twin(eqx.tree_at(lambda t: t.adjoint, problem.twin, ForwardMode()))

    def values(white: Theta, problem: Problem):
        theta = problem.prior.at(white)
        solved, records = simulated(theta, problem, placed, window)
        return predicted(theta, problem, placed, placed.arrival(solved.activation), records)

    there, along = jax.jvp(lambda w: values(w, forward), (white,), (v,))
    theta = problem.prior.at(white)
    found = information(theta, problem, placed, there)
    weighed = tuple(
        jnp.where(weight > 0, weight * more, 0.0) for (weight, _), more in zip(found, along, strict=True)
    )
    _, pull = jax.vjp(lambda w: values(w, problem), white)
    (product,) = pull(weighed)
    own = jax.tree.map(jnp.multiply, nuisance_information(theta, problem, found), problem.prior.push(v))
    return jax.tree.map(jnp.add, product, problem.prior.pull(own))
