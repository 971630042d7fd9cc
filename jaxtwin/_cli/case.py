"""The case: everything a run needs to know, in one TOML file with units in the names of its keys."""

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from pathlib import Path
from typing import Any

import numpy as np

from .._files import read_bytes
from .._results import InputError


def setting(
    default: Any,
    doc: str,
    *,
    choices: tuple[str, ...] = (),
    above: float | None = None,
    least: float | None = None,
):
    """A field of a case: default, one line for the commented file, and what values are allowed."""
    more = {"doc": doc, "choices": choices, "above": above, "least": least}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=more)
    return dataclasses.field(default=default, metadata=more)


@dataclasses.dataclass(kw_only=True)
class MeshCase:
    """The heart: openCARP (.pts), VTK (.vtk .vtu .vtp) or any format meshio reads."""

    file: str = setting("", "path, relative to this file")
    unit: str = setting("auto", "unit of the points", choices=("auto", "um", "mm", "cm", "m"))
    repair: bool = setting(True, "merge duplicates, remove slivers and stray parts; all changes are reported")
    refine: int = setting(0, "times every edge is halved", least=0)
    mass_scaling: float = setting(
        0.005, "fraction of mass that may be added at the smallest cells", least=0.0
    )


@dataclasses.dataclass(kw_only=True)
class CellsCase:
    """The membrane."""

    model: str = setting(
        "mitchell_schaeffer", "cell model", choices=("mitchell_schaeffer", "modified_mitchell_schaeffer")
    )
    tau_in_ms: float | None = setting(None, "depolarisation; the model's standard where left out", above=0.0)
    tau_out_ms: float | None = setting(None, "repolarisation", above=0.0)
    tau_open_ms: float | None = setting(None, "recovery", above=0.0)
    tau_close_ms: float | None = setting(None, "duration of the plateau", above=0.0)
    u_gate: float | None = setting(None, "gate threshold, 0 to 1", above=0.0)


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
class StimulusCase:
    """Where the wave starts; one table per map, in their order."""

    kind: str = setting("sphere", "how nodes are chosen", choices=("sphere", "region", "vtx", "map"))
    centre_mm: list[float] = setting([], "for kind sphere")
    radius_mm: float = setting(2.0, "for kinds sphere and map", above=0.0)
    regions: list[int] = setting([], "for kind region: tags")
    file: str = setting("", "for kind vtx: openCARP vertex file")
    earliest_fraction: float = setting(
        0.04, "for kind map: the earliest part of the map, at its own times", above=0.0
    )
    start_ms: float = setting(0.0, "for all kinds but map")
    duration_ms: float = setting(2.0, "length of the pulse", above=0.0)
    strength_per_ms: float = setting(0.5, "du/dt while it lasts", above=0.0)


@dataclasses.dataclass(kw_only=True)
class TimeCase:
    """The grid in time."""

    end_ms: float | None = setting(None, "end of a beat; for a fit it follows from the map", above=0.0)
    step_ms: float = setting(0.05, "time step", above=0.0)
    frame_ms: float = setting(10.0, "interval of the stored voltages", above=0.0)


@dataclasses.dataclass(kw_only=True)
class MapCase:
    """What was measured: a CSV (x_mm,y_mm,z_mm,lat_ms[,map_id,...]) or a point array of a VTK mesh."""

    file: str = setting("", "path, relative to this file")
    array: str = setting("LAT", "for meshes: name of the point array, ms")
    sigma_ms: float = setting(2.0, "noise where the file has none (its scale is estimated)", above=0.0)
    fit_points: int = setting(0, "number of points to fit; 0: all that are not held out", least=0)
    held_out_points: int = setting(0, "random points kept for validation", least=0)
    held_out_patch_fraction: float = setting(
        0.0, "share of the surface kept for validation as one patch", least=0.0
    )
    seed: int = setting(0, "of the random choice of points", least=0)


@dataclasses.dataclass(kw_only=True)
class FitCase:
    """What is estimated, and how long to try."""

    parameterisation: str = setting("field", "log conductivity as", choices=("field", "regions", "uniform"))
    correlation_length_mm: float = setting(15.0, "of the Matern field", above=0.0)
    modes: int = setting(300, "terms of the field", least=2)
    sd_log: float = setting(1.0, "prior standard deviation of log D around its level", above=0.0)
    scar: bool = setting(False, "estimate a scar field, 0 to 1, beside the conductivity")
    least_diffusivity_mm2_per_ms: float = setting(0.02, "floor, above numerical block", above=0.0)
    largest_diffusivity_mm2_per_ms: float = setting(
        4.0, "ceiling; the stability of the step rests on it", above=0.0
    )
    iterations: int = setting(100, "of L-BFGS, at most", least=1)
    tolerance: float = setting(
        1e-3, "relative fall of the loss over five iterations at which to stop", above=0.0
    )
    gradient_memory_GB: float = setting(4.0, "bound on the memory of one gradient", above=0.0)


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
    stimulus: list[StimulusCase]
    time: TimeCase
    map: MapCase
    fit: FitCase
    output: OutputCase
    where: Path = Path()

    def path(self, name: str) -> Path:
        """A path of the case."""
        return (self.where / Path(name).expanduser()).resolve()


TABLES: dict[str, type] = {
    "mesh": MeshCase, "cells": CellsCase, "tissue": TissueCase, "stimulus": StimulusCase, "time": TimeCase,
    "map": MapCase, "fit": FitCase, "output": OutputCase,
}  # fmt: skip


