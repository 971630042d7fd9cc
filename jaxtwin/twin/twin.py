"""The forward model: a heart, its cell model and pacing sites, and a tissue map to be estimated from maps."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..anatomy import Mesh, across_fibres
from ..cells import AbstractIonicModel
from ..fem import Space
from ..monodomain import (
    AbstractAdjoint,
    AbstractRecorder,
    AbstractStepper,
    Checkpointed,
    Result,
    RungeKuttaChebyshev,
    Stimulus,
    Times,
    Tissue,
    Window,
    diffusion_tensor,
    simulate,
    spectral_bound,
    turned_tensor,
)
from ..signals import ActivationTimes, numerical_error
from .beat import Beat, beat
from .cores import at_once
from .discrepancy import Discrepancy
from .discretisation import MeshError
from .parameters import CellParameters, Theta, offset_ms
from .tissue_map import AbstractTissueMap
from .wave import Wave

LADDER = 1.5  # ratio of the spectral bounds for which steppers are made, so that few are compiled


class Solved(eqx.Module):
    """One simulated beat.

    - `activation`: (nodes,), ms on the clock of the simulation, which is that of the stimulus; NaN
      where not activated.
    - `records`: of the further recorders. `result`: how the solve ended, see `Solution.result`.
    """

    activation: Float[Array, " nodes"]
    records: tuple[Any, ...]
    result: Int[Array, ""]

    @property
    def diverged(self) -> Bool[Array, ""]:
        """Whether the solve diverged and its times are invalid."""
        return self.result == Result.DIVERGED

    @property
    def escaped(self) -> Bool[Array, ""]:
        """Whether a front left the travelling window and the times after that are invalid."""
        return self.result == Result.ESCAPED


class Twin(eqx.Module):
    """The forward model: theta -> tissue -> waves -> predicted maps.

    **Arguments:**

    - `mesh`: the heart, mm.
    - `cells`: the cell model at the prior mean. `cell_sd`: parameters of it to estimate, with the prior
      standard deviations of their logarithms.
    - `tissue_map`: theta -> diffusivity along the fibres (mm2/ms) and its anisotropy at the nodes.
    - `beats`: one for each map: a stimulus, whose last pulse starts the mapped wave, or a `Beat`.
    - `times`: the time grid of every beat, ms.
    - `discrepancy`: a smooth field of times that each map may have beside the model, so that model error is
      not absorbed into the diffusivity; None: no discrepancy.
    - `estimate_mesh_error`: whether the discretisation error of the mesh is estimated and its factor fitted.
    - `mass_scaling`, `consistent_mass`: see `Space`.
    - `stepper`, `adjoint`: how a solve is stepped and differentiated; where left out within 2 GB for the
      gradients of all beats that are computed at once.

    **Raises:** `InputError` for the name of a cell parameter that the model does not have.

    **Example:**

    ```python
    mesh = jt.sheet(20.0, 20.0, 0.5)
    tissue_map = jt.LogDiffusivity(jt.uniform(len(mesh.points)), reference=0.1, floor=0.02, ceiling=1.0)
    paced = jt.pulse(jt.in_sphere(mesh, (0.0, 0.0), 2.0), len(mesh.points))
    twin = jt.Twin(
        mesh, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, beats=(paced,), times=jt.Times(90.0)
    )
    lat_ms = twin.predict(twin.mean())
    ```
    """

    mesh: Mesh
    space: Space
    fibres: Float[Array, "cells dim"]
    across: Float[Array, "cells dim"] | None
    cells: CellParameters
    tissue_map: AbstractTissueMap
    beats: tuple[Beat, ...]
    times: Times
    stepper: AbstractStepper
    adjoint: AbstractAdjoint
    discrepancy: Discrepancy | None
    mesh_error: MeshError | None

    def __init__(
        self,
        mesh: Mesh,
        *,
        cells: AbstractIonicModel,
        tissue_map: AbstractTissueMap,
        beats: Sequence[Stimulus | Beat],
        times: Times,
        cell_sd: dict[str, float] | None = None,
        discrepancy: Discrepancy | None = None,
        estimate_mesh_error: bool = True,
        mass_scaling: float = 0.005,
        consistent_mass: float = 0.5,
        stepper: AbstractStepper | None = None,
        adjoint: AbstractAdjoint | None = None,
    ):
        self.mesh, self.tissue_map, self.times, self.discrepancy = mesh, tissue_map, times, discrepancy
        self.space = Space(mesh, mass_scaling=mass_scaling, consistent_mass=consistent_mass)
        real = self.space.mass.dtype
        self.fibres = jnp.asarray(mesh.fibres, real)
        shear = tissue_map.anisotropy(tissue_map.fields(tissue_map.mean()))[1]
        self.across = None if shear is None else jnp.asarray(across_fibres(mesh), real)
        self.cells = CellParameters(cells, cell_sd)
        self.beats = tuple(b if isinstance(b, Beat) else beat(mesh, b, real) for b in beats)
        self.mesh_error = MeshError(mesh, real) if estimate_mesh_error else None
        # the gradients of as many beats are computed at once, within one bound on memory
        whole = Checkpointed()
        self.adjoint = adjoint or Checkpointed(whole.memory / at_once(len(self.beats)))
        stepper = stepper or RungeKuttaChebyshev()
        if stepper.stages is None:
            # a fit may reach any diffusivity below the ceiling, with cells as fast as is likely: the step
            # must be stable there
            fastest = diffusion_tensor(self.fibres, tissue_map.ceiling)
            bound = spectral_bound(
                Tissue(self.space, self.cells.fastest(real), fastest, self.beats[0].stimulus)
            )
            stepper = stepper.with_stages(float(bound), times.dt)
        self.stepper = stepper

    def mean(self) -> Theta:
        """The prior mean of the parameters."""
        real, count = self.space.mass.dtype, len(self.beats)
        maps = {"offset": jnp.zeros(count, real)}
        if self.mesh_error is not None:
            maps["mesh_error"] = jnp.zeros((count + 1, self.mesh_error.basis.shape[1]), real)
        if self.discrepancy is not None:
            maps["discrepancy"] = jnp.zeros((count, self.discrepancy.basis.shape[1]), real)
        return {"tissue": self.tissue_map.mean(), "cells": self.cells.mean(real), "maps": maps}

    def diffusivity(
        self, theta: Theta, cells: Int[Array, " some"] | None = None
    ) -> Float[Array, "some dim dim"]:
        """The diffusion tensor at theta in all cells of the mesh or in some, mm2/ms."""
        corners = self.space.cells if cells is None else self.space.cells[cells]
        return self.tensor(self.tissue_map.fields(theta["tissue"]), corners, cells)

    def tensor(
        self,
        fields: dict[str, Float[Array, " places"]],
        corners: Int[Array, "some corners"],
        cells: Int[Array, " some"] | None = None,
    ) -> Float[Array, "some dim dim"]:
        """The diffusion tensor of cells from the fields of the tissue map, mm2/ms. `corners`: where among the
        fields the corners of each are. `cells`: all cells of the mesh if omitted.

        The value of a cell is the mean over its corners of the logarithm.
        """

        def at_cells(values):
            return values[corners].mean(axis=1)

        along = jnp.exp(at_cells(self.tissue_map.log_diffusivity(fields)))
        fibres = self.fibres if cells is None else self.fibres[cells]
        stretch, shear = self.tissue_map.anisotropy(fields)
        if shear is None or self.across is None:
            stretch = stretch if isinstance(stretch, float) else at_cells(stretch)
            return diffusion_tensor(fibres, along, jnp.exp(2.0 * jnp.asarray(stretch, along.dtype)))
        across = self.across if cells is None else self.across[cells]
        return turned_tensor(fibres, across, along, at_cells(stretch), at_cells(shear))

    def tissue(self, theta: Theta, stimulus: Stimulus) -> Tissue:
        """The tissue at theta, with a stimulus."""
        return Tissue(self.space, self.cells(theta["cells"]), self.diffusivity(theta), stimulus)

    def stepped_for(self, theta: Theta) -> "Twin":
        """This twin with no more stages in a step than the tissue at theta requires: a solve there is stable,
        and costs less than with the number for the ceiling of the diffusivity. Not inside traced functions.
        """
        bound = LADDER ** np.ceil(np.log(float(_spectral_bound(self, theta))) / np.log(LADDER))
        if not bound * self.times.dt < self.stepper.reach():
            return self
        return eqx.tree_at(lambda t: t.stepper, self, self.stepper.with_stages(float(bound), self.times.dt))

    def solve(
        self,
        theta: Theta,
        one: Beat,
        recorders: tuple[AbstractRecorder, ...] = (),
        window: Window | None = None,
    ) -> Solved:
        """Simulates one beat at theta, with further `recorders`, or within a travelling `window`."""
        return simulate_beat(self, self.tissue(theta, one.stimulus), one, recorders, window)

    def beat(self, what: int | Stimulus | Beat) -> Beat:
        """The beat of a map by its index, or of an unmapped stimulus."""
        if isinstance(what, Stimulus):
            return beat(self.mesh, what, self.space.mass.dtype)
        return what if isinstance(what, Beat) else self.beats[what]

    def wave(
        self, theta: Theta, what: int | Stimulus = 0, activation: Float[Array, " nodes"] | None = None
    ) -> Wave:
        """The simulated wave of a map or of an unmapped stimulus, and its discretisation error.

        `activation`: (nodes,), its activation times, ms, if already computed.
        """
        one = self.beat(what)
        activation = solve(self, theta, one) if activation is None else activation
        if self.mesh_error is None:
            return Wave(activation, None)
        tissue = self.tissue(theta, one.stimulus)
        error = numerical_error(
            tissue, self.times, np.asarray(activation), stepper=self.stepper, after=one.onset
        )
        return Wave(activation, error)

    def predict(
        self, theta: Theta, what: int | Stimulus = 0, wave: Wave | None = None
    ) -> Float[Array, " nodes"]:
        """Predicts activation times at the nodes, (nodes,), ms, NaN where not activated.

        For a map they are in its time reference and include its time offset and discrepancy; for an unmapped
        stimulus they are on the clock of the simulation, which is that of the stimulus. Both include the
        estimated discretisation error.

        **Arguments:** `theta`: parameters, such as `found.theta`. `what`: the index of a map, or an unmapped
        stimulus. `wave`: from `wave`, if already computed.
        """
        wave = self.wave(theta, what) if wave is None else wave
        of_map = None if isinstance(what, Stimulus) else what
        lat = wave.activation
        if of_map is not None:
            since = lat - self.beats[of_map].departure.latency(lat)
            lat = since + (offset_ms(theta)[of_map] + self.discrepancy_ms(theta, of_map))
        return lat if self.mesh_error is None else lat + self.mesh_error.of_times(theta, of_map, wave)

    def discrepancy_ms(self, theta: Theta, map_index: int = 0) -> Float[Array, " nodes"]:
        """Model-discrepancy field of map `map_index` at the nodes, ms."""
        if self.discrepancy is None:
            return jnp.zeros_like(self.space.mass)
        return self.discrepancy.basis @ theta["maps"]["discrepancy"][map_index]


@eqx.filter_jit
def _spectral_bound(twin: Twin, theta: Theta) -> Float[Array, ""]:
    return spectral_bound(twin.tissue(theta, twin.beats[0].stimulus))


@eqx.filter_jit
def solve(twin: Twin, theta: Theta, one: Beat) -> Float[Array, " nodes"]:
    """Activation times of `Twin.solve`, compiled."""
    return twin.solve(theta, one).activation


def simulate_beat(
    twin: Twin,
    tissue: Tissue,
    one: Beat,
    recorders: tuple[AbstractRecorder, ...] = (),
    window: Window | None = None,
) -> Solved:
    """Simulates one beat in a tissue with the time grid and stepper of a twin; see `Twin.solve`."""
    solution = simulate(
        tissue, twin.times, stepper=twin.stepper,
        recorders=(ActivationTimes(after=one.onset), *recorders), adjoint=twin.adjoint, window=window,
        throw=False,
    )  # fmt: skip
    activation, *records = solution.records
    return Solved(activation, tuple(records), solution.result)
