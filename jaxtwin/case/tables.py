"""The case: everything a run needs to know, in one TOML file with units in the names of its keys."""

import dataclasses
import difflib
import json
import os
import tomllib
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .._files import read_bytes
from .._results import InputError
from ..cells import MODELS, parameter_names


def setting(
    default: Any,
    doc: str,
    *,
    choices: tuple[str, ...] = (),
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """A field of a case: default, one line for the commented file, and what values are allowed."""
    rules = {"doc": doc, "choices": choices, "above": above, "least": least, "most": most}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=rules)
    return dataclasses.field(default=default, metadata=rules)


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
    """The membrane: a cell model, and any of its parameters under the name that the model gives it, times with
    `_ms`; the standard of the model where one is left out."""

    model: str = setting("mitchell_schaeffer", "cell model", choices=tuple(MODELS))
    parameters: dict[str, float] = setting({}, "of the model: a key each")


def parameter_keys(model: str) -> dict[str, str]:
    """The keys of a case for the parameters of a cell model, and their names in the model."""
    names = parameter_names(MODELS[model]())
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
class StimulusCase:
    """Where the wave starts; one table per map, in their order."""

    kind: str = setting("sphere", "how nodes are chosen", choices=("sphere", "region", "vtx", "map"))
    centre_mm: tuple[float, ...] = setting((), "for kind sphere")
    radius_mm: float = setting(2.0, "for kinds sphere and map", above=0.0)
    regions: tuple[int, ...] = setting((), "for kind region: tags")
    file: str = setting("", "for kind vtx: openCARP vertex file")
    earliest_fraction: float = setting(
        0.04, "for kind map: the earliest part of the map, at its own times", above=0.0, most=1.0
    )
    start_ms: float = setting(0.0, "for all kinds but map", least=0.0)
    duration_ms: float = setting(2.0, "length of the pulse", above=0.0)
    strength_per_ms: float = setting(0.5, "du/dt while it lasts", above=0.0)


@dataclasses.dataclass(kw_only=True)
class TimeCase:
    """The grid in time."""

    end_ms: float | None = setting(
        None, "end of the run; where left out 500, or for a fit what the map needs", above=0.0
    )
    step_ms: float = setting(0.2, "time step; the upstroke lasts about 1 ms", above=0.0, most=0.5)
    frame_ms: float = setting(10.0, "interval of the stored voltages", above=0.0)


@dataclasses.dataclass(kw_only=True)
class MapCase:
    """What was measured: a study (jaxtwin import), a CSV (x_mm,y_mm,z_mm,lat_ms[,map_id,...]) or a VTK
    mesh."""

    file: str = setting("", "path, relative to this file")
    maps: tuple[str, ...] = setting(
        (), "for studies: names of the maps, one stimulus each; all that have LATs"
    )
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
    least_diffusivity_mm2_per_ms: float = setting(0.02, "floor, above numerical block", above=0.0)
    largest_diffusivity_mm2_per_ms: float = setting(
        4.0, "ceiling; the stability of the step rests on it", above=0.0
    )
    optimiser: str = setting(
        "trust_region", "steps along the rays of the wave, or by L-BFGS", choices=("trust_region", "lbfgs")
    )
    iterations: int = setting(20, "steps by gradients, at most, after those of eikonal waves", least=1)
    tolerance: float = setting(0.05, "fall of the loss that is left when to stop (trust_region)", above=0.0)
    uncertainty_directions: int = setting(
        20, "products with the exact curvature, to correct that along rays; 0: not corrected", least=0
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
    stimulus: list[StimulusCase]
    time: TimeCase
    map: MapCase
    fit: FitCase
    output: OutputCase
    where: Path = Path()

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
            stimulus=[dataclasses.replace(s, file=seen(s.file)) for s in self.stimulus],
            map=dataclasses.replace(self.map, file=seen(self.map.file)),
            output=dataclasses.replace(self.output, folder=seen(self.output.folder)),
        )  # fmt: skip


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
    except (ValueError, RecursionError) as error:  # also what is not UTF-8, and numbers of 5000 digits
        raise InputError(
            f"{path}, which is not TOML ({error})",
            "texts in quotes, numbers with a decimal point, lists in brackets",
            "Correct that place; `jaxtwin init` writes an example",
        ) from None
    for name, content in tables.items():
        what = (
            f"key {name} outside of any table" if not isinstance(content, dict | list) else f"table [{name}]"
        )
        _known(name, TABLES, f"{what} in {path.name}", "tables", _homes(name))
    stimuli = tables.pop("stimulus", [])
    stimuli = stimuli if isinstance(stimuli, list) else [stimuli]
    if not stimuli:
        raise InputError(
            f"{path.name} without a stimulus", "at least one [[stimulus]]", "Add one; see `jaxtwin init`"
        )
    case = Case(
        **{n: _table(n, kind, tables.get(n, {})) for n, kind in TABLES.items() if n != "stimulus"},
        stimulus=[_table("stimulus", StimulusCase, s) for s in stimuli],
        where=path.resolve().parent,
    )  # fmt: skip
    _check_together(case, path.name)
    return case


