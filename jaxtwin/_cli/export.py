"""`jaxtwin export`: studies and results in the formats of other programs."""

from pathlib import Path

import numpy as np

from .._results import InputError
from ..anatomy import Heart, write_mesh
from ..case import Case, Prepared, load_case, prepare
from ..chamber import chamber
from ..exchange import Electrode, write_opencarp_case
from ..mapping import Study, read_mapping, write_csv, write_openep
from ..monodomain import Stimulus
from ..view import Result, read_vtkhdf
from .folder import new_folder

RESULT = "result.vtkhdf"
DIFFUSIVITY = "diffusivity_mm2_per_ms"


def export(
    source: Path, target: Path, *, maps: tuple[str, ...] = (), edge_mm: float | None = None
) -> list[str]:
    """Writes a study or the folder of a run in the format that the name of `target` says; what a user should
    know.

    A study: `.csv` (all points), `.mat` (OpenEP, one map), `.vtu` (the surface of one map with its fields),
    `.pts` (openCARP; the chamber, cut, repaired and remeshed to edges of `edge_mm`). A run: a folder (a case
    for openCARP), `.vtu`. Raises `InputError` for others.
    """
    if (source / RESULT).is_file():
        return _of_run(source, target)
    study, kind = read_mapping(source), target.suffix.lower()
    if kind == ".csv":
        data = study.data(maps or None)
        write_csv(target, data)
        return [f"{int(data.valid.sum())} valid LATs of {data.maps} maps"]
    name = _one(study, maps)
    if kind == ".mat":
        write_openep(target, study, name)
        return [f"map {name!r}"]
    surface = study.map(name).surface
    if kind not in (".vtu", ".pts"):
        raise InputError(
            f"the file name {target.name} for a study", ".csv, .mat (OpenEP), .vtu or .pts (openCARP)",
            "Choose one of these endings; a folder takes the result of a run",
        )  # fmt: skip
    if surface is None or not len(surface.triangles):
        raise InputError(f"map {name!r} without a surface", "a map with its surface", "Choose another map")
    if kind == ".vtu" and edge_mm is None:
        write_mesh(target, surface.mesh(), surface.fields)
        return [f"the surface of map {name!r} as it was exported, {len(surface.fields)} fields"]
    heart = chamber(surface, edge_mm=1.0 if edge_mm is None else edge_mm)
    write_mesh(target, heart.mesh, heart.fields if kind == ".vtu" else None)
    return list(heart.lines)


def _one(study: Study, maps: tuple[str, ...]) -> str:
    if len(maps) == 1:
        return study.map(maps[0]).name
    if not maps and len(study.maps) == 1:
        return study.maps[0].name
    raise InputError(
        f"{len(maps) or len(study.maps)} maps for a format that holds one",
        f"one of {', '.join(repr(one.name) for one in study.maps)}", "Name it: --map NAME",
    )  # fmt: skip


def _of_run(source: Path, target: Path) -> list[str]:
    result, case = read_vtkhdf(source / RESULT), load_case(source / "resolved.toml")
    if target.suffix.lower() == ".vtu":
        fixed = {k: v for k, v in result.point_data.items() if len(v) == len(result.mesh.points)}
        write_mesh(target, result.mesh, fixed, result.cell_data)
        return [f"{len(fixed)} arrays of the nodes"]
    if target.suffix:
        raise InputError(
            f"the file name {target.name} for the result of a run", "a folder (openCARP) or .vtu",
            "Choose one of the two",
        )  # fmt: skip
    return _opencarp(result, case, target)


def _opencarp(result: Result, case: Case, target: Path) -> list[str]:
    """One case for each beat, on the clock of openCARP, which begins at 0."""
    if result.cell_data.get("conduction_direction") is not None:
        raise InputError(
            "a fit of fibres, whose tensor turns from cell to cell", "a fit along known fibres",
            "Export .vtu: the case for openCARP has one anisotropy ratio",
        )  # fmt: skip
    ready, mesh = _as_computed(result, case), result.mesh
    nodal = result.point_data.get(DIFFUSIVITY, np.full(len(mesh.points), ready.diffusivity))
    along = np.exp(np.log(np.asarray(nodal, np.float64))[mesh.cells].mean(axis=1))
    beats, lines = ready.beats, []
    begin = min(float(np.min(one.onset)) for one in beats)
    shift = min(begin, 0.0)
    end = float(case.time.end_ms or 500.0) - shift
    with new_folder(target) as made:
        for k, beat in enumerate(beats):
            error = write_opencarp_case(
                made / f"beat_{k + 1}" if len(beats) > 1 else made, mesh, along,
                ratio=case.tissue.anisotropy_ratio, ionic=ready.cells, stimuli=_electrodes(beat, shift),
                end_ms=end, step_ms=case.time.step_ms,
            )  # fmt: skip
        lines.append(f"{len(beats)} case(s) for openCARP: openCARP +F case.par")
        lines.append(f"Conductivities in classes, at most {100 * error:.2g} % from those fitted.")
        if shift:
            lines.append(
                f"Times begin at 0 there: {-shift:.4g} ms are to be taken off to compare with the maps."
            )
        lines.append("openCARP was not run: compare one beat before you rely on it.")
    return lines


def _as_computed(result: Result, case: Case) -> Prepared:
    """The case of a run, with the heart of its result where that is enough."""
    if not any(one.kind == "vtx" for one in case.pulses()) and case.map.file != case.mesh.file:
        origin = np.asarray(result.point_data.get("original_node", np.arange(len(result.mesh.points))), int)
        return prepare(case, heart=Heart(result.mesh, origin, dict(result.point_data)))
    ready = prepare(case)  # what is given at its nodes is not in the result
    points = ready.heart.mesh.points
    if points.shape != result.mesh.points.shape or not np.allclose(points, result.mesh.points, atol=1e-4):
        raise InputError(
            f"{case.mesh.file}, which is no longer the mesh of this run", "the file that was computed on",
            "Run the case again",
        )  # fmt: skip
    return ready


def _electrodes(stimulus: Stimulus, shift: float) -> list[Electrode]:
    """Nodes that begin within the same 0.1 ms are one electrode."""
    found = []
    for number, site in enumerate(stimulus.site):
        nodes, onset = stimulus.starts(number)
        strength, begin = np.asarray(stimulus.strength[site], np.float64), np.round(onset - shift, 1)
        for key in np.unique(begin):
            one, duration = nodes[begin == key], float(stimulus.duration[number])
            found.append(Electrode(one, float(key), duration, float(strength[one].max())))
    return found
