"""The twin: a heart, its cells, the sites it is paced from, and the conductivity that maps tell about."""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ._results import InputError
from .anatomy import Mesh, across_fibres
from .fem import Interpolation, Space
from .ionic import AbstractIonicModel
from .monodomain import (
    AbstractAdjoint,
    AbstractStepper,
    Checkpointed,
    ForwardMode,
    Rays,
    RungeKuttaChebyshev,
    Stimulus,
    Times,
    Tissue,
    diffusion_tensor,
    rays,
    simulate,
    spectral_bound,
    turned_tensor,
)
from .observe import ActivationTimes, MappingData, NumericalError, numerical_error, project, refuse_reentry
from .posterior import (
    AbstractParameterisation,
    Assessment,
    Clock,
    Combination,
    Course,
    Fit,
    Laplace,
    Model,
    Observation,
    StudentT,
    Theta,
    clock,
    combinations,
    laplace,
    minimise,
    trust_region,
)

OPTIMISERS = "trust_region", "lbfgs"
OFFSET_SD = 20.0  # ms, prior of the unknown constant between the clock of a map and the stimulus
IDENTIFIED = 0.1  # posterior over prior variance, below which a combination of parameters is known
EXACT = 16  # numbers in theta up to which the whole Jacobian costs little


def at_once(maps: int) -> int:
    """Number of maps whose gradients are computed at the same time: one per core of a CPU, one elsewhere."""
    return min(maps, os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1


class IdentifiabilityWarning(UserWarning):
    """More is asked for than the data can tell."""


class Twin(eqx.Module):
    """Everything between theta and simulated maps.

    - `mesh`, `ionic`: the heart and its cells. `conductivity`: theta -> D and its anisotropy at the nodes.
    - `stimuli`: one per map. `times`: the grid in time of every beat. `beats`: which activation of the
      simulation each map shows; 1 for the second, as after a premature stimulus.
    - `ionic_sd`: cell parameters to estimate, with the prior standard deviations of their logarithms.
    - `discrepancy`: (nodes, terms), a field of activation times that each map may have beside the model, with
      its standard deviation (ms) in it: what no conductivity explains is then not forced upon it.
    - `mesh_error`: let maps have the estimated error of the mesh, times one unknown factor of order 1.
    """

    mesh: Mesh
    space: Space
    fibres: Float[Array, "cells dim"]
    across: Float[Array, "cells dim"] | None
    ionic: AbstractIonicModel
    conductivity: AbstractParameterisation
    stimuli: tuple[Stimulus, ...]
    clocks: tuple[Clock, ...]
    times: Times
    stepper: AbstractStepper
    likelihood: StudentT
    adjoint: AbstractAdjoint
    discrepancy: Float[Array, "nodes terms"] | None
    beats: tuple[int, ...] = eqx.field(static=True)
    ionic_sd: tuple[tuple[str, float], ...] = eqx.field(static=True)
    mesh_error: bool = eqx.field(static=True)

    def __init__(
        self,
        mesh: Mesh,
        *,
        ionic: AbstractIonicModel,
        conductivity: AbstractParameterisation,
        stimuli: tuple[Stimulus, ...],
        times: Times,
        beats: tuple[int, ...] | None = None,
        ionic_sd: dict[str, float] | None = None,
        discrepancy: Float[Array, "nodes terms"] | None = None,
        mesh_error: bool = True,
        mass_scaling: float = 0.005,
        consistent_mass: float = 0.5,
        stepper: AbstractStepper | None = None,
        likelihood: StudentT | None = None,
        adjoint: AbstractAdjoint | None = None,
    ):
        self.mesh, self.ionic, self.conductivity, self.stimuli = mesh, ionic, conductivity, stimuli
        self.space = Space(mesh, mass_scaling=mass_scaling, consistent_mass=consistent_mass)
        real = self.space.mass.dtype
        self.fibres = jnp.asarray(mesh.fibres, real)
        shear = conductivity.anisotropy(conductivity.mean())[1]
        self.across = None if shear is None else jnp.asarray(across_fibres(mesh), real)
        self.times, self.discrepancy, self.mesh_error = times, discrepancy, mesh_error
        self.beats = tuple(beats or (0,) * len(stimuli))
        each = zip(stimuli, self.beats, strict=True)
        self.clocks = tuple(clock(mesh, stimulus, beat, real) for stimulus, beat in each)
        self.ionic_sd = tuple((ionic_sd or {}).items())
        for name, _ in self.ionic_sd:
            if not isinstance(getattr(ionic, name, None), float | jax.Array | np.ndarray):
                raise InputError(
                    f"'{name}' as a parameter to estimate",
                    f"one of {type(ionic).__name__}: tau_in, tau_out, tau_open, tau_close, u_gate",
                    "Correct the name",
                )
        self.likelihood = likelihood or StudentT()
        self.adjoint = adjoint or Checkpointed()
        stepper = stepper or RungeKuttaChebyshev()
        if stepper.stages is None:
            # the optimiser may go anywhere below the ceiling, with cells twice as quick as likely: the step
            # must be stable there
            fastest = diffusion_tensor(self.fibres, conductivity.ceiling)
            quickest = self.cells({"cells": jnp.full(len(self.ionic_sd), -2.0, real)})
            bound = spectral_bound(Tissue(self.space, quickest, fastest, stimuli[0]))
            stepper = stepper.with_stages(float(bound), times.dt)
        self.stepper = stepper

    def mean(self) -> Theta:
        """The middle of the prior: conductivity, one time offset per map, the noise scale, and the rest."""
        real, maps = self.space.mass.dtype, len(self.stimuli)
        nuisance = {"offset": jnp.zeros(maps, real), "noise": jnp.zeros((), real)}
        if self.mesh_error:
            nuisance["mesh_error"] = jnp.zeros((), real)
        if self.discrepancy is not None:
            nuisance["discrepancy"] = jnp.zeros((maps, self.discrepancy.shape[1]), real)
        if self.ionic_sd:
            nuisance["cells"] = jnp.zeros(len(self.ionic_sd), real)
        return self.conductivity.mean() | nuisance

    def cells(self, theta: Theta) -> AbstractIonicModel:
        """The cell model at theta."""
        cells = self.ionic
        for k, (name, sd) in enumerate(self.ionic_sd):
            value = getattr(self.ionic, name) * jnp.exp(sd * theta["cells"][k])
            cells = eqx.tree_at(lambda c, name=name: getattr(c, name), cells, value)
        return cells

    def diffusivity(self, theta: Theta) -> Float[Array, "cells dim dim"]:
        """The diffusion tensor at theta, mm2/ms. Conductivity goes to the cells as a mean of logarithms."""
        along = jnp.exp(self.space.to_cells(jnp.log(self.conductivity.diffusivity(theta))))
        stretch, shear = self.conductivity.anisotropy(theta)
        if shear is None or self.across is None:
            stretch = stretch if isinstance(stretch, float) else self.space.to_cells(jnp.asarray(stretch))
            return diffusion_tensor(self.fibres, along, jnp.exp(2.0 * jnp.asarray(stretch, along.dtype)))
        turned = (self.space.to_cells(jnp.asarray(field)) for field in (stretch, shear))
        return turned_tensor(self.fibres, self.across, along, *turned)

    def tissue(self, theta: Theta, stimulus: Stimulus) -> Tissue:
        """The tissue at theta."""
        return Tissue(self.space, self.cells(theta), self.diffusivity(theta), stimulus)

    def activation(self, theta: Theta, stimulus: Stimulus, beat: int = 0) -> Float[Array, " nodes"]:
        """Activation times at the nodes, ms on the clock of the stimulus; NaN where no wave comes."""
        solution = simulate(
            self.tissue(theta, stimulus), self.times,
            stepper=self.stepper, recorders=(ActivationTimes(count=beat + 1),), adjoint=self.adjoint,
            throw=False,
        )  # fmt: skip
        return solution.records[0][beat] if beat else solution.records[0]

    def offset_ms(self, theta: Theta) -> Float[Array, " maps"]:
        """What the clock of each map is ahead of that of its stimulus, had the wave left at once, ms."""
        return OFFSET_SD * theta["offset"]

    def discrepancy_ms(self, theta: Theta, map_index: int = 0) -> Float[Array, " nodes"]:
        """What map `map_index` has beside the model, ms at the nodes."""
        if self.discrepancy is None:
            return jnp.zeros_like(self.space.mass)
        return self.discrepancy @ theta["discrepancy"][map_index]

    def predict(self, theta: Theta, map_index: int = 0) -> Float[Array, " nodes"]:
        """What map `map_index` should show at the nodes, ms on its clock, NaN where no wave comes.

        The simulated times, with the share of the error of the mesh and the discrepancy that were found.
        """
        lat = _activation(self, theta, self.stimuli[map_index], self.beats[map_index])
        beside = self.offset_ms(theta)[map_index] + self.discrepancy_ms(theta, map_index)
        beside = beside + self._mesh_error_ms(theta, self.stimuli[map_index], lat, self.beats[map_index])
        return lat - self.clocks[map_index].since(lat) + beside

    def numerical_error(self, theta: Theta, map_index: int = 0) -> NumericalError:
        """What the edges of the mesh leave as error in the activation times of map `map_index`, estimated."""
        stimulus, beat = self.stimuli[map_index], self.beats[map_index]
        return self._numerical_error(theta, stimulus, _activation(self, theta, stimulus, beat), beat)

    def _numerical_error(self, theta: Theta, stimulus: Stimulus, lat, beat: int) -> NumericalError:
        tissue = self.tissue(theta, stimulus)
        return numerical_error(tissue, self.times, np.asarray(lat), stepper=self.stepper, beat=beat)

    def _mesh_error_ms(self, theta: Theta, stimulus: Stimulus, lat, beat: int) -> Float[Array, " nodes"]:
        if not self.mesh_error or float(theta["mesh_error"]) == 0.0:
            return jnp.zeros_like(lat)
        error = jnp.asarray(self._numerical_error(theta, stimulus, lat, beat).of_nodes, lat.dtype)
        return jnp.nan_to_num(error) * theta["mesh_error"]

    def foretell(self, theta: Theta, stimulus: Stimulus) -> Float[Array, " nodes"]:
        """Activation times for a stimulus that was not mapped, ms on its clock, NaN where no wave comes.

        With the share of the error of the mesh that the maps have shown: a fit to them makes up for the rest.
        """
        lat = _activation(self, theta, stimulus, 0)
        return lat + self._mesh_error_ms(theta, stimulus, lat, 0)

    def rays(self, theta: Theta, stimulus: Stimulus, activation: Float[np.ndarray, " nodes"]) -> Rays:
        """The paths by which an activation came to the nodes."""
        starts = np.flatnonzero((np.asarray(stimulus.strength) > 0).any(axis=0))
        tensor = np.asarray(_diffusivity(self, theta))
        return rays(self.mesh, tensor, np.asarray(activation), starts, np.asarray(self.space.gradients))

    def observations(self, data: MappingData, sigma_ms: float = 2.0) -> tuple[Observation, ...]:
        """One `Observation` per map, all of the same length so that one compiled program serves all.

        `sigma_ms` stands in where a point has no standard deviation of its own.
        """
        if data.maps != len(self.stimuli):
            raise InputError(
                f"{data.maps} maps and {len(self.stimuli)} stimuli", "one stimulus for each map",
                "Give the pacing site of each map, or take it from the map",
            )  # fmt: skip
        data, place = project(self.mesh, data)
        latest = float(data.lat_ms[data.valid].max())
        if latest > self.times.stop:
            raise InputError(
                f"a map with activations until {latest:.4g} ms and a simulation of {self.times.stop:g} ms",
                "a simulation that covers the map",
                f"Simulate at least {latest + 20:.0f} ms",
            )
        used = data.valid | data.silent
        rows = [np.flatnonzero(used & (data.map_index == k)) for k in range(data.maps)]
        longest, real = max(map(len, rows)), self.space.mass.dtype
        padded = [np.concatenate([r, np.full(longest - len(r), np.flatnonzero(used)[0])]) for r in rows]
        sigma = np.where(np.isfinite(data.sigma_ms), data.sigma_ms, sigma_ms)
        return tuple(
            self._observation(
                Interpolation(place.nodes[p], place.weights[p], place.distance[p]), clock,
                jnp.asarray(np.nan_to_num(data.lat_ms[p]), real), jnp.asarray(sigma[p], real),
                jnp.asarray(data.silent[p]), jnp.asarray(np.arange(longest) < len(r), real),
            )
            for r, p, clock in zip(rows, padded, self.clocks, strict=True)
        )  # fmt: skip

    def _observation(self, place, clock, lat, sigma, silent, weight) -> Observation:
        basis = None if self.discrepancy is None else place(self.discrepancy.T).T
        nothing = jnp.zeros_like(lat)
        return Observation(place, clock, lat, sigma, silent, weight, basis, nothing, nothing[0])

    def objective(self, observations: tuple[Observation, ...]) -> Callable[[Theta], Assessment]:
        """theta -> negative log posterior, gradient, captures.

        On a CPU as many beats at once as there are cores, since one beat keeps one core busy; elsewhere one
        after another, in the memory of one gradient.
        """
        maps, workers = self._maps(observations), at_once(len(observations))

        def assess(theta: Theta) -> Assessment:
            loss, gradient = _prior(theta)
            captured, squares, arrival = jnp.asarray(0), jnp.zeros_like(loss), ()

            def misfit(one):
                k, beat, stimulus, observation = one
                return jax.block_until_ready(_misfit(theta, self, beat, stimulus, observation, k))

            with ThreadPoolExecutor(workers) as pool:
                found = list(pool.map(misfit, maps))
            for (more, (hits, square, lat)), slope in found:
                loss, captured, squares = loss + more, captured + hits, squares + square
                gradient = jax.tree.map(jnp.add, gradient, slope)
                arrival += (lat,)
            # the host waits here, once for all maps
            loss, captured, squares = jax.device_get((loss, captured, squares))
            rmse = float(squares / max(captured, 1)) ** 0.5
            return Assessment(float(loss), gradient, int(captured), rmse, arrival)

        return assess

    def _maps(self, observations):
        each = zip(self.beats, self.stimuli, observations, strict=True)
        return [(jnp.asarray(k), beat, stimulus, o) for k, (beat, stimulus, o) in enumerate(each)]

    def course(
        self, theta: Theta, map_index: int, activation: Float[Array, " nodes"], wanted: Interpolation
    ) -> Course:
        """How the activation at `wanted` changes with theta, from one simulated `activation` at theta."""
        stimulus, beat, real = self.stimuli[map_index], self.beats[map_index], self.space.mass.dtype
        clock = self.clocks[map_index]
        there = wanted(activation) - clock.since(activation)
        predicted, reached = jnp.nan_to_num(there), jnp.isfinite(there)
        if ravel_pytree(theta)[0].size <= EXACT:
            matrix = _jacobian(theta, self, beat, stimulus, wanted, clock)
            return Course(predicted, reached, jnp.nan_to_num(matrix), theta, None, None)
        count = wanted.nodes.shape[0]
        ends = np.arange(count + 1) * wanted.nodes.shape[1]
        weights, nodes = np.asarray(wanted.weights, np.float64), np.asarray(wanted.nodes)
        at = sp.csr_array((weights.ravel(), nodes.ravel(), ends), shape=(count, self.space.nodes))
        paths, around = self.rays(theta, stimulus, np.asarray(activation)), np.asarray(clock.nodes)
        around = around[np.isfinite(np.asarray(activation)[around])]
        leaving = sp.csr_array(
            (np.full(len(around), 1.0), around, [0, len(around)]), shape=(1, self.space.nodes)
        )
        matrix = paths.pull(at) - paths.pull(leaving) / max(len(around), 1)
        matrix = jnp.asarray(matrix, real)
        cell, slope = jnp.asarray(paths.cell), jnp.asarray(paths.slope, real)
        return Course(predicted, reached, matrix, theta, cell, slope)

    def model(self, observations: tuple[Observation, ...]) -> Callable[[Theta, Assessment], Model]:
        """(theta, its assessment) -> what stands in for the objective near it: waves along the same rays."""

        def near(theta: Theta, assessment: Assessment) -> Model:
            _, back = ravel_pytree(theta)
            courses = self._courses(theta, observations, assessment)
            each = list(enumerate(zip(courses, observations, strict=True)))

            def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
                theta = back(jnp.asarray(numbers, self.space.mass.dtype))
                value, gradient = _prior(theta)
                for k, (course, observation) in each:
                    more, slope = _nearby(theta, self, course, observation, jnp.asarray(k))
                    value, gradient = value + more, jax.tree.map(jnp.add, gradient, slope)
                return float(value), np.asarray(ravel_pytree(gradient)[0], np.float64)

            return Model(self._curvature(theta, observations, courses), loss)

        return near

    def _courses(self, theta, observations, assessment):
        each = enumerate(zip(assessment.arrival, observations, strict=True))
        return [self.course(theta, k, lat, o.place) for k, (lat, o) in each]

    def _curvature(self, theta: Theta, observations, courses) -> Float[np.ndarray, "numbers numbers"]:
        """J^T W J as a matrix, with J from the courses."""
        flat, back = ravel_pytree(theta)
        total = np.zeros((flat.size, flat.size))
        noise = np.asarray(ravel_pytree(back(0.0 * flat) | {"noise": jnp.ones_like(theta["noise"])})[0])
        for k, (course, observation) in enumerate(zip(courses, observations, strict=True)):
            predicted, slope = _slope(theta, self, course, observation, jnp.asarray(k))
            weight, of_noise = self._information(theta, predicted, observation)
            slope = np.asarray(slope, np.float64)
            total += (slope * np.asarray(weight, np.float64)[:, None]).T @ slope
            total += np.diag(float(of_noise) * noise.astype(np.float64))
        return total

    def _information(self, theta: Theta, predicted, observation: Observation):
        return self.likelihood.information(
            predicted, observation.sigma_ms, observation.silent, observation.weight, theta["noise"],
            self.times.stop,
        )  # fmt: skip

    def _weighed(
        self, observations: tuple[Observation, ...], theta: Theta, assessment: Assessment, courses
    ) -> tuple[Observation, ...]:
        """The observations with what only a fit can tell: the error of the mesh at the points, and the share
        of the points that the numbers they determine used up, which makes residuals smaller than noise."""
        curvature = self._curvature(theta, observations, courses)
        used = float(np.trace(np.linalg.solve(np.eye(len(curvature)) + curvature, curvature)))
        lost = min(used / max(assessment.captured, 1), 0.9)
        made = []
        for k, observation in enumerate(observations):
            error = observation.mesh_error
            if self.mesh_error:
                lat, beat = assessment.arrival[k], self.beats[k]
                found = self._numerical_error(theta, self.stimuli[k], lat, beat)
                of_nodes = jnp.asarray(found.of_nodes, error.dtype)
                error = jnp.nan_to_num(observation.place(of_nodes))
            where = lambda o: (o.mesh_error, o.lost)  # noqa: E731
            made.append(eqx.tree_at(where, observation, (error, jnp.asarray(lost, error.dtype))))
        return tuple(made)

    def fit(
        self,
        data: MappingData,
        *,
        theta: Theta | None = None,
        iterations: int = 40,
        tolerance: float = 0.01,
        sigma_ms: float = 2.0,
        optimiser: str = "trust_region",
        report: Callable[[int, Assessment], Any] = lambda iteration, assessment: None,
    ) -> Fit:
        """The most probable theta given the valid points of `data`, from `theta` or the prior's middle.

        Twice: the second time with the error of the mesh and the degrees of freedom that the first has found.
        `optimiser`: "trust_region", with its `tolerance`, or "lbfgs"; see `jaxtwin.posterior`.
        Raises `InputError` for maps of a circling wave; warns where cell parameters cannot be told apart.
        """
        if optimiser not in OPTIMISERS:
            raise InputError(f"optimiser '{optimiser}'", " or ".join(OPTIMISERS), "Choose one of them")
        refuse_reentry(self.mesh, data)
        observations = self.observations(data, sigma_ms)
        if self.ionic_sd:
            self._warn(self.combinations(data, theta, sigma_ms=sigma_ms))

        def search(theta: Theta, iterations: int, tolerance: float, done: int) -> Fit:
            objective, counted = self.objective(observations), lambda i, now: report(done + i, now)
            if optimiser == "lbfgs":
                return minimise(objective, theta, iterations=iterations, report=counted)
            return trust_region(
                objective, self.model(observations), theta,
                iterations=iterations, tolerance=tolerance, report=counted,
            )  # fmt: skip

        first = search(theta or self.mean(), (2 * iterations + 2) // 3, max(tolerance, 0.1), 0)
        courses = self._courses(first.theta, observations, first.assessment)
        observations = self._weighed(observations, first.theta, first.assessment, courses)
        done = len(first.history) - 1
        second = search(first.theta, iterations - done, tolerance, done)
        history = first.history + tuple(
            row | {"iteration": row["iteration"] + done} for row in second.history[1:]
        )
        full = len(history) - 1 == iterations and second.reason != "converged"
        reason = f"reached {iterations} iterations" if full else second.reason
        return Fit(second.theta, second.assessment, history, reason)

    def combinations(
        self, data: MappingData, theta: Theta | None = None, *, sigma_ms: float = 2.0
    ) -> list[Combination]:
        """Which combinations of log D and the cell parameters in `ionic_sd` the maps tell at all.

        From the Fisher information of changes that are the same everywhere, with the offset of each map free.
        """
        theta, rows = theta or self.mean(), []
        for _, beat, stimulus, observation in self._maps(self.observations(data, sigma_ms)):
            dense = np.asarray((observation.weight > 0) & ~observation.silent)
            slope = np.asarray(_of_globals(theta, self, beat, stimulus, observation), np.float64)[dense]
            slope = slope[np.isfinite(slope).all(axis=1)]
            if not len(slope):
                continue
            sigma = float(np.median(np.asarray(observation.sigma_ms)[dense]))
            rows.append((slope - slope.mean(axis=0)) / sigma)
        names = ("D", *(name for name, _ in self.ionic_sd))
        return combinations(names, np.concatenate(rows), np.asarray([1.0, *(sd for _, sd in self.ionic_sd)]))

    def _warn(self, found: list[Combination]) -> None:
        """Says so where more parameters are asked for than the maps can tell apart."""
        known = [c for c in found if c.left < IDENTIFIED]
        if len(known) < len(found):
            told = "; ".join(str(c) for c in known) or "none"
            warnings.warn(
                f"{len(found)} parameters are asked for ({', '.join(found[0].names)}) and the maps identify "
                f"{len(known)} of their combinations: {told}. What is given for the rest is the prior. Fix "
                "the others, or add beats that show them (premature stimuli for recovery)",
                IdentifiabilityWarning, stacklevel=3,
            )  # fmt: skip

    def posterior(self, data: MappingData, theta: Theta, *, rank: int = 20, sigma_ms: float = 2.0) -> Laplace:
        """How sure the most probable theta is, given the same `data` and `sigma_ms` as its fit.

        It takes `rank` products with the curvature, each a forward-mode and a reverse-mode derivative of
        every beat; 0 leaves it at the curvature along rays.
        """
        observations = self.observations(data, sigma_ms)
        assessment = self.objective(observations)(theta)
        courses = self._courses(theta, observations, assessment)
        observations = self._weighed(observations, theta, assessment, courses)
        observations = self._sandwiched(observations, theta, assessment)
        ahead = eqx.tree_at(lambda twin: twin.adjoint, self, ForwardMode())

        def product(v: Theta) -> Theta:
            total = jax.tree.map(jnp.zeros_like, theta)
            for k, beat, stimulus, observation in self._maps(observations):
                more = _curvature(v, theta, self, ahead, beat, stimulus, observation, k)
                total = jax.tree.map(jnp.add, total, more)
            return total

        nearby = self._curvature(theta, observations, courses)
        return laplace(theta, product, rank, nearby)

    def _sandwiched(self, observations, theta, assessment):
        """Weights by what the residuals show of their distribution, should the likelihood have another."""
        residuals = np.concatenate([
            np.asarray(_residual(theta, self, k, observation, lat))
            for (k, _, _, observation), lat in zip(self._maps(observations), assessment.arrival, strict=True)
        ])  # fmt: skip
        share = self.likelihood.efficiency(residuals[np.isfinite(residuals)])
        return tuple(
            eqx.tree_at(lambda o: o.weight, o, jnp.where(o.silent, o.weight, share * o.weight))
            for o in observations
        )


@eqx.filter_jit
def _activation(twin: Twin, theta: Theta, stimulus: Stimulus, beat: int):
    return twin.activation(theta, stimulus, beat)


@eqx.filter_jit
def _diffusivity(twin: Twin, theta: Theta):
    return twin.diffusivity(theta)


@eqx.filter_jit
@jax.value_and_grad
def _prior(theta: Theta):
    return 0.5 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(theta))


def _beside(theta: Theta, twin: Twin, observation: Observation, k) -> Float[Array, " points"]:
    """What stands beside the simulated times at the points, ms: clock, discrepancy, error of the mesh."""
    beside = twin.offset_ms(theta)[k] + jnp.zeros_like(observation.lat_ms)
    if observation.basis is not None:
        beside = beside + observation.basis @ theta["discrepancy"][k]
    if twin.mesh_error:
        beside = beside + observation.mesh_error * theta["mesh_error"]
    return beside


def _at_points(theta: Theta, twin: Twin, beat: int, stimulus: Stimulus, observation: Observation, k):
    lat = twin.activation(theta, stimulus, beat)
    return observation.place(lat) - observation.clock.since(lat) + _beside(theta, twin, observation, k), lat


@eqx.filter_jit
def _residual(theta: Theta, twin: Twin, k, observation: Observation, lat):
    """(prediction - measurement)/scale; NaN at points without a number to compare."""
    predicted = observation.place(lat) - observation.clock.since(lat)
    gap = predicted + _beside(theta, twin, observation, k) - observation.lat_ms
    dense = (observation.weight > 0) & ~observation.silent
    return jnp.where(dense, gap / (observation.sigma_ms * jnp.exp(theta["noise"])), jnp.nan)


@eqx.filter_jit
def _of_globals(theta: Theta, twin: Twin, beat: int, stimulus: Stimulus, observation: Observation):
    """d(simulated times at the points)/d(log D, log of each cell parameter to estimate), alike everywhere."""
    names = [name for name, _ in twin.ionic_sd]

    def there(logs):
        tissue = twin.tissue(theta, stimulus)
        cells = tissue.ionic
        for name, log in zip(names, logs[1:], strict=True):
            value = getattr(cells, name) * jnp.exp(log)
            cells = eqx.tree_at(lambda c, name=name: getattr(c, name), cells, value)
        where = lambda t: (t.ionic, t.diffusivity)  # noqa: E731
        tissue = eqx.tree_at(where, tissue, (cells, jnp.exp(logs[0]) * tissue.diffusivity))
        lat = simulate(
            tissue, twin.times, stepper=twin.stepper, recorders=(ActivationTimes(count=beat + 1),),
            adjoint=ForwardMode(), throw=False,
        ).records[0]  # fmt: skip
        return observation.place(lat[beat] if beat else lat)

    return jax.jacfwd(there)(jnp.zeros(1 + len(names), twin.space.mass.dtype))


@eqx.filter_jit
def _jacobian(theta: Theta, twin: Twin, beat: int, stimulus, wanted: Interpolation, clock: Clock):
    flat, back = ravel_pytree(theta)
    ahead = eqx.tree_at(lambda t: t.adjoint, twin, ForwardMode())

    def there(flat):
        lat = ahead.activation(back(flat), stimulus, beat)
        return wanted(lat) - clock.since(lat)

    return jax.jacfwd(there)(flat)


def _pace(tissue: Theta, twin: Twin, course: Course) -> Float[Array, " nodes"]:
    """q = log(speed of the cells) + log(slope.D slope)/2 at the nodes."""
    slope = course.slope
    rate = jnp.einsum("nd,nde,ne->n", slope, twin.diffusivity(tissue)[course.cell], slope)
    steep = rate > 0.0
    along = 0.5 * jnp.log(jnp.where(steep, rate, 1.0))
    return along + jnp.log(twin.cells(tissue).speed(jnp.ones((), rate.dtype)))


def _of_tissue(theta: Theta, twin: Twin) -> Theta:
    """The part of theta that rays depend on."""
    names = [*twin.conductivity.mean(), *(["cells"] if twin.ionic_sd else [])]
    return {name: theta[name] for name in names}


def _foretold(theta: Theta, twin: Twin, course: Course, observation: Observation, k):
    """The prediction at the points by the course, ms; NaN where no wave came."""
    if course.cell is None:
        moved = ravel_pytree(jax.tree.map(jnp.subtract, theta, course.theta))[0]
        there = course.predicted + course.matrix @ moved
    else:
        before = _pace(_of_tissue(course.theta, twin), twin, course)
        faster = _pace(_of_tissue(theta, twin), twin, course) - jax.lax.stop_gradient(before)
        slower = jnp.clip(-faster, -3.0, 3.0)  # no course holds farther than that
        there = course.predicted - course.matrix @ jnp.expm1(slower)
    return jnp.where(course.reached, there + _beside(theta, twin, observation, k), jnp.nan)


@eqx.filter_jit
@eqx.filter_value_and_grad
def _nearby(theta: Theta, twin: Twin, course: Course, observation: Observation, k):
    return _loss(theta, twin, observation, _foretold(theta, twin, course, observation, k))


@eqx.filter_jit
def _slope(theta: Theta, twin: Twin, course: Course, observation: Observation, k):
    """The prediction at the points at the theta of the course, ms, and its derivative, (points, numbers)."""
    flat, back = ravel_pytree(theta)
    predicted = _foretold(theta, twin, course, observation, k)
    beside = jax.jacfwd(lambda f: _beside(back(f), twin, observation, k))(flat)
    if course.cell is None:
        return predicted, beside + course.matrix
    # forward through the fields, whose columns are gathers, and not backward, which would scatter
    some, of_some = ravel_pytree(_of_tissue(theta, twin))
    columns = jax.vmap(of_some)(course.matrix @ jax.jacfwd(lambda f: _pace(of_some(f), twin, course))(some))
    rows = len(course.matrix)
    full = jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape), leaf.dtype), theta) | columns
    return predicted, beside + jax.vmap(lambda row: ravel_pytree(row)[0])(full)


