"""The twin: a heart, its cells, the sites it is paced from, and the conductivity that maps tell about."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._results import InputError
from .anatomy import Mesh
from .fem import Interpolation, Space
from .ionic import AbstractIonicModel
from .monodomain import (
    AbstractAdjoint,
    AbstractStepper,
    Checkpointed,
    ForwardMode,
    RungeKuttaChebyshev,
    Stimulus,
    Times,
    Tissue,
    diffusion_tensor,
    simulate,
    spectral_bound,
)
from .observe import ActivationTimes, MappingData, NumericalError, numerical_error, project
from .posterior import AbstractParameterisation, Assessment, Fit, Laplace, StudentT, Theta, laplace, minimise

OFFSET_SD = 20.0  # ms, prior of the unknown constant between the clock of a map and the stimulus


class Observation(eqx.Module):
    """One map on the device: where the points are, what was measured, and which points count."""

    place: Interpolation
    lat_ms: Float[Array, " points"]
    sigma_ms: Float[Array, " points"]
    silent: Bool[Array, " points"]
    weight: Float[Array, " points"]


class Twin(eqx.Module):
    """Everything between theta and simulated maps.

    - `mesh`, `ionic`: the heart and its cells. `ratio`: D along over D across the fibres.
    - `conductivity`: theta -> D along the fibres at the nodes, mm2/ms.
    - `stimuli`: one per map. `times`: the grid in time of every beat.
    """

    mesh: Mesh
    space: Space
    fibres: Float[Array, "cells dim"]
    ionic: AbstractIonicModel
    conductivity: AbstractParameterisation
    ratio: Float[Array, ""]
    stimuli: tuple[Stimulus, ...]
    times: Times
    stepper: AbstractStepper
    likelihood: StudentT
    adjoint: AbstractAdjoint

    def __init__(
        self,
        mesh: Mesh,
        *,
        ionic: AbstractIonicModel,
        conductivity: AbstractParameterisation,
        stimuli: tuple[Stimulus, ...],
        times: Times,
        ratio: float = 1.0,
        mass_scaling: float = 0.005,
        consistent_mass: float = 0.5,
        stepper: AbstractStepper | None = None,
        likelihood: StudentT | None = None,
        adjoint: AbstractAdjoint | None = None,
    ):
        if not ratio >= 1.0:
            raise InputError(
                f"an anisotropy ratio of {ratio}", "D along over D across of 1 or more", "Invert it"
            )
        self.mesh, self.ionic, self.conductivity, self.stimuli = mesh, ionic, conductivity, stimuli
        self.space = Space(mesh, mass_scaling=mass_scaling, consistent_mass=consistent_mass)
        self.fibres = jnp.asarray(mesh.fibres, self.space.mass.dtype)
        self.ratio = jnp.asarray(ratio, self.space.mass.dtype)
        self.times = times
        self.likelihood = likelihood or StudentT()
        self.adjoint = adjoint or Checkpointed()
        stepper = stepper or RungeKuttaChebyshev()
        if stepper.stages is None:
            # the optimiser may go anywhere below the ceiling: the step must be stable there
            fastest = diffusion_tensor(self.fibres, conductivity.ceiling, self.ratio)
            bound = spectral_bound(Tissue(self.space, ionic, fastest, stimuli[0]))
            stepper = stepper.with_stages(float(bound), times.dt)
        self.stepper = stepper

    def mean(self) -> Theta:
        """The middle of the prior: conductivity, one time offset per map, and the noise scale."""
        real = self.space.mass.dtype
        nuisance = {"offset": jnp.zeros(len(self.stimuli), real), "noise": jnp.zeros((), real)}
        return self.conductivity.mean() | nuisance

    def tissue(self, theta: Theta, stimulus: Stimulus) -> Tissue:
        """The tissue at theta. Conductivity is interpolated to the cells as a mean of logarithms."""
        along = jnp.exp(self.space.to_cells(jnp.log(self.conductivity.diffusivity(theta))))
        return Tissue(self.space, self.ionic, diffusion_tensor(self.fibres, along, self.ratio), stimulus)

    def activation(self, theta: Theta, stimulus: Stimulus) -> Float[Array, " nodes"]:
        """Activation times at the nodes, ms on the clock of the stimulus; NaN where no wave comes."""
        solution = simulate(
            self.tissue(theta, stimulus), self.times,
            stepper=self.stepper, recorders=(ActivationTimes(),), adjoint=self.adjoint, throw=False,
        )  # fmt: skip
        return solution.records[0]

    def offset_ms(self, theta: Theta) -> Float[Array, " maps"]:
        """Time of each map's clock at which its stimulus clock is zero, ms."""
        return OFFSET_SD * theta["offset"]

    def predict(self, theta: Theta, map_index: int = 0) -> Float[Array, " nodes"]:
        """Activation times on the clock of map `map_index`, ms, at the nodes."""
        return _activation(self, theta, self.stimuli[map_index]) + self.offset_ms(theta)[map_index]

    def numerical_error(self, theta: Theta, map_index: int = 0) -> NumericalError:
        """What the edges of the mesh leave as error in the activation times of map `map_index`, estimated."""
        stimulus = self.stimuli[map_index]
        lat = np.asarray(_activation(self, theta, stimulus))
        return numerical_error(self.tissue(theta, stimulus), self.times, lat, stepper=self.stepper)

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
            Observation(
                Interpolation(place.nodes[p], place.weights[p], place.distance[p]),
                jnp.asarray(np.nan_to_num(data.lat_ms[p]), real), jnp.asarray(sigma[p], real),
                jnp.asarray(data.silent[p]), jnp.asarray(np.arange(longest) < len(r), real),
            )
            for r, p in zip(rows, padded, strict=True)
        )  # fmt: skip

    def objective(self, observations: tuple[Observation, ...]) -> Callable[[Theta], Assessment]:
        """theta -> negative log posterior, gradient, captures. One beat at a time: memory of one gradient."""

        def assess(theta: Theta) -> Assessment:
            loss, gradient = _prior(theta)
            captured, squares = jnp.asarray(0), jnp.zeros_like(loss)
            for k, (stimulus, observation) in enumerate(zip(self.stimuli, observations, strict=True)):
                (more, (hits, square)), slope = _misfit(theta, self, stimulus, observation, jnp.asarray(k))
                loss, captured, squares = loss + more, captured + hits, squares + square
                gradient = jax.tree.map(jnp.add, gradient, slope)
            # the host waits here, once for all maps
            loss, captured, squares = jax.device_get((loss, captured, squares))
            return Assessment(float(loss), gradient, int(captured), float(squares / max(captured, 1)) ** 0.5)

        return assess

    def fit(
        self,
        data: MappingData,
        *,
        theta: Theta | None = None,
        iterations: int = 100,
        tolerance: float = 1e-3,
        sigma_ms: float = 2.0,
        report: Callable[[int, Assessment], Any] = lambda iteration, assessment: None,
    ) -> Fit:
        """The most probable theta given the valid points of `data`, from `theta` or the prior's middle."""
        observations = self.observations(data, sigma_ms)
        return minimise(
            self.objective(observations), theta or self.mean(),
            iterations=iterations, tolerance=tolerance, report=report,
        )  # fmt: skip

    def posterior(self, data: MappingData, theta: Theta, *, rank: int = 30, sigma_ms: float = 2.0) -> Laplace:
        """How sure the most probable theta is, given the same `data` and `sigma_ms` as its fit.

        It takes `rank` products with the curvature, each a forward-mode and a reverse-mode derivative of
        every beat.
        """
        observations = self.observations(data, sigma_ms)
        ahead = eqx.tree_at(lambda twin: twin.adjoint, self, ForwardMode())

        def curvature(v: Theta) -> Theta:
            total = jax.tree.map(jnp.zeros_like, theta)
            for k, (stimulus, observation) in enumerate(zip(self.stimuli, observations, strict=True)):
                more = _curvature(v, theta, self, ahead, stimulus, observation, jnp.asarray(k))
                total = jax.tree.map(jnp.add, total, more)
            return total

        return laplace(theta, curvature, rank)


