"""Maximum a posteriori by L-BFGS that never loses a captured point."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from .._results import SolveError


class Assessment(eqx.Module):
    """What the objective knows at one theta: loss, its gradient, and the number of captured points.

    A point is captured when the simulated wave reaches it. `rmse_ms`: of the captured points. `arrival`: the
    simulated activation of each map, ms at the nodes. `courses`, `slopes`: of the waves of the
    maps, where known.
    """

    loss: float
    gradient: PyTree
    captured: int
    rmse_ms: float
    arrival: tuple = ()
    courses: tuple = ()
    slopes: tuple = ()


class Fit(eqx.Module):
    """The end of a fit: theta, its assessment, one row of history per iteration, and why it ended."""

    theta: PyTree
    assessment: Assessment
    history: tuple[dict[str, float], ...] = eqx.field(static=True)
    reason: str = eqx.field(static=True)


def _dot(a, b) -> float:
    return float(sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)))


def minimise(
    objective: Callable[[PyTree], Assessment],
    theta: PyTree,
    *,
    iterations: int = 100,
    tolerance: float = 1e-3,
    memory: int = 20,
    report: Callable[[int, Assessment], Any] = lambda iteration, assessment: None,
) -> Fit:
    """L-BFGS (directions by optax) with a backtracking line search.

    A step is refused, and halved, when the loss does not fall enough (Armijo), is not finite, or when
    fewer points are captured than before: beyond conduction block the loss has no derivative that could
    lead back. Ends when the loss falls by less than `tolerance` of itself over five iterations, after
    `iterations`, or when no step helps. Raises `SolveError` if the start itself has no finite loss.
    """
    state = optax.scale_by_lbfgs(memory).init(theta)
    now = objective(theta)
    if not jnp.isfinite(now.loss):
        raise SolveError("The loss at the start of the fit is not finite: the first simulation diverged.")
    history = [history_row(0, now, 0.0)]
    report(0, now)
    fresh, reason = True, f"reached {iterations} iterations"
    for iteration in range(1, iterations + 1):
        direction, state = _direction(now.gradient, state, theta, memory)
        slope = -_dot(direction, now.gradient)
        if slope >= 0:
            state, fresh = optax.scale_by_lbfgs(memory).init(theta), True
            direction, state = _direction(now.gradient, state, theta, memory)
            slope = -_dot(direction, now.gradient)
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
                reason = "no step lowers the loss"
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
    return Fit(theta, now, tuple(history), reason)


@partial(jax.jit, static_argnames="memory")
def _direction(gradient, state, theta, memory: int):
    with jax.numpy_dtype_promotion("standard"):  # optax counts in int32 and indexes in int64
        return optax.scale_by_lbfgs(memory).update(gradient, state, theta)


def _parabola(loss: float, slope: float, length: float, new: float) -> float:
    """Factor to the minimum of the parabola through both losses and the slope, kept in [0.1, 0.5]."""
    best = -slope * length / (2.0 * (new - loss - slope * length))
    return min(max(best, 0.1), 0.5)


def history_row(iteration: int, assessment: Assessment, length: float) -> dict[str, float]:
    """One iteration, as numbers."""
    return {
        "iteration": float(iteration),
        "loss": float(assessment.loss),
        "gradient_norm": _dot(assessment.gradient, assessment.gradient) ** 0.5,
        "rmse_ms": assessment.rmse_ms,
        "captured": float(assessment.captured),
        "step": length,
    }
