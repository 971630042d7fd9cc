"""The twin: a heart, its cells, the sites it is paced from, and the conductivity that maps tell about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._results import InputError
from ..anatomy import Mesh, across_fibres
from ..fem import Interpolation, Space
from ..ionic import AbstractIonicModel
from ..monodomain import (
    AbstractAdjoint,
    AbstractStepper,
    Checkpointed,
    RungeKuttaChebyshev,
    Stimulus,
    Times,
    Tissue,
    diffusion_tensor,
    simulate,
    spectral_bound,
    turned_tensor,
)
from ..observe import ActivationTimes, MappingData, NumericalError, numerical_error, project
from ..posterior import (
    AbstractParameterisation,
    Assessment,
    Clock,
    Combination,
    Draws,
    Fit,
    Laplace,
    Observation,
    StudentT,
    Theta,
    Voltage,
    clock,
    field,
    matern_modes,
)

EIKONAL_ROUNDS = 5  # two more than those that begin with a soft border of scar
ERROR_LEVEL, ERROR_VARIATION = 0.6, 0.5  # prior standard deviations, see `error_basis`
ERROR_SHARED = 0.8  # of that variance, what all maps have alike
ERROR_MODES = 9
SHORT_MS = 5.0  # of a run, below which its relative error is not taken
OFFSET_SD = 20.0  # ms, prior of the unknown constant between the clock of a map and the stimulus


class Wave(eqx.Module):
    """One simulated beat: when it came to the nodes, ms on the clock of its stimulus, NaN where it did not,
    and the estimated error of that by the edges of the mesh, where it is wanted."""

    activation: Float[Array, " nodes"]
    error: NumericalError | None


class Twin(eqx.Module):
    """Everything between theta and simulated maps.

    - `mesh`, `ionic`: the heart and its cells. `conductivity`: theta -> D and its anisotropy at the nodes.
    - `stimuli`: one per map. `times`: the grid in time of every beat. `beats`: which activation of the
      simulation each map shows; 1 for the second, as after a premature stimulus.
    - `ionic_sd`: cell parameters to estimate, with the prior standard deviations of their logarithms.
    - `discrepancy`: (nodes, terms), a field of activation times that each map may have beside the model, with
      its standard deviation (ms) in it: what no conductivity explains is then not forced upon it.
    - `voltage`: how voltages hang on scar, where those of the maps are to count as evidence for it.
    - `error_basis`: (nodes, terms), of the unknown factor with which each map has the estimated error of the
      mesh; None without (`mesh_error=False`).
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
    error_basis: Float[Array, "nodes error_terms"] | None
    voltage: Voltage | None
    beats: tuple[int, ...] = eqx.field(static=True)
    ionic_sd: tuple[tuple[str, float], ...] = eqx.field(static=True)

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
        voltage: Voltage | None = None,
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
        self.times, self.discrepancy, self.voltage = times, discrepancy, voltage
        if voltage is not None and "scar" not in conductivity.bases:
            raise InputError(
                "voltages as evidence for scar in a twin without scar", "a conductivity with a scar basis",
                "Give `scar_basis`, or leave the voltages out",
            )  # fmt: skip
        self.error_basis = error_basis(mesh).astype(real) if mesh_error else None
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
        """The middle of the prior: conductivity, one time offset per map, the noise scale, and the rest.

        The error of the mesh has numbers of each map and, last, of what all maps share: one mesh and one
        tissue make errors that are much alike.
        """
        real, maps = self.space.mass.dtype, len(self.stimuli)
        nuisance = {"offset": jnp.zeros(maps, real), "noise": jnp.zeros((), real)}
        if self.error_basis is not None:
            nuisance["mesh_error"] = jnp.zeros((maps + 1, self.error_basis.shape[1]), real)
        if self.discrepancy is not None:
            nuisance["discrepancy"] = jnp.zeros((maps, self.discrepancy.shape[1]), real)
        if self.voltage is not None:
            nuisance["voltage"] = jnp.zeros(2, real)
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

    def diffusivity(
        self, theta: Theta, cells: Int[Array, " some"] | None = None
    ) -> Float[Array, "some dim dim"]:
        """The diffusion tensor at theta in all cells or some, mm2/ms.

        Conductivity goes to the cells as a mean of logarithms.
        """

        def there(values):
            return self.space.to_cells(jnp.asarray(values), cells)

        along = jnp.exp(there(jnp.log(self.conductivity.diffusivity(theta))))
        fibres = self.fibres if cells is None else self.fibres[cells]
        stretch, shear = self.conductivity.anisotropy(theta)
        if shear is None or self.across is None:
            stretch = stretch if isinstance(stretch, float) else there(stretch)
            return diffusion_tensor(fibres, along, jnp.exp(2.0 * jnp.asarray(stretch, along.dtype)))
        across = self.across if cells is None else self.across[cells]
        return turned_tensor(fibres, across, along, there(stretch), there(shear))

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

    def error_numbers(
        self, theta: Theta, map_index: Int[Array, ""] | int | None
    ) -> Float[Array, " error_terms"]:
        """What stands before `error_basis` in map `map_index`, or should in one that was not measured."""
        shared = ERROR_SHARED**0.5 * theta["mesh_error"][-1]
        if map_index is None:
            return shared
        return shared + (1.0 - ERROR_SHARED) ** 0.5 * theta["mesh_error"][map_index]

    def wave(self, theta: Theta, what: int | Stimulus = 0) -> "Wave":
        """The simulated wave of a map, or of a stimulus that was not mapped; with the error of the mesh where
        the twin has that in its maps."""
        stimulus, beat = self._start(what)
        lat = activation(self, theta, stimulus, beat)
        if self.error_basis is None:
            return Wave(lat, None)
        tissue = self.tissue(theta, stimulus)
        error = numerical_error(tissue, self.times, np.asarray(lat), stepper=self.stepper, beat=beat)
        return Wave(lat, error)

    def waves(self, theta: Theta) -> tuple["Wave", ...]:
        """Those of all maps: what predictions and their uncertainty at one theta have in common."""
        from .search import of_each

        return tuple(of_each(lambda k: self.wave(theta, k), tuple(range(len(self.stimuli)))))

    def _start(self, what: int | Stimulus) -> tuple[Stimulus, int]:
        """What starts a wave, and which activation is meant."""
        return (what, 0) if isinstance(what, Stimulus) else (self.stimuli[what], self.beats[what])

    def predict(self, theta: Theta, map_index: int = 0, wave: "Wave | None" = None) -> Float[Array, " nodes"]:
        """What map `map_index` should show at the nodes, ms on its clock, NaN where no wave comes.

        The simulated times, with the share of the error of the mesh and the discrepancy that were found.
        """
        wave = wave or self.wave(theta, map_index)
        beside = self.offset_ms(theta)[map_index] + self.discrepancy_ms(theta, map_index)
        of_mesh = self._error_ms(theta, map_index, wave)
        return wave.activation - self.clocks[map_index].since(wave.activation) + beside + of_mesh

    def foretell(
        self, theta: Theta, stimulus: Stimulus, wave: "Wave | None" = None
    ) -> Float[Array, " nodes"]:
        """Activation times for a stimulus that was not mapped, ms on its clock, NaN where no wave comes.

        With the error of the mesh that all maps share: a fit to them makes up for the rest.
        """
        wave = wave or self.wave(theta, stimulus)
        return wave.activation + self._error_ms(theta, None, wave)

    def error_fields(self, wave: "Wave") -> Float[Array, "nodes error_terms"]:
        """What the mesh may have done to a wave: fields of times, ms."""
        assert self.error_basis is not None
        assert wave.error is not None
        error = jnp.asarray(wave.error.of_nodes, self.error_basis.dtype)
        return jnp.nan_to_num(error)[:, None] * self.error_basis

    def _error_ms(self, theta: Theta, map_index: int | None, wave: "Wave") -> Float[Array, " nodes"]:
        if self.error_basis is None:
            return jnp.zeros_like(wave.activation)
        return self.error_fields(wave) @ self.error_numbers(theta, map_index)

    def error_of_conductivity(
        self, theta: Theta, waves: tuple["Wave", ...] | None = None
    ) -> Float[np.ndarray, " nodes"]:
        """Standard deviation of log D that the edges of the mesh leave, at the nodes; 0 without mesh error.

        Speed goes with the root of D, so that it is twice the relative error of the time for which a wave has
        run, in the mean over the maps. What `error_basis` finds is not taken off: an error that all maps have
        alike cannot be told from tissue.
        """
        if self.error_basis is None:
            return np.zeros(self.space.nodes)
        shares = []
        for wave in waves or self.waves(theta):
            assert wave.error is not None
            lat = np.asarray(wave.activation, np.float64)
            # where no wave comes nothing is known, which the mean leaves out
            run = np.maximum(lat - np.min(lat, where=np.isfinite(lat), initial=np.inf), SHORT_MS)
            shares.append(2.0 * wave.error.of_nodes / run)
        reached = np.isfinite(shares)
        return np.where(reached, shares, 0.0).sum(axis=0) / np.maximum(reached.sum(axis=0), 1)

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
                k, Interpolation(place.nodes[p], place.weights[p], place.distance[p]),
                jnp.asarray(np.nan_to_num(data.lat_ms[p]), real), jnp.asarray(sigma[p], real),
                jnp.asarray(data.silent[p]), jnp.asarray(np.arange(longest) < len(r), real),
                self._log_mv(data.bipolar_mv[p], np.arange(longest) < len(r)),
            )
            for k, (r, p) in enumerate(zip(rows, padded, strict=True))
        )  # fmt: skip

    def _log_mv(self, bipolar_mv, counts) -> Float[Array, " points"] | None:
        if self.voltage is None:
            return None
        known = counts & (bipolar_mv > 0.0)
        log_mv = np.where(known, np.log(np.where(known, bipolar_mv, 1.0)), np.nan)
        return jnp.asarray(log_mv, self.space.mass.dtype)

    def _observation(self, k: int, place, lat, sigma, silent, weight, log_mv) -> Observation:
        basis = None if self.discrepancy is None else place(self.discrepancy.T).T
        terms = None if self.error_basis is None else self.error_basis.shape[1]
        nothing = None if terms is None else jnp.zeros((len(lat), terms), lat.dtype)
        return Observation(
            jnp.asarray(k), self.stimuli[k], self.beats[k], place, self.clocks[k], lat, sigma, silent,
            weight, basis, nothing, log_mv, jnp.zeros((), lat.dtype), jnp.zeros((), lat.dtype),
        )  # fmt: skip

    def fit(
        self,
        data: MappingData,
        *,
        theta: Theta | None = None,
        iterations: int = 20,
        tolerance: float = 0.01,
        sigma_ms: float = 2.0,
        optimiser: str = "trust_region",
        eikonal_rounds: int = EIKONAL_ROUNDS,
        checkpoint: str | Path | None = None,
        report: Callable[[int, Assessment], Any] = lambda iteration, assessment: None,
    ) -> Fit:
        """The most probable theta given the valid points of `data`, from `theta` or the prior's middle.

        First up to `eikonal_rounds` fits of eikonal waves, which take seconds, each corrected by what the
        simulation at its start has beside them; then `iterations` steps by exact gradients of the simulation.
        `optimiser`: "trust_region", with its `tolerance`, or "lbfgs"; see `jaxtwin.posterior`.
        `checkpoint`: an HDF5 file that takes the progress after each iteration, and from which the same fit
        of the same maps goes on to the same end if it was interrupted.

        Raises `InputError` for maps of a circling wave and for the checkpoint of another fit; warns where
        cell parameters cannot be told apart.
        """
        from .search import Search  # which knows the twin
        from .uncertainty import warn_of_unknown

        if self.ionic_sd:
            warn_of_unknown(self.combinations(data, theta, sigma_ms=sigma_ms))
        return Search(
            self, data, theta or self.mean(), iterations=iterations, tolerance=tolerance, sigma_ms=sigma_ms,
            optimiser=optimiser, rounds=eikonal_rounds, checkpoint=checkpoint, report=report,
        )()  # fmt: skip

    def posterior(
        self,
        data: MappingData,
        theta: Theta,
        *,
        rank: int = 20,
        sigma_ms: float = 2.0,
        waves: tuple["Wave", ...] | None = None,
    ) -> Laplace:
        """How sure the fitted theta is, given the same `data` and `sigma_ms` as its fit.

        It takes `rank` products with the curvature, each a forward-mode and a reverse-mode derivative of
        every beat; 0 leaves it at the curvature along rays. `waves`: those at theta, where they are at hand.
        """
        from .uncertainty import posterior

        return posterior(self, data, theta, rank, sigma_ms, waves or self.waves(theta))

    def predictive(
        self,
        posterior: Laplace,
        what: int | Stimulus = 0,
        *,
        draws: int = 200,
        seed: int = 0,
        wave: "Wave | None" = None,
    ) -> Float[np.ndarray, "draws nodes"]:
        """Draws of what a map should show at the nodes, ms on its clock, or of the activation for a stimulus
        that was not mapped; NaN where no wave comes. Their spread is what the posterior leaves open of the
        prediction, without the noise of a new measurement.

        To first order along the rays of the most probable `wave`: one simulation for all draws, or none where
        that is at hand. Of cell parameters they have the part in speed.
        """
        from .prediction import predictive

        return predictive(self, posterior, what, draws, seed, wave or self.wave(posterior.theta, what))

    def next_sites(
        self,
        posterior: Laplace,
        stimuli: tuple[Stimulus, ...],
        positions: Float[np.ndarray, "points dim"],
        *,
        count: int = 1,
        sigma_ms: float = 2.0,
    ) -> list[tuple[int, float]]:
        """Which of these stimuli to map next, at these positions: (index, expected gain in nats), best first.

        The expected information gain about conductivity, scar, fibres and cells, of the linearised twin with
        the noise it has found: the fall of the logarithm of the volume of the posterior (D-optimality,
        Chaloner, Verdinelli 1995, doi 10.1214/ss/1177009939), the offset and the discrepancy of the new map
        unknown. Each after the first is chosen as if those before it had been measured. Eikonal waves: no
        simulation. Raises `InputError` for more sites than candidates.
        """
        from .design import next_sites

        return next_sites(self, posterior, stimuli, positions, count, sigma_ms)

    def sample(
        self,
        data: MappingData,
        posterior: Laplace,
        *,
        draws: int = 500,
        warmup: int = 100,
        seed: int = 0,
        sigma_ms: float = 2.0,
        report: Callable[[int, float], Any] = lambda done, acceptance: None,
    ) -> Draws:
        """Draws of theta from the posterior itself, of which `posterior` is the Gaussian at the top: a check
        of that on small problems, given the same `data` and `sigma_ms` as its fit.

        By the no-U-turn sampler (Hoffman, Gelman 2014, doi 10.48550/arXiv.1111.4246), in coordinates in which
        `posterior` is standard normal. A draw takes some seven gradients of the simulation of all maps; the
        `warmup` trajectories before adapt their step. The error of the mesh is estimated once, at the top.
        `report` gets the number of trajectories done, warmup included, and the acceptance on the last.

        Raises `InputError` without blackjax (`pip install "jaxtwin[bayes]"`) or for fewer than 10 draws.
        """
        from .sampling import sample

        return sample(self, data, posterior, draws, warmup, seed, sigma_ms, report)

    def combinations(
        self, data: MappingData, theta: Theta | None = None, *, sigma_ms: float = 2.0
    ) -> list[Combination]:
        """Which combinations of log D and the cell parameters in `ionic_sd` the maps tell at all.

        From the Fisher information of changes that are the same everywhere, with the offset of each map free.
        """
        from .uncertainty import told

        return told(self, data, theta or self.mean(), sigma_ms)

    def cramer_rao(
        self, data: MappingData, theta: Theta | None = None, *, sigma_ms: float = 2.0
    ) -> dict[str, float]:
        """The least standard deviation of log D and of the logarithms of the parameters in `ionic_sd` that an
        unbiased estimate can have, all of them estimated together, with Gaussian noise and without a prior.

        For changes that are the same everywhere, with the offset of each map free, at `theta`. Infinite where
        the maps do not tell a parameter from the others.
        """
        from .uncertainty import cramer_rao

        return cramer_rao(self, data, theta or self.mean(), sigma_ms)


def error_basis(mesh: Mesh) -> Float[Array, "nodes error_terms"]:
    """Of the unknown factor with which a map has the estimated error of the mesh: a level and a smooth field.

    The estimate is a size. On a sheet with edges of 1 mm the true error was -0.4 to 1.0 times it, as the
    wave runs along or across the diagonals of the cells, and what such a factor leaves was half as large.
    """
    count = min(ERROR_MODES, len(mesh.points) // 3)
    smooth = matern_modes(
        mesh, correlation_length=0.5 * float(np.ptp(mesh.points, axis=0).max()), count=count
    )
    return field(smooth, ERROR_VARIATION, ERROR_LEVEL)


@eqx.filter_jit
def activation(twin: Twin, theta: Theta, stimulus: Stimulus, beat: int):
    """`Twin.activation`, compiled."""
    return twin.activation(theta, stimulus, beat)
