"""The twin: a heart, its cells, the sites it is paced from, and the conductivity that maps tell about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._results import InputError
from ..anatomy import Mesh, across_fibres
from ..fem import Space
from ..ionic import AbstractIonicModel, parameter_names
from ..mapping import MappingData
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
from ..observe import ActivationTimes, numerical_error
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
)
from .cores import of_each
from .wave import MeshError, Wave

EIKONAL_ROUNDS = 5  # two more than those that begin with a soft border of scar
OFFSET_SD = 20.0  # ms, prior of the unknown constant between the clock of a map and the stimulus


class Twin(eqx.Module):
    """Everything between theta and simulated maps.

    - `mesh`, `ionic`: the heart and its cells. `conductivity`: theta -> D and its anisotropy at the nodes.
    - `stimuli`: one per map. `times`: the grid in time of every beat. `beats`: which activation of the
      simulation each map shows; 1 for the second, as after a premature stimulus.
    - `ionic_sd`: cell parameters to estimate, with the prior standard deviations of their logarithms.
    - `discrepancy`: (nodes, terms), a field of activation times that each map may have beside the model, with
      its standard deviation (ms) in it: what no conductivity explains is then not forced upon it.
    - `voltage`: how voltages hang on scar, where those of the maps are to count as evidence for it.
    - `mesh_error`: the estimated error of the mesh in the maps, times an unknown factor; or None.
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
    mesh_error: MeshError | None
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
        self.mesh_error = MeshError(mesh, real) if mesh_error else None
        self.beats = tuple(beats or (0,) * len(stimuli))
        each = zip(stimuli, self.beats, strict=True)
        self.clocks = tuple(clock(mesh, stimulus, beat, real) for stimulus, beat in each)
        self.ionic_sd = tuple((ionic_sd or {}).items())
        for name, _ in self.ionic_sd:
            if name not in (names := parameter_names(ionic)):
                raise InputError(
                    f"'{name}' as a parameter to estimate",
                    f"one of {type(ionic).__name__}: {', '.join(names)}",
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
        if self.mesh_error is not None:
            nuisance["mesh_error"] = jnp.zeros((maps + 1, self.mesh_error.basis.shape[1]), real)
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
            stepper=self.stepper, recorders=(ActivationTimes(after=stimulus.onset[beat]),),
            adjoint=self.adjoint, throw=False,
        )  # fmt: skip
        return solution.records[0]

    def offset_ms(self, theta: Theta) -> Float[Array, " maps"]:
        """What the clock of each map is ahead of that of its stimulus, had the wave left at once, ms."""
        return OFFSET_SD * theta["offset"]

    def discrepancy_ms(self, theta: Theta, map_index: int = 0) -> Float[Array, " nodes"]:
        """What map `map_index` has beside the model, ms at the nodes."""
        if self.discrepancy is None:
            return jnp.zeros_like(self.space.mass)
        return self.discrepancy @ theta["discrepancy"][map_index]

    def start(self, what: int | Stimulus) -> tuple[Stimulus, int]:
        """What starts the wave of a map, or of a stimulus not mapped, and which activation is meant."""
        return (what, 0) if isinstance(what, Stimulus) else (self.stimuli[what], self.beats[what])

    def wave(self, theta: Theta, what: int | Stimulus = 0, lat: Float[Array, " nodes"] | None = None) -> Wave:
        """The simulated wave of a map, or of a stimulus that was not mapped. `lat`: its activation, where at
        hand."""
        stimulus, beat = self.start(what)
        lat = activation(self, theta, stimulus, beat) if lat is None else lat
        if self.mesh_error is None:
            return Wave(lat, None)
        tissue = self.tissue(theta, stimulus)
        error = numerical_error(
            tissue, self.times, np.asarray(lat), stepper=self.stepper, after=stimulus.onset[beat]
        )
        return Wave(lat, error)

    def waves(self, theta: Theta, arrival: tuple[Float[Array, " nodes"], ...] = ()) -> tuple[Wave, ...]:
        """Those of all maps: what predictions and their uncertainty at one theta have in common. `arrival`:
        their activations, where these are at hand."""
        each = [(k, arrival[k] if arrival else None) for k in range(len(self.stimuli))]
        return tuple(of_each(lambda one: self.wave(theta, *one), each))

    def predict(self, theta: Theta, map_index: int = 0, wave: Wave | None = None) -> Float[Array, " nodes"]:
        """What map `map_index` should show at the nodes, ms on its clock, NaN where no wave comes.

        The simulated times, with the share of the error of the mesh and the discrepancy that were found.
        `wave`: that of the map, where it is at hand.
        """
        wave = wave or self.wave(theta, map_index)
        since = wave.activation - self.clocks[map_index].since(wave.activation)
        since = since + (self.offset_ms(theta)[map_index] + self.discrepancy_ms(theta, map_index))
        return since if self.mesh_error is None else since + self.mesh_error.of_times(theta, map_index, wave)

    def foretell(self, theta: Theta, stimulus: Stimulus, wave: Wave | None = None) -> Float[Array, " nodes"]:
        """Activation times for a stimulus that was not mapped, ms on its clock, NaN where no wave comes.

        With the error of the mesh that all maps share: a fit to them makes up for the rest.
        """
        wave = wave or self.wave(theta, stimulus)
        lat = wave.activation
        return lat if self.mesh_error is None else lat + self.mesh_error.of_times(theta, None, wave)

    def error_of_conductivity(
        self, theta: Theta, waves: tuple[Wave, ...] | None = None
    ) -> Float[np.ndarray, " nodes"]:
        """Standard deviation of log D that the edges of the mesh leave at the nodes, see
        `MeshError.of_conductivity`; 0 without mesh error."""
        if self.mesh_error is None:
            return np.zeros(self.space.nodes)
        return self.mesh_error.of_conductivity(waves or self.waves(theta))

    def observations(self, data: MappingData, sigma_ms: float = 2.0) -> tuple[Observation, ...]:
        """One `Observation` per map, all of the same length so that one compiled program serves all.

        `sigma_ms` stands in where a point has no standard deviation of its own. Raises `InputError` for
        another number of maps than of stimuli, and for maps that last longer than the simulation.
        """
        from .observed import observations  # which knows the twin

        return observations(self, data, sigma_ms)

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
        """The theta of the highest posterior density per unit of information volume given the valid points of
        `data` (see `jaxtwin.twin.volume`), from `theta` or the prior's middle.

        First up to `eikonal_rounds` fits of eikonal waves, which take seconds, each corrected by what the
        simulation at its start has beside them; then `iterations` steps by exact gradients of the simulation.
        `optimiser`: "trust_region", with its `tolerance`, or "lbfgs"; see `jaxtwin.posterior`.
        `checkpoint`: an HDF5 file that takes the progress after each iteration, and from which the same fit
        of the same maps goes on to the same end if it was interrupted.

        Raises `InputError` for maps of a circling wave and for the checkpoint of another fit; warns where
        cell parameters cannot be told apart.
        """
        from .search import Search
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
        waves: tuple[Wave, ...] | None = None,
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
        wave: Wave | None = None,
    ) -> Float[np.ndarray, "draws nodes"]:
        """Draws of what a map should show at the nodes, ms on its clock, or of the activation for a stimulus
        that was not mapped; NaN where no wave comes. Their spread is what the posterior leaves open of the
        prediction, without the noise of a new measurement.

        To first order along the rays of the fitted `wave`: one simulation for all draws, or none where
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


@eqx.filter_jit
def activation(twin: Twin, theta: Theta, stimulus: Stimulus, beat: int):
    """`Twin.activation`, compiled."""
    return twin.activation(theta, stimulus, beat)
