"""From a case to the objects of the package."""

import dataclasses
from functools import cached_property
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from .._results import InputError
from .._units import diffusivity_from_conductivity
from ..anatomy import Heart, read_heart
from ..assurance import HoldOut, hold_out, site_problems, source_problems
from ..cells import OF_CASES, AbstractIonicModel, parameter_names
from ..fem import Interpolation, Space
from ..inference import AbstractEvidence, Voltage
from ..mapping import MappingData, project
from ..monodomain import Checkpointed, Stimulus, Times, Tissue, diffusion_tensor
from ..monodomain.protocol import APART
from ..signals import critical_coupling, diffusivity_for, wave_speed
from ..twin import Discrepancy, LogDiffusivity, Twin, at_once, discrepancy, tissue_prior
from .beats import source, stimulus
from .measured import measured
from .tables import Case

BEFORE_MS = 5.0  # of a run, before the first LAT of a map that starts its own wave
AFTER_MS = 25.0  # of a fit, after the last LAT
REPOLARISED_MS = 500.0  # of a simulation, after its last pulse
BLOCK = 100  # steps, of which a fit has a multiple, for its checkpoints
MARGIN = 4.0  # of the floor of D over the least that conducts
MOST_FLOOR = 0.25  # of the prior mean, on meshes so coarse that waves hardly travel
ENOUGH_MAPS = 3  # for the three parameters of a tensor


def prepare(case: Case, *, heart: Heart | None = None) -> "Prepared":
    """What a case describes: the heart, its cells, the data, and the twin to fit.

    Each part is made when it is first asked for, and only what it needs: `prepare(case).heart` reads no map.
    `heart`: to be used instead of that of the case. Arrays have the precision that JAX is set to; the key
    `[output] precision` is for the command line.

    **Example:**

    ```python
    case = jt.load_case("case")
    ready = jt.prepare(case)
    found = jt.fit(ready.twin, ready.train, evidence=ready.evidence, iterations=1)
    posterior = jt.posterior(found, rank=0)
    ```
    """
    return Prepared(case, heart)