def _check_together(case: Case, name: str) -> None:
    """What no key can be checked for alone."""
    if not case.mesh.file:
        raise InputError(f"{name} without a mesh", '[mesh] file = "..."', "Name the file of the heart")
    ways = ("speed_mm_per_ms", "conductivity_S_per_m", "diffusivity_mm2_per_ms")
    given = [way for way in ways if getattr(case.tissue, way) is not None]
    if len(given) != 1:
        raise InputError(
            f"{' and '.join(given) or 'no conduction'} in [tissue]",
            f"exactly one of {', '.join(ways)}",
            "Keep the one you know: the others follow from it",
        )
    for s in case.stimulus:
        if s.kind != "map" and case.time.end_ms is not None and s.start_ms >= case.time.end_ms:
            raise InputError(
                f"a stimulus that starts at {s.start_ms:g} ms in a run that ends at {case.time.end_ms:g} ms",
                "a run that goes on after its stimulus",
                "Raise [time] end_ms or lower [[stimulus]] start_ms",
            )
    low, high = case.fit.least_diffusivity_mm2_per_ms, case.fit.largest_diffusivity_mm2_per_ms
    if not low < high:
        raise InputError(
            f"fit.least_diffusivity_mm2_per_ms = {low:g} and fit.largest_diffusivity_mm2_per_ms = {high:g}",
            "the least below the largest",
            "Correct one of them",
        )


def _homes(key: str) -> str:
    """What to do with a key that some table knows."""
    homes = [f"[{t}]" for t, kind in TABLES.items() if key in {f.name for f in dataclasses.fields(kind)}]
    if any(key in parameter_keys(model) for model in MODELS):
        homes.append("[cells]")
    return f"Move it to {' or '.join(homes)}" if homes else ""


def _known(name: str, names: Iterable[str], what: str, kinds: str, elsewhere: str = "") -> None:
    if name not in names:
        plain = {n.lower(): n for n in names}
        near = difflib.get_close_matches(name.lower(), plain, 1, 0.5)
        hint = elsewhere or (f"Perhaps {plain[near[0]]} is meant" if near else "Remove it")
        raise InputError(f"the unknown {what}", f"one of the {kinds} {', '.join(names)}", hint)


def _table(table: str, kind: type, given: Any) -> Any:
    if not isinstance(given, dict):
        raise InputError(
            f"{table} = {_short(given)}", f"a table [{table}]", "Write its keys below the line in brackets"
        )
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {}
    if kind is CellsCase:
        given = _with_parameters(given, fields["model"])
    for key, value in given.items():
        _known(key, fields, f"key {key} in [{table}]", "keys", _homes(key))
        values[key] = _value(f"{table}.{key}", value, hints[key], fields[key])
    return kind(**values)


