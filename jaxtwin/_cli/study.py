"""`jaxtwin import`: from the export of a mapping system to a study in a file, and to a case ready to fit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .._files import atomic_write
from .._results import InputError
from ..anatomy import read_mesh, repair, write_mesh
from ..case import (
    BeatCase,
    Case,
    CellsCase,
    FitCase,
    MapCase,
    MeshCase,
    OutputCase,
    PulseCase,
    TimeCase,
    TissueCase,
    write_case,
)
from ..chamber import carried_fibres, chamber, rule_fibres
from ..mapping import (
    Map,
    MappingData,
    Quality,
    Study,
    annotated,
    assess,
    read_mapping,
    refuse_reentry,
    write_study,
)
from ..mapping.quality import FAR_MM, LOW_MV, OUTLIER
from ..view import quality_map, save_figure

Say = Callable[[str], None]
HELD_OUT = 0.2  # of the points of all maps, kept for validation
MODES = 300
DISCREPANCY_MS = 3.0  # of real maps beside any model: fibres, thickness and rhythm are never known
ANISOTROPY = 4.0  # conductivity along over across fibres, where there are fibres


def import_study(
    source: Path,
    target: Path,
    *,
    maps: tuple[str, ...] = (),
    annotate: str = "",
    identity: bool = False,
    say: Say = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, traces: None,
) -> Study:
    """Reads an export and writes it to `target` (HDF5). Raises `InputError` for what cannot be used."""
    if source.resolve() == target.resolve():
        raise InputError(f"{target} as source and as result", "another name", "Choose another name")
    study = chosen(read_mapping(source, identity=identity), maps)
    if annotate:
        study = replace(study, maps=tuple(annotated(m, annotate) if m.signals else m for m in study.maps))
    for note in study.notes:
        say(note)
    for one in study.maps:
        for note in (*one.notes, *_unlikely(one)):
            say(f"{one.name}: {note}")
    write_study(target, study, progress)
    return study


def chosen(study: Study, maps: tuple[str, ...]) -> Study:
    """The study with these maps alone; all where none is named."""
    return replace(study, maps=tuple(study.map(name) for name in maps)) if maps else study


def unlikely(name: str, positions: np.ndarray, lat_ms: np.ndarray) -> list[str]:
    """Sentences on LATs that a fit would refuse, leave out or weigh less (see `MappingData`)."""
    if not np.isfinite(lat_ms).any():
        return []
    try:
        notes = MappingData(positions, lat_ms, names=(name,)).notes
    except InputError as error:
        return [f"{error.got[:1].upper()}{error.got[1:]}. {error.do}."]
    return [f"{note[:1].upper()}{note[1:]}." for note in notes]


def _unlikely(one: Map) -> list[str]:
    points = one.measured()
    return unlikely(one.name, points.positions[points.valid], points.lat_ms[points.valid])


def rows(study: Study) -> list[tuple[str, ...]]:
    """What each map holds, for a table: name, points, valid, LATs, nodes of the surface, waveforms."""
    found = []
    for one in study.maps:
        points = one.measured()
        lat = points.lat_ms[points.valid]
        span = f"{lat.min():.0f} to {lat.max():.0f}" if len(lat) else ""
        traces = sum(len(each.rows) for each in one.signals)
        nodes = 0 if one.surface is None else len(one.surface.points)
        found.append((one.name, str(len(points)), str(len(lat)), span, str(nodes), str(traces)))
    return found


def make_study_case(
    study: Study,
    file: str,
    folder: Path,
    *,
    edge_mm: float,
    close_mm: float = 30.0,
    fibres: str = "",
    say: Say = lambda text: None,
) -> None:
    """Writes heart.vtu and case.toml into a folder, for the maps of a study that have valid LATs. `file`: the
    study, as seen from the folder.

    `edge_mm`, `close_mm`: see `chamber`. `fibres`: "" (those of the surface, if any), "rule", or a mesh with
    fibres, registered to the same coordinates. Raises `InputError` where no map has a LAT or none a surface.
    """
    data = study.data()
    bearer = _bearer(study, data.names)
    assert bearer.surface is not None
    heart = chamber(bearer.surface, edge_mm=edge_mm, close_mm=close_mm)
    for line in heart.lines:
        say(line)
    mesh, ratio = heart.mesh, 1.0 if bearer.surface.fibres is None else ANISOTROPY
    if fibres:
        found = (
            rule_fibres(mesh, heart.rings)
            if fibres == "rule"
            else carried_fibres(mesh, read_mesh(fibres).mesh)
        )
        for note in found.notes:
            say(note)
        mesh, ratio = found.on(mesh), ANISOTROPY
    points = int(data.valid.sum())
    held_out = int(HELD_OUT * points)
    fit = FitCase(
        scar=len(data.names) > 1, modes=min(MODES, len(mesh.points) // 3), discrepancy_ms=DISCREPANCY_MS
    )
    case = Case(
        mesh=MeshCase(file="heart.vtu"), cells=CellsCase(),
        tissue=TissueCase(speed_mm_per_ms=0.7, anisotropy_ratio=ratio),
        beats=[BeatCase(pulses=[PulseCase(kind="map")]) for _ in data.names], time=TimeCase(),
        map=MapCase(file=file, maps=data.names, held_out_points=held_out),
        fit=fit,
        output=OutputCase(),
    )  # fmt: skip
    write_mesh(folder / "heart.vtu", mesh, heart.fields)
    with atomic_write(folder / "case.toml") as stream:
        stream.write(write_case(case, comments=True).encode())


def _bearer(study: Study, names: tuple[str, ...]) -> Map:
    """The map whose surface becomes the heart: of those to fit that have one, the one with most points."""
    maps = [study.map(name) for name in names]
    maps = [one for one in maps if one.surface is not None and len(one.surface.triangles)]
    maps = maps or [one for one in study.maps if one.surface is not None and len(one.surface.triangles)]
    if not maps:
        raise InputError(
            "a study without a surface", "a map with its surface, to make a heart of",
            "Export the surface too, or write a case by hand with [mesh] file and [map] file",
        )  # fmt: skip
    return max(maps, key=lambda one: int(one.measured().valid.sum()))


def assessed(study: Study, figure: Path | None = None) -> dict[str, Any]:
    """Facts and problems of a study, map by map; where `figure` is given, a picture of each map beside it."""
    facts: dict[str, Any] = {"kind": "study", "system": f"{study.system} {study.version}".strip()}
    problems = []
    for number, one in enumerate(study.maps):
        found, surface, points = assess(one), one.surface, one.measured()
        facts[one.name] = _told(one, found)
        said = (*found.problems(one), *_unlikely(one), *_circling(study, one))
        problems += [f"{one.name}: {each}" for each in said]
        if figure is not None and surface is not None and len(surface.triangles) and len(points):
            more = f"-{number + 1}" if len(study.maps) > 1 else ""
            lat = np.where(points.valid, points.lat_ms, np.nan)
            suspect = (np.nan_to_num(found.score) > OUTLIER) | (np.nan_to_num(found.distance_mm) > FAR_MM)
            drawing = quality_map(surface.mesh(), points.positions, lat, suspect, title=one.name)
            save_figure(drawing, figure.with_stem(figure.stem + more))
    notes = [*study.notes, *(f"{one.name}: {note}" for one in study.maps for note in one.notes)]
    return facts | {"notes": notes, "problems": problems}


def _told(one: Map, found: Quality) -> str:
    """What a map holds, in one line."""
    facts, surface = found.facts(one), one.surface
    said = [f"{facts['points']} points, {facts['valid']} LATs can be used"]
    if "lat_ms" in facts:
        said[0] += f" ({facts['lat_ms'][0]:g} to {facts['lat_ms'][1]:g} ms)"
    if "distance_mm" in facts:
        away = facts["distance_mm"]
        said.append(f"{away['median']:.1f} mm from the surface, at most {away['max']:.1f}")
    if "coverage" in facts:
        said.append(f"within 10 mm of {100 * facts['coverage']:.0f} % of it")
    if "low_voltage" in facts:
        said.append(f"{100 * facts['low_voltage']:.0f} % of voltages below {LOW_MV:g} mV")
    if traces := sum(len(each.rows) for each in one.signals):
        said.append(f"{traces} waveforms")
    if "annotation_minus_waveform_ms" in facts:
        said[-1] += f", LATs {facts['annotation_minus_waveform_ms']['median']:.1f} ms from theirs"
    if surface is not None:
        said.append(f"surface of {len(surface.points)} nodes, {len(surface.triangles)} triangles")
        if surface.cut_out.any():
            said[-1] += f", {int(surface.cut_out.sum())} of them cut out"
    return "; ".join(said)


def _circling(study: Study, one: Map) -> list[str]:
    """Whether early meets late."""
    if one.surface is None or not len(one.surface.triangles) or not one.measured().valid.any():
        return []
    try:
        refuse_reentry(repair(one.surface.mesh(), keep="largest").mesh, study.data((one.name,)))
    except InputError as error:
        return [f"{error.got[:1].upper()}{error.got[1:]}."]
    return []
