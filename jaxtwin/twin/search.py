"""The search for the best theta: eikonal waves first, then the simulation itself."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._results import InputError
from ..mapping import MappingData
from ..observe import refuse_reentry
from ..posterior import (
    Assessment,
    Fit,
    Model,
    Observation,
    Progress,
    Theta,
    history_row,
    minimise,
    trust_region,
)
from .checkpoint import Checkpoint, fingerprint, read_checkpoint, write_checkpoint
from .cores import of_each
from .course import Course, curvature, eikonal_course, nearby, simulated_course
from .misfit import at_points, misfit, of_activation, prior
from .twin import Twin, activation
from .volume import log_volume
from .wave import Wave

OPTIMISERS = "trust_region", "lbfgs"
SOFT = 0.0, 1 / 3, 2 / 3  # of the way to its own sharpness the border of scar is in the first rounds
EIKONAL_ITERATIONS = 10  # of one round
EIKONAL_TOLERANCE = 2.0  # the next correction moves the minimum by more
MOST_LOST = 0.5  # of the points: with fewer left to tell of the noise, all of the map is cheaply taken for it
EXCITING = 4  # steps of one standard deviation, towards cells that conduct all beats

Report = Callable[[int, Assessment], Any]


def objective(twin: Twin, observations: tuple[Observation, ...]) -> Callable[[Theta], Assessment]:
    """theta -> negative log posterior per information volume, gradient, captures, by simulation."""

    def assess(theta: Theta) -> Assessment:
        loss, gradient = prior(theta)
        found = of_each(lambda one: misfit(theta, twin, one), observations)
        for (more, _), slope in found:
            loss, gradient = loss + more, jax.tree.map(jnp.add, gradient, slope)
        parts = [(captured, square) for (_, (captured, square, _)), _ in found]
        now = _assessment(loss, gradient, parts, tuple(aux[2] for (_, aux), _ in found))
        return per_volume(twin, observations, theta, now)

    return assess


def per_volume(
    twin: Twin, observations, theta: Theta, now: Assessment, courses: tuple[Course, ...] = ()
) -> Assessment:
    """The same per unit of information volume, along the `courses` or those of its own waves."""
    if not np.isfinite(now.loss):
        return now
    courses = courses or tuple(simulated_courses(twin, theta, observations, now.arrival))
    value, slope, known = log_volume(twin, theta, observations, courses)
    gradient = jax.tree.map(jnp.add, now.gradient, slope)
    return Assessment(now.loss + value, gradient, now.captured, now.rmse_ms, now.arrival, courses, known)


def _assessment(loss, gradient, parts, arrival) -> Assessment:
    captured, squares = sum(hits for hits, _ in parts), sum(square for _, square in parts)
    # the host waits here, once for all maps
    loss, captured, squares = jax.device_get((loss, captured, squares))
    rmse = float(squares / max(int(captured), 1)) ** 0.5
    return Assessment(float(loss), gradient, int(captured), rmse, arrival)


def simulated(twin: Twin, observations: tuple[Observation, ...], theta: Theta) -> Assessment:
    """As `objective`, with a gradient of zero: for a fraction of the price."""

    def one(observation: Observation):
        lat = activation(twin, theta, observation.stimulus, observation.beat)
        return lat, of_activation(theta, twin, observation, lat)

    found = of_each(one, observations)
    loss = prior(theta)[0] + sum(more for _, (more, _, _) in found)
    parts = [(captured, square) for _, (_, captured, square) in found]
    nothing = jax.tree.map(jnp.zeros_like, theta)
    return _assessment(loss, nothing, parts, tuple(lat for lat, _ in found))


def conducting(twin: Twin, observations: tuple[Observation, ...], theta: Theta) -> Theta:
    """Theta, or one with other cells which conduct more of the beats that were measured.

    A premature beat that blocks in the simulation has no derivative, so that no step finds out of it. The
    parameters of the cells are tried one after another, by their standard deviations.
    """
    if not twin.ionic_sd:
        return theta
    asked = sum(int(o.dense.sum()) for o in observations)
    best = simulated(twin, observations, theta)
    for _ in range(EXCITING):
        if best.captured == asked:
            break
        count = len(twin.ionic_sd)
        moves = [sign * jnp.eye(count)[k] for k in range(count) for sign in (-1.0, 1.0)]
        tried = [theta | {"cells": theta["cells"] + move.astype(theta["cells"].dtype)} for move in moves]
        found = [(simulated(twin, observations, one), one) for one in tried]
        now, one = max(found, key=lambda pair: (pair[0].captured, -pair[0].loss))
        if now.captured <= best.captured:
            break
        best, theta = now, one
    return theta


def simulated_courses(twin: Twin, theta: Theta, observations, arrival) -> list[Course]:
    """Of all maps, from their simulated activations."""
    each = zip(observations, arrival, strict=True)
    return [simulated_course(twin, theta, o, lat) for o, lat in each]


def along_courses(twin: Twin, observations: tuple[Observation, ...]) -> Callable:
    """(theta, its assessment) -> what stands in for the objective near it: waves along the same rays."""

    def near(theta: Theta, assessment: Assessment) -> Model:
        _, back = ravel_pytree(theta)
        courses = list(assessment.courses)

        def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
            at = back(jnp.asarray(numbers, twin.space.mass.dtype))
            value, gradient = nearby(at, twin, courses, observations)
            return float(value), np.asarray(ravel_pytree(gradient)[0], np.float64)

        return Model(curvature(twin, theta, observations, courses, assessment.slopes), loss)

    return near


def weighed(
    twin: Twin,
    observations: tuple[Observation, ...],
    theta: Theta,
    courses: Sequence[Course],
    waves: tuple[Wave, ...] = (),
    known: Sequence[tuple] = (),
) -> tuple[Observation, ...]:
    """The observations with what only a fit can tell: the share of the points that the numbers they determine
    used up, which makes residuals smaller than noise, and the error of the mesh in the `waves` at the points;
    without these what is there of it is kept. `known`: the `slopes` of the courses, where at hand."""
    bent = curvature(twin, theta, observations, courses, known)
    used = float(np.trace(np.linalg.solve(np.eye(len(bent)) + bent, bent)))
    captured = sum(
        int((course.reached & o.dense).sum()) for course, o in zip(courses, observations, strict=True)
    )
    lost, level = min(used / max(captured, 1), MOST_LOST), float(theta["noise"])
    errors = [observation.mesh_error for observation in observations]
    if waves and twin.mesh_error is not None:
        fields = [twin.mesh_error.fields(wave) for wave in waves]
        errors = [one.place(field.T).T for one, field in zip(observations, fields, strict=True)]
    return tuple(o.weighed(error, lost, level) for o, error in zip(observations, errors, strict=True))


def _eikonal_fit(twin: Twin, observations, theta: Theta, more: list) -> Fit:
    """The fit of eikonal waves that take `more` ms to the points of each map."""

    def assess(theta: Theta) -> Assessment:
        courses = [eikonal_course(twin, theta, o, m) for o, m in zip(observations, more, strict=True)]
        loss, gradient = nearby(theta, twin, courses, observations)
        reached = sum(int(c.reached.sum()) for c in courses)
        now = Assessment(float(loss), gradient, reached, 0.0)
        return per_volume(twin, observations, theta, now, tuple(courses))

    return trust_region(
        assess, along_courses(twin, observations), theta,
        iterations=EIKONAL_ITERATIONS, tolerance=EIKONAL_TOLERANCE,
    )  # fmt: skip


class Search:
    """A fit in stages: rounds of eikonal waves, then one search by gradients, or, without rounds, two, the
    second with the weights that the first has found. See `Twin.fit` for the arguments."""

    def __init__(
        self,
        twin: Twin,
        data: MappingData,
        theta: Theta,
        *,
        iterations: int,
        tolerance: float,
        sigma_ms: float,
        optimiser: str,
        rounds: int,
        checkpoint: str | Path | None,
        report: Report,
    ):
        if optimiser not in OPTIMISERS:
            raise InputError(f"optimiser '{optimiser}'", " or ".join(OPTIMISERS), "Choose one of them")
        if checkpoint is not None and optimiser != "trust_region":
            raise InputError(
                f"a checkpoint of optimiser '{optimiser}'", "optimiser 'trust_region', which can go on",
                "Choose it, or fit without a checkpoint",
            )  # fmt: skip
        refuse_reentry(twin.mesh, data)
        self.twin, self.observations = twin, twin.observations(data, sigma_ms)
        self.start = self.theta = conducting(twin, self.observations, theta)
        self.iterations, self.tolerance, self.rounds = iterations, tolerance, rounds
        self.optimiser, self.report, self.path = optimiser, report, checkpoint
        self.stage, self.history, self.reason, self.progress = 0, (), "", None
        if checkpoint is not None:
            settings = {"iterations": iterations, "tolerance": tolerance, "rounds": rounds, "sigma": sigma_ms}
            settings["start"] = np.asarray(ravel_pytree(theta)[0]).tolist()
            self.key = fingerprint(twin, data, settings)
            self._restore(read_checkpoint(checkpoint, self.key))

    def __call__(self) -> Fit:
        """From where it stands to the end."""
        assessment = None
        while self.stage < self.rounds:
            self._round()
            self._save()
        while self.stage < self.rounds + (1 if self.rounds else 2):
            assessment = self._descend()
            self._save()
        if assessment is None:  # the file holds a fit that had ended
            assessment = objective(self.twin, self.observations)(self.theta)
        rows = tuple(row | {"iteration": float(k)} for k, row in enumerate(self.history))
        return Fit(self.theta, assessment, rows, self.reason)

    def _round(self) -> None:
        """A fit of eikonal waves with what the simulation at its start has beside its own eikonal wave: a
        space mapping (Bandler et al. 1994, doi 10.1109/22.339794), for one simulation and no gradient."""
        sharp, twin = self.stage >= len(SOFT), self.twin
        if not sharp:
            # far from its place a sharp border of scar has no derivative
            soft = twin.conductivity.softened(SOFT[self.stage])
            twin = eqx.tree_at(lambda m: m.conductivity, twin, soft)
        now = simulated(twin, self.observations, self.theta)
        courses = tuple(eikonal_course(twin, self.theta, o) for o in self.observations)
        now = per_volume(twin, self.observations, self.theta, now, courses)
        self.report(len(self.history), now)
        more = [
            jnp.nan_to_num(at_points(o, lat) - course.predicted)
            for o, lat, course in zip(self.observations, now.arrival, courses, strict=True)
        ]
        # the error of the mesh costs as much as the simulation and changes little
        fresh = () if self.stage else twin.waves(self.theta, now.arrival)
        self.observations = weighed(twin, self.observations, self.theta, courses, fresh, now.slopes)
        fit = _eikonal_fit(twin, self.observations, self.theta, more)
        moved = jax.tree.map(jnp.subtract, fit.theta, self.theta)
        step = float(jnp.linalg.norm(ravel_pytree(moved)[0]))
        self.history += (history_row(0, now, step) | {"gradient_norm": float("nan")},)
        self.theta = fit.theta
        # where the correction has settled there is nothing left for these waves
        self.stage = self.rounds if sharp and len(fit.history) == 1 else self.stage + 1

    def _descend(self) -> Assessment:
        """A search by gradients of the simulation."""
        twin, again = self.twin, not self.rounds and self.stage == 1
        if self.progress is None and (self.rounds or again):

            def assessed(theta: Theta) -> Assessment:
                now = simulated(twin, self.observations, theta)
                return per_volume(twin, self.observations, theta, now)

            now = assessed(self.theta)
            if self.rounds:
                begin = assessed(self.start)
                if not now.loss < begin.loss:
                    self.theta, now = self.start, begin
            waves = twin.waves(self.theta, now.arrival)
            self.observations = weighed(twin, self.observations, self.theta, now.courses, waves, now.slopes)
        until, enough = self.iterations, self.tolerance
        if again:
            until -= len(self.history) - 1
        elif not self.rounds:
            until, enough = (2 * until + 2) // 3, max(enough, 0.1)
        before = self.history[:-1] if again else self.history

        def report(iteration: int, now: Assessment) -> None:
            self.report(len(before) + iteration, now)

        assess = objective(twin, self.observations)
        if self.optimiser == "lbfgs":
            fit = minimise(assess, self.theta, iterations=until, report=report)
        else:
            fit = trust_region(
                assess, along_courses(twin, self.observations), self.theta,
                iterations=until, tolerance=enough, start=self.progress,
                report=report, save=self._save,
            )  # fmt: skip
        self.theta, self.history, self.progress = fit.theta, before + fit.history, None
        full = fit.reason.startswith("reached")
        self.reason = f"reached {self.iterations} iterations" if full else fit.reason
        self.stage += 1
        return fit.assessment

    def _save(self, progress: Progress | None = None) -> None:
        if self.path is None:
            return
        known = [o.mesh_error for o in self.observations if o.mesh_error is not None]
        rows = np.asarray(known, np.float64)
        theta = np.asarray(ravel_pytree(self.theta)[0], np.float64)
        one = self.observations[0]
        lost, level = float(one.lost), float(one.level)
        now = Checkpoint(self.stage, theta, rows, lost, level, self.history, self.reason, progress)
        write_checkpoint(self.path, self.key, now)

    def _restore(self, saved: Checkpoint | None) -> None:
        if saved is None:
            return
        self.stage, self.history = saved.stage, saved.history
        self.reason, self.progress = saved.reason, saved.progress
        flat, back = ravel_pytree(self.theta)
        self.theta = back(jnp.asarray(saved.theta, flat.dtype))
        rows = saved.mesh_error if len(saved.mesh_error) else [None] * len(self.observations)
        self.observations = tuple(
            o.weighed(row, saved.lost, saved.level) for o, row in zip(self.observations, rows, strict=True)
        )