def _with_parameters(given: dict[str, Any], field: dataclasses.Field) -> dict[str, Any]:
    """The table [cells] with the parameters of its model, which have a key each, together."""
    model = _value("cells.model", given.get("model", field.default), str, field)
    known, found = parameter_keys(model), {}
    for key, value in given.items():
        if key == "model":
            continue
        _known(key, known, f"key {key} in [cells] with model {model}", "keys", _homes(key))
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e300:
            raise InputError(f"cells.{key} = {_short(value)}", "a number", "Correct it, or leave the line out")
        found[known[key]] = float(value)
    return {"model": model, "parameters": found}


WORDS: dict[type, str] = {
    float: "a number",
    int: "a whole number",
    str: "a text in quotes",
    bool: "true or false",
}


def _value(name: str, value: Any, hint: Any, field: dataclasses.Field) -> Any:
    """A value as the type of its field, or an error that names the field and says what may stand there."""
    rules = field.metadata
    if isinstance(value, dict):
        return value  # the parameters of a cell model, checked one by one
    if isinstance(hint, types.UnionType):
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    listed = typing.get_origin(hint) is tuple
    scalar = typing.get_args(hint)[0] if listed else hint
    values = value if listed and isinstance(value, list) else [value]
    right = isinstance(value, list) == listed and all(
        isinstance(v, (int, float) if scalar is float else scalar)
        and (scalar is bool or not isinstance(v, bool))
        for v in values
    )
    example = () if field.default is None else field.default
    advice = f"Correct it, or leave the line out{f' for {json.dumps(example)}' if example != () else ''}"

    def refuse(wanted: str) -> typing.NoReturn:
        raise InputError(f"{name} = {_short(value)} ({rules['doc']})", wanted, advice)

    if not right:
        refuse(f"a list in brackets, each {WORDS[scalar]}" if listed else WORDS[scalar])
    for v in values:
        if isinstance(v, str) and "\0" in v:
            refuse("a text without null characters")
        if not isinstance(v, int | float):
            continue
        if not -1e300 < v < 1e300:  # also refuses NaN
            refuse("a finite number")
        if rules["above"] is not None and not v > rules["above"]:
            refuse(f"a number above {rules['above']:g}")
        if rules["least"] is not None and not v >= rules["least"]:
            refuse(f"{rules['least']:g} or more")
        if rules["most"] is not None and not v <= rules["most"]:
            refuse(f"{rules['most']:g} or less")
    if rules["choices"]:
        _known(str(value), rules["choices"], f"choice {name} = {_short(value)}", "choices")
    values = tuple(float(v) if scalar is float else v for v in values)
    return values if listed else values[0]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:80]}..."


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
                if isinstance(value, dict):
                    lines += _parameter_lines(entry, comments)
                    continue
                choices = f" ({', '.join(f.metadata['choices'])})" if f.metadata["choices"] else ""
                note = f"  # {f.metadata['doc']}{choices}" if comments else ""
                if value is not None:
                    lines.append(f"{f.name} = {_toml(value)}{note}")
                elif comments:
                    lines.append(f"# {f.name} = {note}")
            lines.append("")
    return "\n".join(lines)


def _parameter_lines(cells: CellsCase, comments: bool) -> list[str]:
    """The parameters of a cell model, those that are left out as comments."""
    standard, lines = MODELS[cells.model](), []
    for key, name in parameter_keys(cells.model).items():
        if name in cells.parameters:
            lines.append(f"{key} = {_toml(cells.parameters[name])}")
        elif comments:
            lines.append(f"# {key} = {_toml(float(getattr(standard, name)))}")
    return lines


def _toml(value: Any) -> str:
    """JSON is TOML for what a case holds, but for two things: surrogate pairs and an unescaped DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def example_case() -> Case:
    """The case that `jaxtwin init` writes: a beat on a small atrial shell made beside it."""
    return Case(
        mesh=MeshCase(file="heart.vtu"), cells=CellsCase(), tissue=TissueCase(speed_mm_per_ms=0.7),
        stimulus=[StimulusCase(centre_mm=(0.0, 0.0, 18.0), radius_mm=4.0)], time=TimeCase(),
        map=MapCase(file="map.csv", held_out_points=50, fit_points=200),
        fit=FitCase(modes=100, iterations=15), output=OutputCase(),
    )  # fmt: skip
