"""Cells of any kind as files contain them, and the simplex mesh made of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from .._results import InputError
from .arrays import find_fibres, find_regions
from .fibres import place_fibres
from .mesh import Mesh
from .simplices import simplices

MILLIMETRES = {"um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}


@dataclass(frozen=True)
class MeshFile:
    """A mesh with everything its file contains.

    - `mesh`: simplices of one kind, mm.
    - `point_data`: arrays with one row per node, by name.
    - `cell_data`: arrays with one row per cell of `mesh`, by name, as in the file.
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

    def mesh_file(self, *sources: Path, unit: str = "auto", notes: tuple[str, ...] = ()) -> MeshFile:
        """The mesh in mm with its fibres and regions; the other cells are dropped.

        `unit` is the unit of the points: "um", "mm", "cm", "m", or "auto" to tell micrometres from
        millimetres by the size of the bounding box. Fibres and regions are known by their names, see
        `find_fibres` and `find_regions`.
        """
        # Damaged files hold any bit pattern: the checks report them, not arithmetic warnings.
        with np.errstate(all="ignore"):
            cells, parent, split_notes = simplices(self.points, self.types, self.offsets, self.connectivity)
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
    # Dividing by 1000 recovers the double that a writer multiplied by it, or its neighbour.
    scaled = points / 1000.0 if known == "um" else points * MILLIMETRES[known]
    return scaled, f"points taken as {known} (bounding box {size})" + (
        ", converted to mm" if known != "mm" else ""
    )
