"""Mesh files of any supported format: reading and writing."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import lazy_loader
import numpy as np

from .._files import read_bytes
from .._results import InputError
from .._signatures import signature
from .grid import Grid, MeshFile
from .mesh import Mesh
from .opencarp import SUFFIXES, read_opencarp, write_opencarp
from .simplices import LINE, POLYGON, TETRAHEDRON, TRIANGLE
from .vtk_legacy import read_vtk_legacy
from .vtk_xml import read_vtk_xml, write_vtu

meshio: Any = lazy_loader.load("meshio")  # slow to import, and only needed for other formats

# Other readers of meshio 5.3.5 (ANSYS, OFF, Tecplot, TetGen, WKT) never end on files that were cut short.
MESHIO_NAMES = {
    ".msh": "gmsh",
    ".stl": "stl",
    ".ply": "ply",
    ".obj": "obj",
    ".mesh": "medit",
    ".inp": "abaqus",
}
MESHIO_NAMES |= {".xdmf": "xdmf", ".med": "med"}
MESHIO_TYPES = {"vertex": 1, "line": LINE, "triangle": TRIANGLE, "polygon": POLYGON, "tetra": TETRAHEDRON}
MESHIO_TYPES |= {"quad": 9, "hexahedron": 12, "wedge": 13, "pyramid": 14}
MESHIO_TYPES |= {"line3": 21, "triangle6": 22, "quad8": 23, "tetra10": 24, "quad9": 28}
OTHER_TYPES = (2, 35, 34, 25)  # of dimension 0 to 3, for cells that are not split


def read_mesh(path: str | Path, unit: str = "auto") -> MeshFile:
    """Reads a mesh file: openCARP (one of its files or their stem), legacy VTK, `.vtu`, `.vtp`, and through
    meshio Gmsh, STL, PLY, OBJ, Medit, Abaqus, XDMF and MED.

    **Arguments:** `unit`: of the points, "um", "mm", "cm" or "m"; "auto" distinguishes micrometres from
    millimetres by the size of the bounding box.

    **Returns:** a `MeshFile`: the mesh in mm, its arrays, and notes.

    **Raises:** `InputError` for files that are missing, damaged, of an unknown format, or without simplices.

    **Example:** `mesh = jt.read_mesh("case/heart.vtu").mesh`
    """
    path = Path(path)
    if path.suffix in SUFFIXES or (not path.is_file() and path.with_name(path.name + ".pts").is_file()):
        return read_opencarp(path, unit)
    start = read_bytes(path, 1000)
    if start.startswith(b"# vtk DataFile"):
        return read_vtk_legacy(path, unit)
    if b"<VTKFile" in start or path.suffix in (".vtu", ".vtp"):
        return read_vtk_xml(path, unit)
    if (found := signature(start)) and path.suffix.lower() not in (".med", ".xdmf"):  # these are HDF5 inside
        raise InputError(f"{path.name}, which is {found.name}", "a mesh", found.do)
    return _read_with_meshio(path, unit)


def write_mesh(
    path: str | Path,
    mesh: Mesh,
    point_data: dict[str, np.ndarray] | None = None,
    cell_data: dict[str, np.ndarray] | None = None,
) -> None:
    """Writes a mesh as `.vtu`, or as openCARP files if `path` is a stem or ends in `.pts`.

    **Arguments:** `point_data`, `cell_data`: arrays by name, with one row per node or cell. openCARP files
    hold only fibres, regions and the cell array "sheets" (the second axes).

    **Raises:** `InputError` for other endings, and for arrays that the format cannot hold.

    **Example:** `jt.write_mesh("heart.vtu", mesh, point_data={"lat_ms": lat_ms})`
    """
    path = Path(path)
    if path.suffix == ".vtu":
        return write_vtu(path, mesh, point_data, cell_data)
    if path.suffix not in ("", *SUFFIXES):
        raise InputError(
            f"the file name {path.name}", "a name that ends in .vtu or .pts", "Choose one of the two"
        )
    others = {**(point_data or {}), **(cell_data or {})}
    sheets = others.pop("sheets", None)
    lost = [name for name in others if name not in ("fibres", "regions")]
    if lost:
        raise InputError(
            f"arrays {', '.join(lost)} for openCARP files, which cannot hold them",
            "a mesh with fibres and regions only",
            "Write .vtu instead, or the arrays on their own with write_dat",
        )
    return write_opencarp(path, mesh, sheets)


def _read_with_meshio(path: Path, unit: str) -> MeshFile:
    name = MESHIO_NAMES.get(path.suffix.lower())
    # Its PLY reader never returns without this word.
    if name is None or (name == "ply" and b"end_header" not in read_bytes(path, 100_000)):
        raise _unknown(path, "not in a known format")
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = meshio.read(path, name)
    # Its readers raise arbitrary exceptions, and call sys.exit for unknown formats.
    except (Exception, SystemExit) as error:
        raise _unknown(path, " ".join(f"{said.getvalue() or error}".split())[:300]) from error
    points = np.asarray(found.points, np.float64)
    if points.ndim != 2 or not 1 <= points.shape[1] <= 3 or not found.cells:
        raise InputError(
            f"{path.name} without points in space or without cells", "a mesh", "Export the mesh again"
        )
    kinds, counts, nodes = zip(*map(_layout, found.cells), strict=True)
    point_data, lost_points = _numeric(found.point_data)
    cell_data, lost_cells = _numeric({name: np.concatenate(parts) for name, parts in found.cell_data.items()})
    return Grid(
        points=np.pad(points, ((0, 0), (0, 3 - points.shape[1]))),
        types=np.concatenate(kinds),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(counts))]),
        connectivity=np.concatenate(nodes),
        point_data=point_data,
        cell_data=cell_data,
    ).mesh_file(path, unit=unit, notes=(*lost_points, *lost_cells))


def _unknown(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path.name}, which cannot be read as a mesh ({reason})",
        f"openCARP, VTK (.vtk, .vtu, .vtp) or one of {', '.join(MESHIO_NAMES)}",
        "Check that the ending fits the content, or convert the file to .vtu",
    )


def _layout(block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Types, counts and nodes of a block of cells; polyhedra, which are rejected later, without their
    nodes."""
    rows = np.zeros((len(block.data), 0), np.int64) if block.type.startswith("polyhedron") else block.data
    kinds = np.full(len(rows), MESHIO_TYPES.get(block.type, OTHER_TYPES[block.dim]))
    return kinds, np.full(len(rows), rows.shape[1]), rows.ravel().astype(np.int64)


def _numeric(data) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    arrays = {name: np.asarray(array) for name, array in data.items()}
    kept = {name: array for name, array in arrays.items() if array.dtype.kind in "buif"}
    return kept, tuple(f"array {name!r} dropped: not numbers" for name in arrays if name not in kept)
