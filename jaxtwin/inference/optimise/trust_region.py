"""Trust-region optimiser with a cheap local model of the simulation between exact gradients."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, PyTree
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from ..._results import SolveError
from .assessment import Assessment, Optimum, history_row

MEMORY = 8  # number of stored steps
ALIGNED = 0.02  # cosine between a step and the model error along it, below which it is not used as curvature
NEAR = 0.15  # of the root of the tolerance: gradient at which a model counts as minimised
LEAST = 0.1  # damping of the first step, and the least after a rejected one
GROWTH = 4.0  # of the damping after the first rejected step; twice that after each further one
MODEL_ERROR = 0.25  # of the decrease predicted for the first step that may come from the error of the model
MOST = 1e6  # damping of the first step
FARTHEST = 1.5  # length of a step over that of the Newton step, both by the curvature of the model
WALL = 100.0  # curvature of the model beyond that length, over its own
WORTH = 0.3  # of what may be left at the end: a step that gains less is not tried once another was rejected
SLOW = 3  # steps in a row that must gain something
ROUNDING = 1e-5  # relative rounding error of a loss summed in single precision


class Model(eqx.Module):
    """A local model of the objective near one theta.

    - `curvature`: of the misfit there, J^T W J, positive semidefinite.
    - `loss`: flattened theta -> an approximation of the whole objective, and its gradient.
    """

    curvature: Float[np.ndarray, "numbers numbers"]
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]]


class Progress(eqx.Module):
    """Everything needed to resume a fit from its last completed iteration; host arrays in double precision.

    `damping`: added by the trust region to the precision of the prior. `steps`, `errors`: the last steps of
    theta, and the model error of the change of the gradient. `history`: that of `Optimum`.
    """

    theta: Float[np.ndarray, " numbers"]
    damping: float
    steps: Float[np.ndarray, "pairs numbers"]
    errors: Float[np.ndarray, "pairs numbers"]
    history: tuple[dict[str, float], ...]


def trust_region(
    objective: Callable[[PyTree], Assessment],
    model: Callable[[PyTree, Assessment], Model],
    theta: PyTree,
    *,
    iterations: int = 40,
    tolerance: float = 0.005,
    enough: float = 0.0,
    damping: float = LEAST,
    start: Progress | None = None,
    report: Callable[[int, Assessment], Any] = lambda iteration, assessment: None,
    save: Callable[[Progress], Any] = lambda progress: None,
) -> Optimum:
    """Minimises `objective` with few exact gradients.

    At each theta_0, the step goes to the minimum of

        m(theta) + (g - grad m(theta_0)).d + d.(C + mu I) d/2,   d = theta - theta_0,

    with m the `model`, g the exact gradient there, so that the first order is exact (Alexandrov et al. 2001,
    doi 10.2514/2.2877), and C a correction of the curvature of m from the last steps (symmetric
    rank-one updates). mu is raised, faster each time, while steps are rejected, and then follows the ratio of
    the decrease of the loss to the predicted one (Nielsen 1999, IMM-REP-1999-05). A step is rejected if the
    loss does not decrease, is not finite, or if fewer points are captured.

    It ends when half the Newton decrement, the predicted further decrease of the loss, is below `tolerance`
    for each parameter that the data determine: 0.005 is a tenth of a posterior standard deviation, root mean
    square; or when the last three steps have lowered the loss by less than that on average. With `enough` it
    also ends when the decrement is that fraction of the first. `damping`: mu at the start. `start` resumes;
    `save` is called with the progress after each iteration. Raises `SolveError` if the start itself has no
    finite loss.
    """
    flat, back = ravel_pytree(theta)
    real = flat.dtype

    def whole(values: np.ndarray) -> PyTree:
        return back(jnp.asarray(values, real))

    def slope(assessment: Assessment) -> np.ndarray:
        return np.asarray(ravel_pytree(assessment.gradient)[0], np.float64)

    here = np.asarray(flat, np.float64) if start is None else start.theta
    now = objective(whole(here))
    if not np.isfinite(now.loss):
        raise SolveError(now.failure or "The loss at the start of the fit is not finite.")
    steps, errors = ([], []) if start is None else (list(start.steps), list(start.errors))
    damping = damping if start is None else start.damping
    history = [history_row(0, now, 0.0)] if start is None else list(start.history)
    first = int(history[-1]["iteration"]) + 1
    report(first - 1, now)
    reason, goal = f"reached {iterations} iterations", 0.0
    for iteration in range(first, iterations + 1):
        gradient, near = slope(now), model(whole(here), now)
        missing = _missing(steps, errors, len(here))
        bend = cho_factor(near.curvature + missing + np.eye(len(here)))
        decrement = 0.5 * float(gradient @ cho_solve(bend, gradient))
        determined = float(np.trace(cho_solve(bend, near.curvature)))
        goal = enough * decrement if iteration == first else goal
        least = max(tolerance * max(determined, 1.0), goal, ROUNDING * abs(now.loss))
        accepted, growth = None, GROWTH
        if iteration == 1:  # later the last steps tell
            damping = max(damping, _believable(near, missing, here, gradient))
        for trial in range(8 if decrement > least else 0):
            step, change, foreseen = _step(near, missing, damping, here, gradient, least)
            if trial and foreseen < WORTH * least:
                break
            # rounding can hide all that the model would gain; with more damping it may not
            new = objective(whole(here + step)) if foreseen > 0.0 else now
            fallen = now.loss - new.loss
            if np.isfinite(new.loss) and fallen > 1e-3 * foreseen and new.captured >= now.captured:
                accepted = new, step, slope(new) - gradient - change
                damping *= max(1.0 / 3.0, 1.0 - (2.0 * fallen / foreseen - 1.0) ** 3)
                break
            damping, growth = growth * max(damping, LEAST), 2.0 * growth
        if accepted is None:
            reason = "converged" if decrement <= 5.0 * least else "stopped: no step reduced the loss"
            break
        new, step, error = accepted
        steps, errors = [*steps, step][-MEMORY:], [*errors, error][-MEMORY:]
        here, now = here + step, new
        history.append(history_row(iteration, now, float(np.linalg.norm(step))))
        report(iteration, now)
        save(Progress(here, damping, _rows(steps, len(here)), _rows(errors, len(here)), tuple(history)))
        if len(history) > SLOW and history[-1 - SLOW]["loss"] - now.loss < SLOW * least:
            reason = "converged"
            break
    return Optimum(whole(here), now, tuple(history), reason, damping)


def _rows(vectors: list[np.ndarray], size: int) -> np.ndarray:
    return np.stack(vectors) if vectors else np.zeros((0, size))


def _missing(steps, errors, size: int) -> np.ndarray:
    """C: symmetric rank-one updates, the oldest first, where they add curvature."""
    matrix = np.zeros((size, size))
    for s, e in zip(steps, errors, strict=True):
        rest = e - matrix @ s
        along = float(rest @ s)
        if along > ALIGNED * np.linalg.norm(rest) * np.linalg.norm(s):
            matrix = matrix + np.outer(rest, rest) / along
    return matrix


def _believable(near: Model, missing, here, gradient) -> float:
    """The least damping with which the error of the gradient of the model causes no more than a small part of
    the step, by the predicted decrease; 0 if it does without damping."""
    sides = np.stack([gradient - near.loss(here)[1], gradient], axis=1)
    damping = 0.0
    while damping < MOST:
        bend = near.curvature + missing + (1.0 + damping) * np.eye(len(here))
        wrong, whole = np.sum(sides * cho_solve(cho_factor(bend), sides), axis=0)
        if wrong <= MODEL_ERROR * whole:
            break
        damping = GROWTH * max(damping, LEAST)
    return damping


def _step(
    near: Model, missing, damping: float, here, gradient, least: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """The step to the minimum of the corrected model, to well within `least`, the change of the model
    gradient along it, and the predicted decrease of the loss."""
    size = len(here)
    loss, bent = near.loss(here)
    # in these coordinates the quadratic part of the model is |w|^2/2
    root = cholesky(near.curvature + missing + (1.0 + damping) * np.eye(size), lower=True)

    def corrected(w: np.ndarray) -> tuple[float, np.ndarray]:
        d = solve_triangular(root, w, lower=True, trans=1)
        value, steep = near.loss(here + d)
        more = missing @ d + damping * d
        total = value - loss + (gradient - bent) @ d + 0.5 * d @ more
        if not (np.isfinite(total) and np.isfinite(steep).all()):
            return 1e30, w  # the model overflowed: step back
        length = float(np.linalg.norm(w))
        beyond = max(length - farthest, 0.0)
        back = solve_triangular(root, steep + gradient - bent + more, lower=True)
        return total + 0.5 * WALL * beyond**2, back + WALL * beyond / max(length, farthest) * w

    # far from the start the corrected model may be unbounded below
    farthest = FARTHEST * float(np.linalg.norm(solve_triangular(root, gradient, lower=True)))
    found = minimize(
        corrected, np.zeros(size), jac=True, method="L-BFGS-B",
        options={"maxiter": 60, "maxcor": 20, "ftol": 1e-7, "gtol": NEAR * least**0.5},
    )  # fmt: skip
    step = solve_triangular(root, found.x, lower=True, trans=1)
    return step, near.loss(here + step)[1] - bent, max(-float(found.fun), 0.0)