@eqx.filter_jit
def _curvature(v: Theta, theta: Theta, twin: Twin, ahead: Twin, beat: int, stimulus, observation, k):
    """J^T W J v of one beat: `ahead` is the twin for forward mode."""
    predicted, along = jax.jvp(
        lambda t: _at_points(t, ahead, beat, stimulus, observation, k)[0], (theta,), (v,)
    )
    weight, of_noise = twin._information(theta, predicted, observation)
    _, pull = jax.vjp(lambda t: _at_points(t, twin, beat, stimulus, observation, k)[0], theta)
    (product,) = pull(jnp.where(weight > 0, weight * along, 0.0))
    return product | {"noise": product["noise"] + of_noise * v["noise"]}


def _loss(theta: Theta, twin: Twin, observation: Observation, predicted):
    return twin.likelihood(
        predicted, observation.lat_ms, observation.sigma_ms, observation.silent, observation.weight,
        theta["noise"], twin.times.stop, observation.lost,
    )  # fmt: skip


@eqx.filter_jit
def _misfit(theta: Theta, twin: Twin, beat: int, stimulus: Stimulus, observation: Observation, k):
    def misfit(theta):
        predicted, lat = _at_points(theta, twin, beat, stimulus, observation, k)
        loss = _loss(theta, twin, observation, predicted)
        hit = jnp.isfinite(predicted) & (observation.weight > 0) & ~observation.silent
        square = jnp.sum(jnp.where(hit, predicted - observation.lat_ms, 0.0) ** 2)
        return loss, (hit.sum(), square, jax.lax.stop_gradient(lat))

    return jax.value_and_grad(misfit, has_aux=True)(theta)