@eqx.filter_jit
def _activation(twin: Twin, theta: Theta, stimulus: Stimulus):
    return twin.activation(theta, stimulus)


@eqx.filter_jit
@jax.value_and_grad
def _prior(theta: Theta):
    return 0.5 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(theta))


def _at_points(theta: Theta, twin: Twin, stimulus: Stimulus, observation: Observation, k):
    return observation.place(twin.activation(theta, stimulus)) + twin.offset_ms(theta)[k]


@eqx.filter_jit
def _curvature(v: Theta, theta: Theta, twin: Twin, ahead: Twin, stimulus, observation: Observation, k):
    """J^T W J v of one beat: `ahead` is the twin for forward mode."""
    predicted, along = jax.jvp(lambda t: _at_points(t, ahead, stimulus, observation, k), (theta,), (v,))
    weight, of_noise = twin.likelihood.information(
        predicted, observation.sigma_ms, observation.silent, observation.weight, theta["noise"],
        twin.times.stop,
    )  # fmt: skip
    _, pull = jax.vjp(lambda t: _at_points(t, twin, stimulus, observation, k), theta)
    (product,) = pull(jnp.where(weight > 0, weight * along, 0.0))
    return product | {"noise": product["noise"] + of_noise * v["noise"]}


@eqx.filter_jit
def _misfit(theta: Theta, twin: Twin, stimulus: Stimulus, observation: Observation, k):
    def misfit(theta):
        predicted = _at_points(theta, twin, stimulus, observation, k)
        loss = twin.likelihood(
            predicted, observation.lat_ms, observation.sigma_ms, observation.silent, observation.weight,
            theta["noise"], twin.times.stop,
        )  # fmt: skip
        hit = jnp.isfinite(predicted) & (observation.weight > 0) & ~observation.silent
        square = jnp.sum(jnp.where(hit, predicted - observation.lat_ms, 0.0) ** 2)
        return loss, (hit.sum(), square)

    return jax.value_and_grad(misfit, has_aux=True)(theta)
