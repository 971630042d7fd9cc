"""A heart from a file: read, repaired, refined and reordered, with its nodal data."""

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
from .quality import quality
from .refine import Refinement, refine_with_map
from .remesh import Remeshed, remesh
from .repair import Repaired
from .repair import repair as repaired
from .size import size_warnings


@dataclass(frozen=True)
class Heart:
    """A computational mesh and its origin.

    - `origin`: (nodes,), the node of the file that each node is, or -1 for a node added by refinement or
      remeshing.
    - `point_data`: arrays of the file at the nodes, as floats. A node of the file keeps its value, including
      a number for "missing"; an added node is interpolated, and NaN if a parent is missing.
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
    steps: tuple[Repaired | Remeshed | Refinement | Reordered, ...] = ()

    def carry(self, values: Float[np.ndarray, "file_nodes ..."]) -> Float[np.ndarray, "nodes ..."]:
        """Maps values at the nodes of the file, NaN if missing, to the nodes of the mesh."""
        for step in self.steps:
            values = step.carry(values)
        return values

    def carry_set(self, chosen: Bool[np.ndarray, " file_nodes"]) -> Bool[np.ndarray, " nodes"]:
        """Maps a set of nodes of the file to the mesh; an added node is in it if all its parents are, or in
        remeshing those with half of its weight."""
        for step in self.steps:
            chosen = step.carry_set(chosen)
        return chosen


def read_heart(
    path: str | Path,
    *,
    unit: str = "auto",
    repair: bool = True,
    keep: str = "connected",
    remesh_mm: float = 0.0,
    refine: int = 0,
    vertices: Mapping[str, str | Path] | None = None,
) -> Heart:
    """Reads a mesh (see `read_mesh`), repairs it, remeshes it to edges of `remesh_mm`, halves its edges
    `refine` times and reorders its nodes for the solver.

    **Arguments:**

    - `unit`: of the points, "auto", "um", "mm", "cm" or "m".
    - `repair`: whether to repair. `keep`: which components the repair keeps, see `repair`.
    - `remesh_mm`: length of the edges, mm, see `remesh`; 0 leaves the cells of the file.
    - `refine`: number of uniform refinements.
    - `vertices`: files of node indices (`.vtx`), by the names of their sets.

    **Returns:** a `Heart`.

    **Raises:** `InputError` for files that are missing or damaged, sizes that no heart has, parts that do not
    touch, and indices beyond the nodes of the mesh.

    **Example:**

    ```python
    heart = jt.read_heart("case/heart.vtu", refine=1)
    mesh = heart.mesh
    ```
    """
    path = Path(path)
    file = read_mesh(path, unit)
    warnings, notes = size_warnings(file.mesh, path.name, unit), list(file.notes)
    sets = {name: _nodes(each, len(file.mesh.points)) for name, each in (vertices or {}).items()}
    steps: list[Repaired | Remeshed | Refinement | Reordered] = []
    mesh = file.mesh
    if repair:
        steps.append(cleaned := repaired(mesh, keep=keep))
        mesh = cleaned.mesh
        notes += [] if cleaned.report.clean else cleaned.report.lines()
        for name, chosen in sets.items():
            if gone := int((chosen & (cleaned.nodes < 0)).sum()):
                notes.append(f"{gone} of {int(chosen.sum())} nodes of {name} are not in the repaired mesh.")
    if remesh_mm:
        steps.append(made := remesh(mesh, remesh_mm))
        mesh = made.mesh
        notes.append(
            f"Remeshed to edges of {remesh_mm:g} mm: {len(mesh.points)} nodes, least quality "
            f"{quality(mesh).min():.2g}."
        )
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
    if remesh_mm:
        warnings += _lost(sets)
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


def _lost(sets):
    """Warnings of sets of which remeshing leaves nothing."""
    return tuple(
        f"No node of the remeshed mesh belongs to {name}, whose nodes lie closer together than its edges."
        for name, chosen in sets.items()
        if not chosen.any()
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
