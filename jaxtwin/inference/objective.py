"""The objective of a fit: the negative log posterior of all maps with respect to the information volume."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..twin import PlacedMap, Theta, Wave, of_each, with_errors_of
from .arrival_model import AbstractArrivalModel, Linearised, curvature, simulated_model
from .evidence.arrival import log_noise
from .following import Following
from .local_loss import local_loss
from .map_loss import prior_term, value, value_and_gradient
from .optimise import Assessment, Model
from .problem import Problem, zeros
from .volume import log_volume

MOST_LOST = 0.5  # fraction of the points: otherwise the fit can explain the whole map as noise


def objective(
    problem: Problem,
    placed: tuple[PlacedMap, ...],
    names: tuple[str, ...] = (),
    following: Following | None = None,
) -> Callable[[Theta], Assessment]:
    """The objective of white parameters by simulation: negative log posterior per information volume, its
    gradient, and captured points.

    `names`: of the maps, for the error message of a failed simulation. `following`: the windows of their
    waves.
    """
    following = following or Following()

    def assess(white: Theta) -> Assessment:
        loss, gradient = prior_term(white, problem)
        stepped, windows = problem.stepped_for(white), following.windows(problem, placed, white)
        each = list(zip(placed, windows, strict=True))
        found = of_each(lambda one: value_and_gradient(white, stepped, *one), each)
        for (more, _), slope in found:
            loss, gradient = loss + more, jax.tree.map(jnp.add, gradient, slope)
        parts = [(captured, square) for (_, (captured, square, _)), _ in found]
        activation = tuple(aux[2] for (_, aux), _ in found)
        following.saw(activation)
        losses = [more for (more, _), _ in found]
        return per_volume(
            problem, placed, white, _assessment(loss, gradient, parts, activation, losses, names)
        )

    return assess


def simulated_assessment(
    problem: Problem,
    placed: tuple[PlacedMap, ...],
    white: Theta,
    names: tuple[str, ...] = (),
    following: Following | None = None,
) -> Assessment:
    """The loss alone, without the information volume; the gradient is zero. Much cheaper than `objective`.
    Without `following` all nodes are stepped."""
    stepped, windows = problem.stepped_for(white), [None] * len(placed)
    if following is not None:
        windows = following.windows(problem, placed, white)
    each = list(zip(placed, windows, strict=True))
    found = of_each(lambda one: value(white, stepped, *one), each)
    if following is not None:
        following.saw(tuple(lat for lat, _ in found))
    losses = [more for _, (more, _, _) in found]
    parts = [(captured, square) for _, (_, captured, square) in found]
    loss = prior_term(white, problem)[0] + sum(losses)
    return _assessment(loss, zeros(white), parts, tuple(lat for lat, _ in found), losses, names)


def _assessment(loss, gradient, parts, activation, losses, names) -> Assessment:
    captured, squares = sum(hits for hits, _ in parts), sum(square for _, square in parts)
    # synchronises with the device once for all maps
    loss, captured, squares, losses = jax.device_get((loss, captured, squares, losses))
    rmse = float(squares / max(int(captured), 1)) ** 0.5
    failed = [k for k, each in enumerate(losses) if not np.isfinite(each)]
    failure = ""
    if failed:
        which = ", ".join(f"'{names[k]}'" if k < len(names) else f"map {k + 1}" for k in failed)
        failure = (
            f"The simulation of {which} diverged: shorten the time step, or check cells and diffusivity."
        )
        loss = np.inf
    return Assessment(float(loss), gradient, int(captured), rmse, activation, failure=failure)


def per_volume(
    problem: Problem,
    placed: tuple[PlacedMap, ...],
    white: Theta,
    now: Assessment,
    models: tuple[AbstractArrivalModel, ...] = (),
) -> Assessment:
    """The objective per unit of information volume, along the `models` or those of its own waves."""
    if not np.isfinite(now.loss):
        return now
    models = models or simulated_models(problem, white, placed, now.activation)
    more, slope, known = log_volume(problem, white, placed, models)
    gradient = jax.tree.map(jnp.add, now.gradient, slope)
    return replace(now, loss=now.loss + more, gradient=gradient, models=models, linearised=known)


def simulated_models(problem: Problem, white: Theta, placed, activation) -> tuple[AbstractArrivalModel, ...]:
    each = list(zip(placed, activation, strict=True))
    return tuple(of_each(lambda one: simulated_model(problem, white, *one), each))


def along_models(problem: Problem, placed: tuple[PlacedMap, ...]) -> Callable[[Theta, Assessment], Model]:
    """(point, its assessment) -> a local model of the objective: waves along the same rays."""

    def near(white: Theta, assessment: Assessment) -> Model:
        _, back = ravel_pytree(white)
        along = local_loss(problem, assessment.models, placed)

        def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
            at = back(jnp.asarray(numbers, problem.dtype))
            found, gradient = along(at)
            return float(found), np.asarray(ravel_pytree(gradient)[0], np.float64)

        return Model(curvature(problem, white, placed, assessment.models, assessment.linearised), loss)

    return near


def weighed(
    problem: Problem,
    placed: tuple[PlacedMap, ...],
    white: Theta,
    models: Sequence[AbstractArrivalModel],
    waves: tuple[Wave, ...] = (),
    known: Sequence[Linearised] = (),
) -> tuple[Problem, tuple[PlacedMap, ...]]:
    """The problem and its maps with quantities only known during a fit: the fraction of the points used up by
    parameters, which makes residuals smaller than noise, and the discretisation error of the `waves` at the
    points, unchanged if omitted. `known`: the models `linearised`, if already computed."""
    bent = curvature(problem, white, placed, models, known)
    used = float(np.trace(np.linalg.solve(np.eye(len(bent)) + bent, bent)))
    each = zip(models, placed, strict=True)
    captured = sum(int((model.reached & one.timed).sum()) for model, one in each)
    lost, level = min(used / max(captured, 1), MOST_LOST), float(log_noise(problem.prior.at(white)))
    return problem.counted(lost, level), with_errors_of(problem.twin, placed, waves)
