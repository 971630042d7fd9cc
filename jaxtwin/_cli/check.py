"""`jaxtwin check`: what a mesh, a map or a case holds, and what is wrong with it."""

from pathlib import Path
from typing import Any

import numpy as np

from .._units import conductivity_from_diffusivity
from ..anatomy import MeshFile, quality, read_mesh, repair, stiffness_bound
from ..anatomy.opencarp import SUFFIXES
from ..anatomy.size import size_warnings
from ..case import Case, load_case, prepare
from ..mapping import MappingData, read_csv, read_mapping
from ..mapping.formats import recognise
from ..mapping.formats.csv_points import SUFFIXES as TABLES
from ..mapping.formats.vtk_surface import is_lat
from .study import assessed, unlikely


def check_file(path: Path, unit: str = "auto", figure: Path | None = None) -> dict[str, Any]:
    """Facts about a mesh, a map, a study or a case, and a list `problems` (empty if there is none).

    `unit` is that of the points of a mesh; `figure`: where the points of a study are drawn. Raises
    `InputError` for what cannot be used at all.
    """
    if path.suffix.lower() == ".toml" or (path / "case.toml").is_file():
        return _of_case(load_case(path))
    reader = recognise(path) if path.exists() else ""  # the stem of openCARP files is no file
    if path.is_file() and (reader == "csv_points" or (not reader and path.suffix.lower() in TABLES)):
        return _of_map(read_csv(path))
    if path.is_dir() or reader not in ("", "vtk_surface"):
        return assessed(read_mapping(path), figure)
    return _of_mesh(path, unit)


def _of_case(case: Case) -> dict[str, Any]:
    """All that a run does before it computes."""
    ready, mapped = prepare(case), bool(case.map.file)
    mesh = ready.heart.mesh
    facts: dict[str, Any] = {"kind": "case", "nodes": len(mesh.points), "cells": len(mesh.cells)}
    if mapped:
        valid = ready.data.valid
        distance = np.percentile(np.asarray(ready.place.distance)[valid], [50, 100])
        facts |= {"map_points": len(valid), "valid": int(valid.sum())}
        facts["map_to_mesh_mm"] = dict(zip(("median", "max"), distance.tolist(), strict=True))
    return facts | {
        "pulses": [beat.pulses for beat in ready.beats],
        "stimulated_nodes": [int((np.asarray(b.strength) > 0).any(axis=0).sum()) for b in ready.beats],
        "speed_mm_per_ms": ready.speed,
        "diffusivity_mm2_per_ms": ready.diffusivity,
        "conductivity_S_per_m": conductivity_from_diffusivity(ready.diffusivity),
        "notes": ready.notes,
        "problems": [*ready.warnings, *(ready.problems() if mapped else ())],
    }


def _of_map(data: MappingData) -> dict[str, Any]:
    facts = data.summary()
    problems = list(facts.pop("notes"))
    low, high = facts["lat_ms"]
    if high - low > 500:
        problems.append(
            f"LATs span {high - low:.0f} ms: more than one beat, or sentinel values not marked as such."
        )
    return {"kind": "map", **facts, "problems": problems}


def _of_mesh(path: Path, unit: str) -> dict[str, Any]:
    file = read_mesh(path, unit)
    mesh, cleaned = file.mesh, repair(file.mesh, keep="largest")
    lengths = mesh.edge_lengths
    shape = quality(mesh)
    bound = stiffness_bound(cleaned.mesh)
    problems = [] if cleaned.report.clean else cleaned.report.lines()[1:]
    problems += size_warnings(mesh, path.name, unit)
    median = float(np.median(lengths))
    if median > 0.5:
        problems.append(
            f"The median edge is {median:.2g} mm. Above 0.5 mm linear elements misjudge the speed of a wave: "
            "refine ([mesh] refine), or read the fitted conductivity as one of this mesh."
        )
    problems += _of_arrays(file)
    spread = np.percentile(lengths, [0, 1, 50, 99, 100]).tolist()
    return {
        "kind": "mesh",
        "format": "openCARP" if path.suffix in (*SUFFIXES, "") else path.suffix.lstrip("."),
        "nodes": len(mesh.points),
        "cells": len(mesh.cells),
        "cell_type": {2: "segments", 3: "triangles", 4: "tetrahedra"}[mesh.corners],
        "box_mm": np.round(np.ptp(mesh.points, axis=0), 3).tolist(),
        "edge_mm": dict(zip(("min", "p1", "median", "p99", "max"), spread, strict=True)),
        "shape_quality": {"min": float(shape.min()), "median": float(np.median(shape))},
        "regions": np.unique(mesh.regions).tolist(),
        "point_arrays": {name: _array(values) for name, values in file.point_data.items()},
        "cell_arrays": {name: _array(values) for name, values in file.cell_data.items()},
        "stiffness_bound_per_mm2": {"p99": float(np.percentile(bound, 99)), "max": float(bound.max())},
        "notes": list(file.notes),
        "problems": problems,
    }


def _of_arrays(file: MeshFile) -> list[str]:
    """Sentences on the point arrays that are named like LATs."""
    return [
        f"{name}: {each}"
        for name, values in file.point_data.items()
        if is_lat(name) and values.size == len(file.mesh.points)
        for each in unlikely(name, file.mesh.points, np.asarray(values, np.float64).ravel())
    ]


def _array(values: np.ndarray) -> str:
    """What an array holds, so that one sees which is the map."""
    finite = values[np.isfinite(values)]
    shape = " x ".join(map(str, values.shape[1:]))
    return (
        (f"vectors of {shape}, " if shape else "")
        + (f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "no finite value")
        + (f", {values.size - finite.size} NaN or infinite" if finite.size < values.size else "")
    )
