"""L-BFGS that never loses a captured point."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from ..._results import SolveError
from .assessment import Assessment, Optimum, dot, history_row


def lbfgs(
    objective: Callable[[PyTree], Assessment],
    theta: PyTree,
    *,
    iterations: int = 100,
    tolerance: float = 1e-3,
    memory: int = 20,
    report: Callable[[int, Assessment], Any] = lambda iteration, assessment: None,
) -> Optimum:
    """Minimises `objective` by L-BFGS (directions by optax) with a backtracking line search.

    A step is rejected and halved if the loss does not decrease enough (Armijo), is not finite, or if fewer
    points are captured than before: once conduction has blocked, the loss has no derivative that could lead
    back.
    It ends when the loss decreases by less than `tolerance` of itself over five iterations, after
    `iterations`, or when no step reduces the loss. Raises `SolveError` if the start itself has no finite
    loss.
    """
    state = optax.scale_by_lbfgs(memory).init(theta)
    now = objective(theta)
    if not jnp.isfinite(now.loss):
        raise SolveError(now.failure or "The loss at the start of the fit is not finite.")
    history = [history_row(0, now, 0.0)]
    report(0, now)
    fresh, reason = True, f"reached {iterations} iterations"
    for iteration in range(1, iterations + 1):
        direction, state = _direction(now.gradient, state, theta, memory)
        slope = -dot(direction, now.gradient)
        if slope >= 0:
            state, fresh = optax.scale_by_lbfgs(memory).init(theta), True
            direction, state = _direction(now.gradient, state, theta, memory)
            slope = -dot(direction, now.gradient)
        length, accepted = 1.0, None
        for _ in range(10):
            trial = jax.tree.map(lambda t, d, length=length: t - length * d, theta, direction)
            new = objective(trial)
            enough = new.loss <= now.loss + 1e-4 * length * slope
            if enough and new.captured >= now.captured:
                accepted = trial, new
                break
            length *= (
                0.5 if enough or not jnp.isfinite(new.loss) else _parabola(now.loss, slope, length, new.loss)
            )
        if accepted is None:
            if fresh:
                reason = "stopped: no step reduced the loss"
                break
            state, fresh = optax.scale_by_lbfgs(memory).init(theta), True
            continue
        theta, now = accepted
        fresh = False
        history.append(history_row(iteration, now, length))
        report(iteration, now)
        if len(history) > 5 and history[-6]["loss"] - now.loss < tolerance * max(1.0, abs(now.loss)):
            reason = "converged"
            break
    return Optimum(theta, now, tuple(history), reason)


@partial(jax.jit, static_argnames="memory")
def _direction(gradient, state, theta, memory: int):
    with jax.numpy_dtype_promotion("standard"):  # optax counts in int32 and indexes in int64
        return optax.scale_by_lbfgs(memory).update(gradient, state, theta)


def _parabola(loss: float, slope: float, length: float, new: float) -> float:
    """Factor to the minimum of the parabola through both losses and the slope, kept in [0.1, 0.5]."""
    best = -slope * length / (2.0 * (new - loss - slope * length))
    return min(max(best, 0.1), 0.5)
