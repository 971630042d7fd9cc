"""The optimisation of a fit: eikonal waves first, then the simulation itself."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._results import SolveError
from ..mapping import MappingData
from ..twin import AbstractTissueMap, PlacedMap, Theta, of_each, simulated_waves
from .arrival_model import curvature, eikonal_model
from .checkpoint import Checkpoint, fingerprint, read_checkpoint, write_checkpoint
from .following import Following
from .local_loss import local_loss
from .objective import along_models, objective, per_volume, simulated_assessment, weighed
from .optimise import LEAST, Assessment, Optimum, Progress, history_row, lbfgs, trust_region
from .problem import Problem
from .scales import inferred_prior, scaled_prior

SOFT = 0.0, 1 / 3, 2 / 3  # sharpness of the scar border in the first rounds, relative to its own
COARSE = 100  # modes of each field in these rounds: a soft border has no short waves
EIKONAL_ITERATIONS = 10  # iterations of one round
EIKONAL_ENOUGH = 0.3  # of the first decrement of a round: what is left is smaller than the next correction
SCAR_ENOUGH = 0.01  # the same with a scar, which needs its soft rounds: later, log D alone explains it
LOOSER = 0.1  # damping of the first step after a correction, over that of the last step before
EIKONAL_TOLERANCE = 0.03  # for each parameter: coarse, since the next correction moves the minimum by more
SETTLED = 1.0  # gain in loss of a round, below which eikonal waves have converged
EXCITING = 4  # steps of one standard deviation towards cells that conduct all beats

Report = Callable[[int, Assessment], Any]


@dataclass(frozen=True)
class Settings:
    """Settings of the search, see `fit`, and the windows that follow its waves."""

    iterations: int
    tolerance: float
    optimiser: str
    rounds: int
    names: tuple[str, ...]
    report: Report
    following: Following = field(default_factory=Following)


class State(eqx.Module):
    """State of a fit. `stage`: number of completed parts. `white`: where the current part began, `best`: the
    best point that was simulated before. `progress`: of the current part. `damping`: of the last step of the
    last part."""

    problem: Problem
    placed: tuple[PlacedMap, ...]
    best: Theta
    white: Theta
    stage: int = 0
    history: tuple[dict[str, float], ...] = eqx.field(static=True, default=())
    reason: str = eqx.field(static=True, default="")
    damping: float = eqx.field(static=True, default=LEAST)
    progress: Progress | None = None
    assessment: Assessment | None = None


def conducting(problem: Problem, placed: tuple[PlacedMap, ...], white: Theta) -> Theta:
    """Theta, or a nearby theta whose cell parameters let more of the measured beats conduct.

    A premature beat that blocks in the simulation has no derivative, so no gradient step can recover it. The
    cell parameters are tried one after another, in steps of their standard deviations.
    """
    names = problem.twin.cells.names
    if not names:
        return white
    asked = sum(int(one.timed.sum()) for one in placed)
    best = simulated_assessment(problem, placed, white)
    for _ in range(EXCITING):
        if best.captured == asked and np.isfinite(best.loss):
            break
        tried = [
            white | {"cells": white["cells"] | {name: white["cells"][name] + sign}}
            for name in names for sign in (-1.0, 1.0)
        ]  # fmt: skip
        found = [(simulated_assessment(problem, placed, one), one) for one in tried]
        now, one = max(found, key=lambda pair: (np.isfinite(pair[0].loss), pair[0].captured, -pair[0].loss))
        better = now.captured > best.captured or not np.isfinite(best.loss)
        if not (better and np.isfinite(now.loss)):
            break
        best, white = now, one
    return white


def begin_search(problem: Problem, placed, white: Theta, settings: Settings, data: MappingData, path):
    """The state to start or resume from, and a function that saves a state."""
    if path is None:
        return _fresh(problem, placed, white), lambda state, progress=None: None
    told = {
        "iterations": settings.iterations, "tolerance": settings.tolerance, "rounds": settings.rounds,
        "begin": np.asarray(ravel_pytree(white)[0]).tolist(),
    }  # fmt: skip
    key = fingerprint(problem, data, told)
    saved = read_checkpoint(path, key)
    state = _fresh(problem, placed, white) if saved is None else _restored(problem, placed, white, saved)
    following = settings.following
    if saved is not None and saved.followed is not None:
        following.resume(saved.followed, saved.window_shape, saved.progress is not None)

    def save(state: State, progress: Progress | None = None) -> None:
        errors = [one.mesh_error for one in state.placed if one.mesh_error is not None]
        best, white = (np.asarray(ravel_pytree(point)[0], np.float64) for point in (state.best, state.white))
        arrival = state.problem.arrival
        now = Checkpoint(
            state.stage, best, white, np.asarray(errors, np.float64), float(arrival.lost),
            float(arrival.level), state.history, state.reason, state.damping,
            progress, following.arrays(len(state.placed)), following.shape,
            {name: np.asarray(pair, np.float64) for name, pair in state.problem.prior.scales.items()},
        )  # fmt: skip
        write_checkpoint(path, key, now)

    return state, save


def _fresh(problem: Problem, placed, white: Theta) -> State:
    problem = problem.counted(0.0, 0.0)
    white = conducting(problem, placed, white)
    return State(problem, placed, white, white)


def _restored(problem: Problem, placed, white: Theta, saved: Checkpoint) -> State:
    flat, back = ravel_pytree(white)
    best, white = (back(jnp.asarray(point, flat.dtype)) for point in (saved.best, saved.white))
    if len(saved.mesh_error):
        rows = zip(placed, saved.mesh_error, strict=True)
        placed = tuple(one.with_mesh_error(jnp.asarray(row, problem.dtype)) for one, row in rows)
    problem = problem.counted(saved.lost, saved.level)
    if saved.scales:
        problem = problem.with_prior(scaled_prior(problem.prior, problem.twin, saved.scales))
    return State(
        problem, placed, best, white, saved.stage, saved.history, saved.reason, saved.damping, saved.progress
    )


def _eikonal_fit(
    problem: Problem, placed, white: Theta, added: list, damping: float, enough: float
) -> Optimum:  # fmt: skip
    """The fit of eikonal waves, with `added` ms at the points of each map."""

    def assess(white: Theta) -> Assessment:
        each = list(zip(placed, added, strict=True))
        models = tuple(of_each(lambda one: eikonal_model(problem, white, *one), each))
        loss, gradient = local_loss(problem, models, placed)(white)
        reached = sum(int(model.reached.sum()) for model in models)
        return per_volume(problem, placed, white, Assessment(float(loss), gradient, reached, 0.0), models)

    return trust_region(
        assess, along_models(problem, placed), white,
        iterations=EIKONAL_ITERATIONS, tolerance=EIKONAL_TOLERANCE, damping=damping, enough=enough,
    )  # fmt: skip


def eikonal_round(state: State, settings: Settings) -> State:
    """A fit of eikonal waves corrected by the difference between the simulation at its start and its own
    eikonal wave: a space mapping (Bandler et al. 1994, doi 10.1109/22.339794), for one simulation and no
    gradient."""
    problem, white = state.problem, state.white
    twin, soft = problem.twin, _softened(problem.twin.tissue_map, state.stage)
    sharp = soft is twin.tissue_map
    if not sharp:
        problem = problem.with_tissue_map(soft)
    now = simulated_assessment(problem, state.placed, white, settings.names, settings.following)
    if now.failure and not state.stage:
        raise SolveError(now.failure)
    if now.failure:  # the gradient steps then begin where the fit began
        return replace(state, stage=settings.rounds)
    simulated = problem.twin  # of all modes: a coarse one would be compiled anew
    if not sharp:
        problem = problem.with_tissue_map(soft.coarse(COARSE))
    models = tuple(of_each(lambda one: eikonal_model(problem, white, one), state.placed))
    now = per_volume(problem, state.placed, white, now, models)
    settings.report(len(state.history), now)
    added = [
        jnp.nan_to_num(one.arrival(lat) - model.arrival)
        for one, lat, model in zip(state.placed, now.activation, models, strict=True)
    ]
    # estimating the discretisation error costs as much as the simulation; a soft scar border does not have
    # that of the sharp one
    estimated = sharp or not state.stage
    waves = simulated_waves(simulated, problem.prior.at(white), now.activation) if estimated else ()
    counted, placed = weighed(problem, state.placed, white, models, waves, now.linearised)
    enough = EIKONAL_ENOUGH if _softened(twin.tissue_map, 0) is twin.tissue_map else SCAR_ENOUGH
    found = _eikonal_fit(counted, placed, white, added, max(LOOSER * state.damping, LEAST), enough)
    moved = jax.tree.map(jnp.subtract, found.theta, white)
    step = float(jnp.linalg.norm(ravel_pytree(moved)[0]))
    row = history_row(0, now, step) | {"gradient_norm": float("nan")}
    before = [row["loss"] for k, row in enumerate(state.history) if _softened(twin.tissue_map, k) is soft]
    if sharp and state.stage and not before and bool(jnp.any(ravel_pytree(state.best)[0])):
        # a start other than the prior mean may be better than what soft borders lead to
        before = [_assessed(state, settings, state.best).loss]
    # once the correction has converged, eikonal waves have no more to improve
    gained = before[-1] - now.loss if sharp and before else np.inf
    settled = sharp and (len(found.history) == 1 or 0.0 <= gained < SETTLED)
    best = white if sharp and now.loss <= min(before, default=np.inf) else state.best
    after = replace(
        state, problem=counted.with_twin(twin), placed=placed, white=found.theta,
        stage=settings.rounds if settled else state.stage + 1, history=(*state.history, row),
        damping=found.damping, best=best,
    )  # fmt: skip
    # the first rounds are too far from the maps, or their border too soft, to tell the scales of the fields
    return _rescaled(after, found.assessment) if settled or state.stage >= len(SOFT) else after


def _rescaled(state: State, now: Assessment) -> State:
    """The state with the scales of the fields that the eikonal waves of its point support."""
    problem, white = state.problem, state.white
    old, twin = problem.prior, problem.twin
    if not old.scales:
        return state
    _, gradient = local_loss(problem, now.models, state.placed)(white)
    misfit = jax.tree.map(jnp.subtract, gradient, white)
    bent = curvature(problem, white, state.placed, now.models, now.linearised)
    new = inferred_prior(old, twin, white, misfit, bent)
    white, best = (new.white(old.at(point)) for point in (white, state.best))
    return replace(state, problem=problem.with_prior(new), white=white, best=best)


def _softened(tissue_map: AbstractTissueMap, stage: int) -> AbstractTissueMap:
    """The tissue map of a round: far from the true border, a sharp scar border has no derivative."""
    return tissue_map.softened(SOFT[stage]) if stage < len(SOFT) else tissue_map


def descend(state: State, settings: Settings, save) -> State:
    """Gradient-based search on the simulation; without eikonal rounds two, the second with the weights found
    by the first."""
    again = not settings.rounds and state.stage == 1
    if state.progress is None and (settings.rounds or again):
        state = _reweighed(state, settings)
    until, enough = settings.iterations, settings.tolerance
    if again:
        until -= len(state.history) - 1
    elif not settings.rounds:
        until, enough = (2 * until + 2) // 3, max(enough, 0.1)
    before = state.history[:-1] if again else state.history

    def report(iteration: int, now: Assessment) -> None:
        settings.report(len(before) + iteration, now)

    assess = objective(state.problem, state.placed, settings.names, settings.following)
    if settings.optimiser == "lbfgs":
        found = lbfgs(assess, state.white, iterations=until, report=report)
    else:
        found = trust_region(
            assess, along_models(state.problem, state.placed), state.white,
            iterations=until, tolerance=enough, damping=state.damping, start=state.progress,
            report=report, save=lambda progress: save(state, progress),
        )  # fmt: skip
    full = found.reason.startswith("reached")
    return replace(
        state, white=found.theta, history=before + found.history, progress=None, stage=state.stage + 1,
        reason=f"reached {settings.iterations} iterations" if full else found.reason,
        damping=found.damping, assessment=found.assessment,
    )  # fmt: skip


def _reweighed(state: State, settings: Settings) -> State:
    """The state with weights at the start of the search: the better of the eikonal fit and the best point
    before."""

    white, now = state.white, _assessed(state, settings, state.white)
    if settings.rounds:
        begin = _assessed(state, settings, state.best)
        if not now.loss < begin.loss:
            white, now = state.best, begin
    if now.failure:
        raise SolveError(now.failure)
    twin, theta = state.problem.twin, state.problem.prior.at(white)
    waves = simulated_waves(twin, theta, now.activation)
    problem, placed = weighed(state.problem, state.placed, white, now.models, waves, now.linearised)
    return replace(state, problem=problem, placed=placed, white=white)


def _assessed(state: State, settings: Settings, white: Theta) -> Assessment:
    """The loss of a simulation, per information volume."""
    now = simulated_assessment(state.problem, state.placed, white, settings.names, settings.following)
    return per_volume(state.problem, state.placed, white, now)
