"""The case: everything a run needs to know, as tables of settings with units in their names."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..cells import OF_CASES, parameter_names


def rules(
    doc: str,
    *,
    choices: tuple[str, ...] = (),
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> dict[str, Any]:
    """What a key means, in one line for the commented file, and what values are allowed."""
    return {"doc": doc, "choices": choices, "above": above, "least": least, "most": most}


def setting(default: Any, doc: str, **allowed: Any) -> Any:
    """A key of a case: its default, its meaning, and what values are allowed, see `rules`."""
    return dataclasses.field(default=default, metadata=rules(doc, **allowed))


@dataclasses.dataclass(kw_only=True)
class MeshCase:
    """The heart: openCARP (.pts), VTK (.vtk .vtu .vtp) or Gmsh, STL, PLY, OBJ, Medit, XDMF, MED, Abaqus."""

    file: str = setting("", "path, relative to this file")
    unit: str = setting("auto", "unit of the points", choices=("auto", "um", "mm", "cm", "m"))
    repair: bool = setting(True, "merge duplicates, remove slivers and stray parts; all changes are reported")
    keep: str = setting(
        "connected",
        "of parts that do not touch: connected (a second part of 5 % or more is refused), largest, all",
        choices=("connected", "largest", "all"),
    )
    remesh_mm: float = setting(
        0.0, "edge length to which the mesh is remeshed, mm; 0 leaves its cells as they are", least=0.0
    )
    refine: int = setting(0, "times every edge is halved", least=0, most=8)
    mass_scaling: float = setting(
        0.005, "fraction of mass that may be added at the smallest cells", least=0.0, most=1.0
    )
    error_estimate: bool = setting(True, "estimate what the edges do to activation times, by one more solve")
    consistent_mass: float = setting(
        0.5, "share of the consistent mass matrix: 0 lumped, 0.5 least error of speed", least=0.0, most=0.5
    )


@dataclasses.dataclass(kw_only=True)
class CellsCase:
    """The membrane: a cell model, and any of its parameters under the name that the model gives it, times
    with `_ms`; the standard of the model where one is left out."""

    model: str = setting("mitchell_schaeffer", "cell model", choices=tuple(OF_CASES))
    parameters: dict[str, float] = dataclasses.field(
        default_factory=dict, metadata=rules("of the model, a key each")
    )


def parameter_keys(model: str) -> dict[str, str]:
    """The keys of a case for the parameters of a cell model, and their names in the model."""
    names = parameter_names(OF_CASES[model]())
    return {f"{name}_ms" if name.startswith("tau") else name: name for name in names}


@dataclasses.dataclass(kw_only=True)
class TissueCase:
    """Conduction. Give one of the first three; the other two follow."""

    speed_mm_per_ms: float | None = setting(
        None, "conduction velocity along fibres, closed form (= m/s)", above=0.0
    )
    conductivity_S_per_m: float | None = setting(None, "monodomain conductivity along fibres", above=0.0)
    diffusivity_mm2_per_ms: float | None = setting(None, "sigma/(chi C_m) along fibres", above=0.0)
    anisotropy_ratio: float = setting(4.0, "conductivity along over across fibres", least=1.0)


@dataclasses.dataclass(kw_only=True)
class PulseCase:
    """A pulse of current at one site, or a train of such pulses. The last pulse of a beat starts the wave
    that its map shows."""

    kind: str = setting("sphere", "how nodes are chosen", choices=("sphere", "region", "vtx", "map"))
    centre_mm: tuple[float, ...] = setting((), "for kind sphere")
    radius_mm: float = setting(2.0, "for kinds sphere and map", above=0.0)
    regions: tuple[int, ...] = setting((), "for kind region: tags")
    file: str = setting("", "for kind vtx: openCARP vertex file")
    earliest_fraction: float = setting(
        0.04, "for kind map: the earliest part of the map, at its own times", above=0.0, most=1.0
    )
    start_ms: float = setting(0.0, "onset, for all kinds but map", least=0.0)
    count: int = setting(1, "number of pulses of a train", least=1, most=1000)
    interval_ms: float | None = setting(None, "between the onsets of a train", above=0.0)
    duration_ms: float = setting(2.0, "length of a pulse", above=0.0)
    strength_per_ms: float = setting(0.5, "du/dt while it lasts", above=0.0)

    @property
    def last_ms(self) -> float:
        """Onset of the last pulse of the train."""
        return self.start_ms + (self.count - 1) * (self.interval_ms or 0.0)


@dataclasses.dataclass(kw_only=True)
class BeatCase:
    """One run from rest, with one pulse or more: S1 and S2 are two pulses of a beat. A fit has one beat for
    each map, in their order; a simulation runs all beats, each by itself."""

    pulses: list[PulseCase]

    @property
    def of_map(self) -> bool:
        """Whether its source is taken from the map."""
        return self.pulses[0].kind == "map"

    def in_order(self) -> list[PulseCase]:
        """The pulses, that with the last onset at the end."""
        return sorted(self.pulses, key=lambda pulse: pulse.last_ms)


@dataclasses.dataclass(kw_only=True)
class TimeCase:
    """The grid in time."""

    end_ms: float | None = setting(
        None,
        "end of each beat; left out: 500 after its last pulse, or for a fit what the maps need",
        above=0.0,
    )
    step_ms: float = setting(0.2, "time step; the upstroke lasts about 1 ms", above=0.0, most=0.5)
    frame_ms: float = setting(10.0, "interval of the stored voltages", above=0.0)


@dataclasses.dataclass(kw_only=True)
class MapCase:
    """What was measured: a study (jaxtwin import), a CSV (x_mm,y_mm,z_mm,lat_ms[,map_id,...]) or a VTK
    mesh."""

    file: str = setting("", "path, relative to this file")
    maps: tuple[str, ...] = setting((), "for studies: names of the maps, one beat each; all that have LATs")
    array: str = setting("LAT", "for meshes: name of the point array, ms")
    sigma_ms: float = setting(2.0, "noise where the file has none (its scale is estimated)", above=0.0)
    fit_points: int = setting(
        0, "number of points to fit, spread evenly; 0: all that are not held out", least=0
    )
    held_out_points: int = setting(0, "random points kept for validation", least=0)
    held_out_patch_fraction: float = setting(
        0.0, "share of the surface kept for validation as one patch", least=0.0, most=0.9
    )
    seed: int = setting(0, "of the random choice of points", least=0)


@dataclasses.dataclass(kw_only=True)
class FitCase:
    """What is estimated, and how long to try."""

    parameterisation: str = setting("field", "log conductivity as", choices=("field", "regions", "uniform"))
    correlation_length_mm: float = setting(15.0, "of the Matern field", above=0.0)
    modes: int = setting(300, "terms of the field", least=2)
    sd_log: float = setting(0.5, "prior standard deviation of log D around its level", above=0.0)
    infer_scales: bool = setting(
        True, "infer standard deviations and correlation lengths from the maps, around those given"
    )
    scar: bool = setting(False, "estimate a scar field, 0 to 1, beside the conductivity")
    voltage: bool = setting(False, "bipolar voltages of the map as evidence for scar, beside the times")
    healthy_mV: float = setting(2.0, "usual bipolar voltage of healthy tissue (atria: less)", above=0.0)
    scar_mV: float = setting(0.3, "usual bipolar voltage of scar", above=0.0)
    fibres: bool = setting(
        False, "estimate direction and anisotropy of conduction, as fields, from three maps or more"
    )
    discrepancy_ms: float = setting(
        0.0,
        "prior standard deviation of what each map has beside the model, a smooth field; 0: none",
        least=0.0,
    )
    discrepancy_length_mm: float = setting(20.0, "correlation length of that field", above=0.0)
    least_diffusivity_mm2_per_ms: float | None = setting(
        None, "floor; left out: where waves stop at the median edge of the mesh", above=0.0
    )
    largest_diffusivity_mm2_per_ms: float = setting(
        4.0, "ceiling; the stability of the step rests on it", above=0.0
    )
    optimiser: str = setting(
        "trust_region", "steps along the rays of the wave, or by L-BFGS", choices=("trust_region", "lbfgs")
    )
    iterations: int = setting(20, "steps by gradients, at most, after those of eikonal waves", least=1)
    tolerance: float = setting(
        0.005,
        "fall of the loss that is left when to stop, for each determined parameter (trust_region)",
        above=0.0,
    )
    uncertainty_directions: int = setting(
        20,
        "products with the exact curvature, at most, to correct that along rays; 0: not corrected",
        least=0,
    )
    next_sites: int = setting(0, "pacing sites to propose for the next maps, the best first", least=0)
    gradient_memory_GB: float = setting(4.0, "bound on the memory of all gradients at once", above=0.0)


@dataclasses.dataclass(kw_only=True)
class OutputCase:
    """Where the results go."""

    folder: str = setting("result", "relative to this file; replaced as a whole when a run ends well")
    precision: str = setting("float32", "of the solver", choices=("float32", "float64"))


@dataclasses.dataclass(kw_only=True)
class Case:
    """A whole case. `where` is the folder to which its paths are relative."""

    mesh: MeshCase
    cells: CellsCase
    tissue: TissueCase
    beats: list[BeatCase]
    time: TimeCase
    map: MapCase
    fit: FitCase
    output: OutputCase
    where: Path = Path()

    def pulses(self) -> Iterator[PulseCase]:
        """The pulses of all beats."""
        return (pulse for beat in self.beats for pulse in beat.pulses)

    def path(self, name: str) -> Path:
        """A path of the case."""
        return (self.where / os.path.expanduser(name)).resolve()

    def seen_from(self, folder: Path) -> "Case":
        """The same case with its paths relative to another folder: what a file kept there has to say."""

        def seen(name: str) -> str:
            return Path(os.path.relpath(self.path(name), folder)).as_posix() if name else name

        return dataclasses.replace(
            self, where=folder,
            mesh=dataclasses.replace(self.mesh, file=seen(self.mesh.file)),
            beats=[
                BeatCase(pulses=[dataclasses.replace(p, file=seen(p.file)) for p in beat.pulses])
                for beat in self.beats
            ],
            map=dataclasses.replace(self.map, file=seen(self.map.file)),
            output=dataclasses.replace(self.output, folder=seen(self.output.folder)),
        )  # fmt: skip


TABLES: dict[str, type] = {
    "mesh": MeshCase, "cells": CellsCase, "tissue": TissueCase, "beat.pulse": PulseCase, "time": TimeCase,
    "map": MapCase, "fit": FitCase, "output": OutputCase,
}  # fmt: skip
"""The tables of a case that have keys, by their headers."""
LISTED = "beat.pulse"  # of which there may be more than one


def example_case() -> Case:
    """The case that `jaxtwin init` writes: a beat on a small atrial shell made beside it."""
    return Case(
        mesh=MeshCase(file="heart.vtu"), cells=CellsCase(), tissue=TissueCase(speed_mm_per_ms=0.7),
        beats=[BeatCase(pulses=[PulseCase(centre_mm=(0.0, 0.0, 18.0), radius_mm=4.0)])], time=TimeCase(),
        map=MapCase(file="map.csv", held_out_points=50, fit_points=200),
        fit=FitCase(modes=100, iterations=15), output=OutputCase(),
    )  # fmt: skip
