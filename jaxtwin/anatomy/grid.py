"""Cells of any kind as files hold them, and the mesh of simplices made of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from .._results import InputError
from .arrays import find_fibres, find_regions
from .fibres import place_fibres
from .mesh import Mesh

# Cell types by their numbers in VTK (The VTK User's Guide, ch. 19: file formats).
LINE, POLYLINE, TRIANGLE, STRIP, POLYGON, TETRAHEDRON = 3, 4, 5, 6, 7, 10
SIMPLEX = {2: LINE, 3: TRIANGLE, 4: TETRAHEDRON}  # by corners
DIMENSIONS = ((1, 2), (3, 4, 21, 35), (5, 6, 7, 8, 9, 22, 23, 28, 30, 34, 36))  # every other type: 3
NAMES = {8: "pixels", 9: "quadrilaterals", 11: "voxels", 12: "hexahedra", 13: "wedges", 14: "pyramids"}

MILLIMETRES = {"um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}


@dataclass(frozen=True)
class MeshFile:
    """A mesh with all that its file said of it.

    - `mesh`: simplices of one kind, mm.
    - `point_data`: arrays with one row per node, by name.
    - `cell_data`: arrays with one row per cell of `mesh`, by name, as the file gave them.
    - `notes`: what was recognised, converted, replaced or dropped, one sentence each.
    - `sources`: the files that were read.
    """

    mesh: Mesh
    point_data: dict[str, np.ndarray]
    cell_data: dict[str, np.ndarray]
    notes: tuple[str, ...]
    sources: tuple[Path, ...]


@dataclass(frozen=True)
class Grid:
    """Points and cells in the layout of VTK: cell i has nodes connectivity[offsets[i]:offsets[i + 1]].

    Raises `InputError` where offsets, indices or the lengths of the arrays do not fit together.
    """

    points: Float[np.ndarray, "nodes 3"]
    types: Int[np.ndarray, " cells"]
    offsets: Int[np.ndarray, " cells+1"]
    connectivity: Int[np.ndarray, " entries"]
    point_data: dict[str, np.ndarray]
    cell_data: dict[str, np.ndarray]

    def __post_init__(self):
        offsets, nodes = self.offsets, self.connectivity
        fits = len(offsets) == len(self.types) + 1 and offsets[0] == 0 and offsets[-1] == len(nodes)
        if not fits or (np.diff(offsets) < 0).any():
            raise InputError(
                f"cells whose offsets do not fit {len(self.types)} cell types and {len(nodes)} entries",
                "offsets that grow from 0 to the number of entries, and one type per cell",
                "Write the file again: it is damaged or cut short",
            )
        if nodes.size and (nodes.min() < 0 or nodes.max() >= len(self.points)):
            raise InputError(
                f"cells that point to nodes {nodes.min()} to {nodes.max()} of {len(self.points)} points",
                "indices from 0 within the list of points",
                "Check that points and elements belong together and that indices start at 0",
            )
        for data, count, what in (
            (self.point_data, len(self.points), "points"),
            (self.cell_data, len(self.types), "cells"),
        ):
            for name, array in data.items():
                if len(array) != count:
                    raise InputError(
                        f"array {name!r} with {len(array)} rows on {count} {what}",
                        f"one row for each of the {what}",
                        "Write the file again: it is damaged or its parts do not belong together",
                    )

    def simplices(
        self,
    ) -> tuple[Int[np.ndarray, "cells corners"], Int[np.ndarray, " cells"], tuple[str, ...]]:
        """Cells of the highest dimension, split into simplices; the cell each came from; and notes.

        Polylines, polygons (as fans, so they should be convex) and triangle strips are split. Raises
        `InputError` for other cells that are not simplices.
        """
        kinds = [np.isin(self.types, kind) for kind in DIMENSIONS]
        dimension = np.select(kinds, range(3), 3)
        top = int(dimension.max(initial=0))
        keep = np.flatnonzero(dimension == top) if top else np.array([], np.int64)
        if not keep.size:
            raise InputError(
                f"{len(self.points)} points without lines, triangles or tetrahedra",
                "a mesh",
                "Export the surface or the volume mesh rather than a cloud of points",
            )
        types, first, sizes = self.types[keep], self.offsets[keep], np.diff(self.offsets)[keep]
        pieces = sizes - top
        self._check_simplices(types, pieces)
        notes = []
        if keep.size < len(self.types):
            notes.append(f"{len(self.types) - keep.size} cells of lower dimension dropped")
        if (pieces != 1).any():
            many = int((pieces > 1).sum())
            notes.append(
                f"{many} polygons or strips split into simplices, {int((pieces < 1).sum())} empty dropped"
            )
        pieces = np.maximum(pieces, 0)
        parent = np.repeat(np.arange(keep.size), pieces)
        piece = np.arange(parent.size) - (np.cumsum(pieces) - pieces)[parent]
        corner = piece[:, None] + np.arange(top + 1)
        corner[types[parent] == POLYGON, 0] = 0
        # Every second triangle of a strip runs the other way round.
        turned = (types[parent] == STRIP) & (piece % 2 == 1)
        corner[turned, 1:] = corner[turned, :0:-1]
        return self.connectivity[first[parent, None] + corner], keep[parent], tuple(notes)

    def _check_simplices(self, types, pieces):
        simple = np.isin(types, (LINE, TRIANGLE, TETRAHEDRON))
        refused = ~simple & ~np.isin(types, (POLYLINE, STRIP, POLYGON))
        if refused.any():
            kinds = ", ".join(NAMES.get(kind, f"VTK type {kind}") for kind in np.unique(types[refused])[:5])
            raise InputError(
                f"{int(refused.sum())} cells that are not simplices ({kinds})",
                "linear triangles or tetrahedra",
                "Split the cells first, for example with ParaView's Triangulate or Tetrahedralize filter",
            )
        if (pieces[simple] != 1).any():
            raise InputError(
                f"{int((pieces[simple] != 1).sum())} simplices with a wrong number of corners",
                "2 nodes per line, 3 per triangle and 4 per tetrahedron",
                "Write the file again: it is damaged",
            )

    def mesh_file(self, *sources: Path, unit: str = "auto", notes: tuple[str, ...] = ()) -> MeshFile:
        """The mesh in mm with its fibres and regions; the other cells are dropped.

        `unit` is the unit of the points: "um", "mm", "cm", "m", or "auto" to tell micrometres from
        millimetres by the size of the bounding box. Fibres and regions are known by their names, see
        `find_fibres` and `find_regions`.
        """
        # Damaged files hold any bit pattern: it is the checks that speak, not the arithmetic.
        with np.errstate(all="ignore"):
            cells, parent, split_notes = self.simplices()
            Mesh(self.points, cells)  # refuses coordinates that are not finite
            points, unit_note = to_millimetres(self.points, unit)
            cell_data = {name: array[parent] for name, array in self.cell_data.items()}
            axes, axes_note = find_fibres(self.point_data, cell_data, cells)
            fibres, fibre_notes = place_fibres(points, cells, axes)
            regions, region_note = find_regions(cell_data, len(cells))
            mesh = Mesh(points, cells, fibres, regions)
        notes = (*notes, unit_note, *split_notes, axes_note, *fibre_notes, region_note)
        return MeshFile(mesh, dict(self.point_data), cell_data, notes, tuple(sources))


def to_millimetres(points: Float[np.ndarray, "nodes dim"], unit: str = "auto"):
    """Points in mm, and a note on what they were taken for.

    With "auto", a bounding box larger than 1000 is in micrometres, because no heart is a metre wide,
    and one from 1 to 500 in millimetres. Raises `InputError` for any other size: one of 500 to 1000 may
    be a torso in millimetres or a patch of tissue in micrometres.
    """
    box = np.ptp(points, axis=0)
    largest = float(box.max())
    if unit not in ("auto", *MILLIMETRES):
        raise InputError(
            f"unit {unit!r}", f"one of auto, {', '.join(MILLIMETRES)}", "Name the unit of the points"
        )
    known = unit if unit != "auto" else "um" if largest > 1000.0 else "mm"
    low, high = (1e-3, 1e4) if unit != "auto" else (1.0, 1000.0) if known == "um" else (1.0, 500.0)
    size = " x ".join(f"{side:.5g}" for side in box)
    if not low <= largest * MILLIMETRES[known] <= high:
        raise InputError(
            f"points in a box of {size}, taken as {known}",
            f"a mesh of {low:g} mm to {high:g} mm",
            f"Give the unit of the points (one of {', '.join(MILLIMETRES)}), or look for stray points",
        )
    # Dividing by 1000 gives back the double that a writer multiplied by it, or its neighbour.
    scaled = points / 1000.0 if known == "um" else points * MILLIMETRES[known]
    return scaled, f"points taken as {known} (bounding box {size})" + (
        ", converted to mm" if known != "mm" else ""
    )
