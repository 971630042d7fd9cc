"""A heart from a file: read, repaired, refined and ordered, with all that was given at its nodes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from .mesh import Mesh
from .meshfile import read_mesh
from .missing import missing
from .opencarp import read_vtx
from .order import Reordered, reorder
from .refine import Refinement, refine_with_map
from .repair import Repaired
from .repair import repair as repaired
from .size import size_warnings


@dataclass(frozen=True)
class Heart:
    """The mesh as it is computed on, and how it came about.

    - `origin`: (nodes,), the node of the file behind each node, or -1 for one that refinement has added.
    - `point_data`: arrays of the file at the nodes, as floats. A node of the file keeps what the file says,
      its number for "missing" included; an added node is interpolated, and NaN where a parent is missing.
    - `node_sets`: masks, (nodes,), of the vertex files by their names.
    - `notes`: what was recognised, converted, changed or dropped. `warnings`: what is probably wrong.
    - `sources`: the files of the mesh. `steps`: from the mesh of the file to this one, each with its `carry`.
    """

    mesh: Mesh
    origin: Int[np.ndarray, " nodes"]
    point_data: dict[str, np.ndarray]
    node_sets: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    steps: tuple[Repaired | Refinement | Reordered, ...] = ()

    def carry(self, values: Float[np.ndarray, "file_nodes ..."]) -> Float[np.ndarray, "nodes ..."]:
        """Values at the nodes of the file, NaN where missing, brought to those of the mesh."""
        for step in self.steps:
            values = step.carry(values)
        return values

    def carry_set(self, chosen: Bool[np.ndarray, " file_nodes"]) -> Bool[np.ndarray, " nodes"]:
        """A set of nodes of the file as one of the mesh: with an added node where all its parents belong."""
        for step in self.steps:
            chosen = step.carry_set(chosen)
        return chosen


def read_heart(
    path: str | Path,
    *,
    unit: str = "auto",
    repair: bool = True,
    keep: str = "connected",
    refine: int = 0,
    vertices: Mapping[str, str | Path] | None = None,
) -> Heart:
    """Reads a mesh (see `read_mesh`), repairs it, halves its edges `refine` times and orders its nodes.

    `unit`: of the points, "auto", "um", "mm", "cm" or "m". `keep`: which parts the repair keeps, see
    `repair`. `vertices`: files of node indices (`.vtx`), by the names their sets get.

    Raises `InputError` for files that are missing or damaged, for sizes that no heart has, for parts that do
    not touch, and for indices of which the mesh has no node.
    """
    path = Path(path)
    file = read_mesh(path, unit)
    warnings, notes = size_warnings(file.mesh, path.name, unit), list(file.notes)
    sets = {name: _nodes(each, len(file.mesh.points)) for name, each in (vertices or {}).items()}
    steps: list[Repaired | Refinement | Reordered] = []
    mesh = file.mesh
    if repair:
        steps.append(mended := repaired(mesh, keep=keep))
        mesh = mended.mesh
        notes += [] if mended.report.clean else mended.report.lines()
        for name, chosen in sets.items():
            if gone := int((chosen & (mended.nodes < 0)).sum()):
                notes.append(f"{gone} of {int(chosen.sum())} nodes of {name} are not in the repaired mesh.")
    for _ in range(refine):
        steps.append(finer := refine_with_map(mesh))
        mesh = finer.mesh
    if refine:
        notes.append(f"Refined {refine} times to {len(mesh.points)} nodes.")
    steps.append(reorder(mesh))
    origin = np.arange(len(file.mesh.points))
    for step in steps:
        origin = np.where(step.origin >= 0, origin[step.origin], -1)
    heart = Heart(steps[-1].mesh, origin, {}, steps=tuple(steps))
    data, said = _carried(heart, file.point_data)
    sets = {name: heart.carry_set(chosen) for name, chosen in sets.items()}
    if refine:
        warnings += _single(sets, origin)
    return Heart(heart.mesh, origin, data, sets, (*notes, *said), warnings, file.sources, heart.steps)


def _nodes(path, count):
    chosen = np.zeros(count, bool)
    chosen[read_vtx(path, count)] = True
    return chosen


def _single(sets, origin):
    """Warnings of sets that refinement leaves as single nodes."""
    return tuple(
        f"The {int(chosen.sum())} nodes of {name} span no edge: on the refined mesh they stay single nodes, "
        "which may excite too little tissue to start a wave."
        for name, chosen in sets.items()
        if chosen.any() and not (chosen & (origin < 0)).any()
    )


def _carried(heart, arrays):
    """Arrays of numbers at the nodes of the heart, and notes on values that are missing."""
    data, notes, own = {}, [], heart.origin >= 0
    for name, array in arrays.items():
        if array.dtype.kind not in "buif":
            continue
        given = array.astype(np.float64)
        none = missing(given)
        found = heart.carry(np.where(none, np.nan, given))
        lost = np.isnan(found) & own.reshape(-1, *[1] * (found.ndim - 1))
        data[name] = np.where(lost, given[heart.origin], found)
        if none.any() and not own.all():
            notes.append(
                f"{int(none.sum())} of {none.size} values of point array {name!r} are missing; no node that "
                "refinement added takes anything from them."
            )
    return data, notes
