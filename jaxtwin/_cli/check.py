"""`jaxtwin check`: what a mesh or a map holds, and what is wrong with it."""

from pathlib import Path
from typing import Any

import numpy as np

from ..anatomy import quality, read_mesh, repair, stiffness_bound
from ..anatomy.opencarp import SUFFIXES
from ..observe import MappingData, read_csv
from .case import load_case


def check_file(path: Path) -> dict[str, Any]:
    """Facts about a mesh, a map or a case, and a list `problems` (empty if there is none)."""
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return _of_map(read_csv(path))
    if path.suffix.lower() == ".toml":
        case = load_case(path)
        return {"kind": "case", "mesh": case.mesh.file, "stimuli": len(case.stimulus), "problems": []}
    return _of_mesh(path)


def _of_map(data: MappingData) -> dict[str, Any]:
    facts = data.summary()
    problems = list(facts.pop("notes"))
    low, high = facts["lat_ms"]
    if high - low > 500:
        problems.append(
            f"LATs span {high - low:.0f} ms: more than one beat, or sentinel values not marked as such."
        )
    return {"kind": "map", **facts, "problems": problems}


def _of_mesh(path: Path) -> dict[str, Any]:
    file = read_mesh(path)
    mesh, mended = file.mesh, repair(file.mesh)
    lengths = mesh.edge_lengths
    shape = quality(mesh)
    bound = stiffness_bound(mended.mesh)
    problems = [] if mended.report.clean else mended.report.lines()[1:]
    median = float(np.median(lengths))
    if median > 0.5:
        problems.append(
            f"The median edge is {median:.2g} mm. Lumped linear elements slow a wave of 0.6 mm/ms by several per cent "
            "above 0.5 mm: refine ([mesh] refine), or read the fitted conductivity as one of this mesh."
        )
    return {
        "kind": "mesh",
        "format": "openCARP" if path.suffix in SUFFIXES else path.suffix.lstrip("."),
        "nodes": len(mesh.points), "cells": len(mesh.cells),
        "cell_type": {2: "segments", 3: "triangles", 4: "tetrahedra"}[mesh.corners],
        "box_mm": np.round(np.ptp(mesh.points, axis=0), 3).tolist(),
        "edge_mm": dict(
            zip(("min", "p1", "median", "p99", "max"), np.percentile(lengths, [0, 1, 50, 99, 100]).tolist(), strict=True)
        ),
        "shape_quality": {"min": float(shape.min()), "median": float(np.median(shape))},
        "regions": np.unique(mesh.regions).tolist(),
        "arrays": {k: list(v.shape) for k, v in {**file.point_data, **file.cell_data}.items()},
        "stiffness_bound_per_mm2": {"p99": float(np.percentile(bound, 99)), "max": float(bound.max())},
        "notes": list(file.notes),
        "problems": problems,
    }  # fmt: skip