def load_case(path: str | Path) -> Case:
    """Reads and checks a case. Raises `InputError` for anything unknown, misspelt or out of range."""
    path = Path(path)
    if path.is_dir():
        path = path / "case.toml"
    try:
        tables = tomllib.loads(read_bytes(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}, which is not TOML ({error})", "a TOML file", "Start from `jaxtwin init`"
        ) from None
    for name in tables:
        _known(name, TABLES, f"table [{name}] in {path.name}", "tables")
    stimuli = tables.pop("stimulus", [])
    if isinstance(stimuli, dict):
        stimuli = [stimuli]
    if not stimuli:
        raise InputError(
            f"{path.name} without a stimulus", "at least one [[stimulus]]", "Add one; see `jaxtwin init`"
        )
    made = {
        name: _table(name, kind, tables.get(name, {})) for name, kind in TABLES.items() if name != "stimulus"
    }
    case = Case(
        **made, stimulus=[_table("stimulus", StimulusCase, s) for s in stimuli], where=path.resolve().parent
    )
    if not case.mesh.file:
        raise InputError("a case without a mesh", '[mesh] file = "..."', "Name the file of the heart")
    given = [
        n for n in ("speed_mm_per_ms", "conductivity_S_per_m", "diffusivity_mm2_per_ms")
        if getattr(case.tissue, n) is not None
    ]  # fmt: skip
    if len(given) != 1:
        raise InputError(
            f"{' and '.join(given) or 'no conduction'} in [tissue]",
            "exactly one of speed_mm_per_ms, conductivity_S_per_m, diffusivity_mm2_per_ms",
            "Keep the one you know",
        )
    return case


def _known(name: str, names, what: str, kinds: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, 1, 0.5)
        hint = f"Did you mean {near[0]}?" if near else "Remove it"
        raise InputError(f"the unknown {what}", f"one of the {kinds} {', '.join(names)}", hint)


def _table(table: str, kind: type, given: Any) -> Any:
    if not isinstance(given, dict):
        raise InputError(
            f"{table} = {given!r}", f"a table [{table}]", "Write its keys below the line in brackets"
        )
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key, value in given.items():
        _known(key, fields, f"key {key} in [{table}]", "keys")
        given[key] = _value(f"{table}.{key}", value, hints[key], fields[key].metadata)
    return kind(**given)


def _value(name: str, value: Any, hint: Any, rules) -> Any:
    if isinstance(hint, types.UnionType):
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    item = typing.get_args(hint)[0] if typing.get_origin(hint) is list else None
    values = value if item is not None and isinstance(value, list) else [value]
    scalar = item or hint
    right = isinstance(value, list) == (item is not None) and all(
        isinstance(v, (int, float) if scalar is float else scalar)
        and (scalar is bool or not isinstance(v, bool))
        for v in values
    )
    if not right:
        word = {float: "a number", int: "a whole number", str: "a text in quotes", bool: "true or false"}[
            scalar
        ]
        raise InputError(
            f"{name} = {value!r}", word if item is None else f"a list, each {word}", "Correct the case"
        )
    for v in values:
        if isinstance(v, (int, float)) and not np.isfinite(v):
            raise InputError(f"{name} = {v}", "a finite number", "Correct the case")
        if rules["above"] is not None and not v > rules["above"]:
            raise InputError(f"{name} = {v}", f"a number above {rules['above']:g}", "Correct the case")
        if rules["least"] is not None and not v >= rules["least"]:
            raise InputError(f"{name} = {v}", f"{rules['least']:g} or more", "Correct the case")
    if rules["choices"]:
        _known(value, rules["choices"], f"choice {name} = {value!r}", "choices")
    return float(value) if scalar is float and item is None else value


def write_case(case: Case, comments: bool = False) -> str:
    """The case as TOML; keys without a value are left out, or commented out with `comments`."""
    lines: list[str] = []
    for name, kind in TABLES.items():
        entries = getattr(case, name)
        for entry in entries if isinstance(entries, list) else [entries]:
            if comments:
                lines.append(f"# {' '.join((kind.__doc__ or '').split())}")
            lines.append(f"[[{name}]]" if isinstance(entries, list) else f"[{name}]")
            for f in dataclasses.fields(kind):
                value = getattr(entry, f.name)
                choices = f" ({', '.join(f.metadata['choices'])})" if f.metadata["choices"] else ""
                note = f"  # {f.metadata['doc']}{choices}" if comments else ""
                if value is not None:
                    lines.append(f"{f.name} = {json.dumps(value)}{note}")
                elif comments:
                    lines.append(f"# {f.name} = {note}")
            lines.append("")
    return "\n".join(lines)


def example_case() -> Case:
    """The case that `jaxtwin init` writes: a beat on a small atrial shell made beside it."""
    return Case(
        mesh=MeshCase(file="heart.vtu"), cells=CellsCase(), tissue=TissueCase(speed_mm_per_ms=0.7),
        stimulus=[StimulusCase(centre_mm=[0.0, 0.0, 18.0], radius_mm=4.0)], time=TimeCase(end_ms=300.0),
        map=MapCase(file="map.csv", held_out_points=50, fit_points=200), fit=FitCase(modes=100, iterations=30),
        output=OutputCase(),
    )  # fmt: skip