class Prepared:
    """The parts of a case, each made when it is first asked for; see `prepare`.

    Asking for a part raises `InputError` where the case does not have it, or where its files do not fit.
    """

    def __init__(self, case: Case, heart: Heart | None = None):
        self.case = case
        if heart is not None:
            self.heart = heart

    @cached_property
    def heart(self) -> Heart:
        """The heart, with the node sets of the pulses by the names of their files."""
        table, ratio = self.case.mesh, self.case.tissue.anisotropy_ratio
        sets = {one.file: self.case.path(one.file) for one in self.case.pulses() if one.kind == "vtx"}
        found = read_heart(
            self.case.path(table.file), unit=table.unit, repair=table.repair, keep=table.keep,
            remesh_mm=table.remesh_mm, refine=table.refine,
            vertices={name: path for name, path in sets.items() if name},
        )  # fmt: skip
        curved = (np.ptp(found.mesh.points, axis=0) > 0).all() and found.mesh.dim == 3
        if ratio > 1 and curved and any("placeholder" in note for note in found.notes):
            warning = (
                f"There are no fibres, and anisotropy_ratio = {ratio:g} makes conduction faster along x "
                "without any anatomical reason: set it to 1, or bring fibres."
            )
            found = dataclasses.replace(found, warnings=(*found.warnings, warning))
        return found

    @cached_property
    def cells(self) -> AbstractIonicModel:
        """The cell model."""
        return OF_CASES[self.case.cells.model](**self.case.cells.parameters)

    @cached_property
    def diffusivity(self) -> float:
        """D along the fibres, mm2/ms, from whichever of the three keys is given."""
        t = self.case.tissue
        if not float(wave_speed(self.cells, 1.0)) > 0:
            told = ", ".join(f"{name} = {value:g}" for name, value in _parameters(self.cells).items())
            raise InputError(
                f"cells that do not conduct ({told})",
                "a membrane along which a wave travels",
                "Correct the parameters in [cells]",
            )
        if t.diffusivity_mm2_per_ms is not None:
            return t.diffusivity_mm2_per_ms
        if t.conductivity_S_per_m is not None:
            return diffusivity_from_conductivity(t.conductivity_S_per_m)
        assert t.speed_mm_per_ms is not None  # a case has exactly one of the three
        return float(diffusivity_for(self.cells, t.speed_mm_per_ms))

    @cached_property
    def speed(self) -> float:
        """The speed of a plane wave along the fibres, mm/ms."""
        return float(wave_speed(self.cells, self.diffusivity))

    @cached_property
    def _measured(self) -> tuple[MappingData, list[Path]]:
        return measured(self.case, self.heart)

    @cached_property
    def _placed(self) -> tuple[MappingData, Interpolation]:
        return project(self.heart.mesh, self._measured[0])

    @property
    def data(self) -> MappingData:
        """The measured maps; points far from the mesh are not valid."""
        return self._placed[0]

    @property
    def place(self) -> Interpolation:
        """From the nodes to the points of `data`."""
        return self._placed[1]

    @cached_property
    def held_out(self) -> HoldOut:
        """Which points of `data` a fit sees, and which are held out."""
        table = self.case.map
        return hold_out(
            self.heart.mesh, self.data, fit=table.fit_points or None, held_out=table.held_out_points,
            patch_fraction=table.held_out_patch_fraction, seed=table.seed,
        )  # fmt: skip

    @cached_property
    def train(self) -> MappingData:
        """The points to fit."""
        return self.data.subset(self.held_out.fit).with_sigma(self.case.map.sigma_ms)

    @cached_property
    def beats(self) -> tuple[Stimulus, ...]:
        """The stimulus of each beat, its pulses sorted so that the one with the latest onset is last. Sources
        from a map come from the points to fit."""
        return tuple(
            source(beat, self.heart, self.train, k, self.speed)
            if beat.of_map
            else stimulus(self.case, beat, self.heart)
            for k, beat in enumerate(self.case.beats)
        )

    @cached_property
    def space(self) -> Space:
        """The discretised mesh."""
        table = self.case.mesh
        return Space(self.heart.mesh, mass_scaling=table.mass_scaling, consistent_mass=table.consistent_mass)

    @cached_property
    def times(self) -> Times:
        """The grid in time of a simulation, for all beats: from rest (5 ms before the first LAT for a source
        from a map) to 500 ms after the last onset, or `[time] end_ms`."""
        of_map = [beat.of_map for beat in self.case.beats]
        start = min(self._first_ms() if each else 0.0 for each in of_map)
        last = max(float(np.max(beat.onset)) for beat in self.beats)
        stop = last + REPOLARISED_MS if self.case.time.end_ms is None else self.case.time.end_ms
        if any(of_map) and stop < (latest := float(self.train.lat_ms[self.train.valid].max())):
            raise InputError(
                f"a source from a map with activations until {latest:.4g} ms and [time] end_ms = {stop:g}",
                "a run that covers the map",
                f"Raise end_ms to {latest + AFTER_MS:.0f} or more, or leave it out",
            )
        return Times(stop, self.case.time.step_ms, start)

    def tissue(self, beat: int = 0) -> Tissue:
        """The tissue of a simulation, with the pulses of a beat and the uniform D of the case."""
        along = jnp.asarray(self.diffusivity, self.space.mass.dtype)
        tensor = diffusion_tensor(self.heart.mesh.fibres, along, self.case.tissue.anisotropy_ratio)
        return Tissue(self.space, self.cells, tensor, self.beats[beat])

    @cached_property
    def tissue_map(self) -> LogDiffusivity:
        """What is estimated, with its prior."""
        f, mesh = self.case.fit, self.heart.mesh
        if f.fibres and (self.data.maps < ENOUGH_MAPS or mesh.corners != 3):
            raise InputError(
                f"[fit] fibres with {self.data.maps} maps of a mesh of {mesh.corners} corners a cell",
                f"{ENOUGH_MAPS} maps or more of a surface of triangles: fewer do not tell direction from "
                "speed",
                "Add maps of other pacing sites, or give the fibres with the mesh",
            )
        return tissue_prior(
            mesh, reference=self.diffusivity, floor=self._floor,
            ceiling=f.largest_diffusivity_mm2_per_ms, kind=f.parameterisation, sd_log=f.sd_log,
            correlation_length=f.correlation_length_mm, modes=f.modes, scar=f.scar, fibres=f.fibres,
            ratio=self.case.tissue.anisotropy_ratio, infer_scales=f.infer_scales,
        )  # fmt: skip

    @cached_property
    def _floor(self) -> float:
        """Of D along fibres, mm2/ms: where waves stop across them at the median edge."""
        given, mesh = self.case.fit.least_diffusivity_mm2_per_ms, self.heart.mesh
        if given is not None:
            return given
        ends, ratio = mesh.points[mesh.edges], self.case.tissue.anisotropy_ratio
        edge = float(np.median(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)))
        # isotropic tissue gets a margin for edges that are longer
        stops = max(ratio, MARGIN) * critical_coupling(self.cells) * edge**2
        return min(stops, MOST_FLOOR * self.diffusivity)

    @cached_property
    def discrepancy(self) -> Discrepancy | None:
        """The model discrepancy of each map; None without."""
        f = self.case.fit
        if not f.discrepancy_ms:
            return None
        return discrepancy(
            self.heart.mesh, sd_ms=f.discrepancy_ms, correlation_length=f.discrepancy_length_mm,
            modes=f.modes, infer_scales=f.infer_scales,
        )  # fmt: skip

    @cached_property
    def evidence(self) -> tuple[AbstractEvidence, ...]:
        """What is observed in addition to LATs."""
        f = self.case.fit
        voltages = int((self.train.bipolar_mv > 0.0).sum())
        if f.voltage and not (f.scar and voltages):
            raise InputError(
                f"[fit] voltage = true with scar = {str(f.scar).lower()} and {voltages} bipolar voltages in "
                "the map", "scar = true and a map with voltages (column bipolar_mv)", "Correct one of them",
            )  # fmt: skip
        return (Voltage(f.healthy_mV, f.scar_mV),) if f.voltage else ()

    @cached_property
    def twin(self) -> Twin:
        """The twin to fit to `train`, with one beat for each map."""
        self._refuse_beats()
        f, mesh = self.case.fit, self.case.mesh
        return Twin(
            self.heart.mesh, cells=self.cells, tissue_map=self.tissue_map, beats=self.beats,
            times=self._times_of_maps(), discrepancy=self.discrepancy,
            estimate_mesh_error=mesh.error_estimate, mass_scaling=mesh.mass_scaling,
            consistent_mass=mesh.consistent_mass,
            adjoint=Checkpointed(f.gradient_memory_GB * 1e9 / at_once(len(self.beats))),
        )  # fmt: skip

    def _refuse_beats(self) -> None:
        """Raises `InputError` for beats that belong to no map."""
        beats = self.case.beats
        if any(beat.of_map != beats[0].of_map for beat in beats):
            raise InputError(
                "beats of kind map beside others in one fit",
                "all from their maps, in the time references of the maps, or none",
                "Give a site for each map, or take all sources from the maps",
            )
        if len(beats) != self.data.maps:
            raise InputError(
                f"{len(beats)} [[beat]] and {self.data.maps} maps ({', '.join(self.data.names)})",
                "one [[beat]] for each map, in their order",
                "Write [[beat]] above the [[beat.pulse]] of each map: pulses below one [[beat]] act in one "
                "run",
            )
        for k, one in enumerate(self.beats):
            onsets = np.sort(np.asarray(one.onset, np.float64))
            if len(onsets) > 1 and onsets[-1] - onsets[-2] < APART:
                raise InputError(
                    f"a map of a beat whose last two pulses start {onsets[-1] - onsets[-2]:g} ms apart "
                    f"(beat {k + 1})", f"a last pulse {APART:g} ms or more after the others: its wave is "
                    "what the map shows", "Give each map a [[beat]] of its own, or lengthen the interval",
                )  # fmt: skip

    def _first_ms(self) -> float:
        """Where a run starts whose source is taken from a map."""
        return float(np.floor(self.train.lat_ms[self.train.valid].min())) - BEFORE_MS

    def _times_of_maps(self) -> Times:
        """The grid in time that covers every beat as long as its map lasts, in any time reference of it."""
        data, table = self.train, self.case.time
        seen, used = np.where(data.silent, data.until_ms, data.lat_ms), data.valid | data.silent
        lasting = []
        for k, beat in enumerate(self.beats):
            own = data.map_index == k
            if (own & data.valid).any():
                duration = seen[own & used].max() - data.lat_ms[own & data.valid].min()
                lasting.append(float(np.max(beat.onset) + duration))
        needed = max(lasting)
        stop = needed + AFTER_MS if table.end_ms is None else table.end_ms
        if stop < needed:
            raise InputError(
                f"[time] end_ms = {stop:g} and maps that last until {needed:.4g} ms, from the last pulse on",
                "a run that covers the maps",
                f"Raise end_ms to {needed + AFTER_MS:.0f} or more, or leave it out",
            )
        start = self._first_ms() if self.case.beats[0].of_map else 0.0
        block = BLOCK * table.step_ms
        return Times(start + float(np.ceil((stop - start) / block - 1e-9)) * block, table.step_ms, start)

    def problems(self) -> list[str]:
        """Sentences on beats that the maps contradict: swapped sites, LATs of reversed sign, several sources
        in one map, LATs too early to be believed."""
        of_map = [k for k, beat in enumerate(self.case.beats) if beat.of_map]
        sites = {k: beat for k, beat in enumerate(self.beats) if k not in of_map}
        return [
            each
            for k in of_map
            for each in source_problems(
                self.heart.mesh, self.data, k, fraction=self.case.beats[k].pulses[0].earliest_fraction
            )
        ] + site_problems(self.heart.mesh, self.data, sites)

    @property
    def notes(self) -> list[str]:
        """What was recognised, converted, changed or dropped in the file of the heart."""
        return list(self.heart.notes)

    @property
    def warnings(self) -> list[str]:
        """What is probably wrong, or should be known, of the parts that were made so far."""
        made = vars(self)
        space = self.twin.space if "twin" in made else made.get("space")
        found = [*self.heart.warnings, *(self.data.notes if "_placed" in made else ())]
        if space is not None and space.added_mass > 0:
            found.append(
                f"Mass scaling ([mesh] mass_scaling = {self.case.mesh.mass_scaling:g}) added "
                f"{100 * space.added_mass:.2g} % of mass at the smallest cells."
            )
        return found

    @property
    def sources(self) -> list[Path]:
        """The files that were read so far."""
        vertices = [self.case.path(one.file) for one in self.case.pulses() if one.kind == "vtx"]
        maps = self._measured[1] if "_measured" in vars(self) else []
        return [*self.heart.sources, *maps, *vertices]

    def resolved(self, times: Times) -> Case:
        """The case with the cell parameters filled in, and `times.stop` as its end."""
        return dataclasses.replace(
            self.case,
            cells=dataclasses.replace(self.case.cells, parameters=_parameters(self.cells)),
            time=dataclasses.replace(self.case.time, end_ms=times.stop),
        )  # fmt: skip


def _parameters(cells: AbstractIonicModel) -> dict[str, float]:
    return {name: float(getattr(cells, name)) for name in parameter_names(cells)}
