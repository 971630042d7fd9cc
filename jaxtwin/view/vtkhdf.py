"""Temporal VTKHDF: a mesh, its fields over time and their provenance in one file for ParaView.

Follows the VTKHDF specification 2.2, `UnstructuredGrid` with one partition and a `Steps` group:
https://docs.vtk.org/en/latest/vtk_file_formats/vtkhdf_file_format/vtkhdf_specifications.html.
The geometry is stored once; every step points back to it with offsets of zero. The root-level group
`jaxtwin`, which the specification tells readers to ignore, holds the provenance and the conventions.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from jaxtyping import Array, Float

from .._files import atomic_write
from .._results import InputError, SolveError
from ..anatomy import Mesh

NOT_ACTIVATED = -10000.0  # as mapping systems write it; -1 may be a valid LAT of a map
ACTIVATION_NAMES = frozenset({"activation_ms", "lat_ms"})

_CELL_TYPES = {2: 3, 3: 5, 4: 10}  # corners -> VTK_LINE, VTK_TRIANGLE, VTK_TETRA
_MESH_FIELDS = ("fibres", "regions")
_COMPONENTS = 9  # a 3 x 3 tensor; more columns indicate a wrong shape


class Result(NamedTuple):
    """What `read_vtkhdf` returns.

    Temporal arrays are (steps, nodes or cells[, components]), static ones (nodes or cells[, components]).
    """

    mesh: Mesh
    times_ms: np.ndarray
    point_data: dict[str, np.ndarray]
    cell_data: dict[str, np.ndarray]
    provenance: dict[str, Any]


def write_vtkhdf(
    path: str | Path,
    mesh: Mesh,
    *,
    times_ms: Float[np.ndarray | Array, " steps"],
    point_data: Mapping[str, Any] | None = None,
    cell_data: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    activation: frozenset[str] = ACTIVATION_NAMES,
) -> None:
    """Writes `mesh` and its fields to `path` (usually `.vtkhdf`) atomically.

    - `times_ms`: (steps,), ms, increasing.
    - `point_data`, `cell_data`: name -> (steps, entries), (steps, entries, components), or the same
      without steps for a field that does not change. Fibres and regions of the mesh are always written.
    - `provenance`: anything JSON can hold.
    - `activation`: names of the arrays (ms) in which NaN means "not activated": activation times, and what
      exists only with them.

    NaN never reaches the file: in the `activation` arrays it is written as -10000, which an attribute of the
    array and of the group `jaxtwin` states; any other value that is not finite raises `SolveError`.
    Raises `InputError` for shapes, names, times and provenance that the file cannot hold.
    """
    times = np.asarray(times_ms, np.float64)
    if times.size == 0 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise InputError(
            f"{times.size} output times that are not finite and increasing",
            "at least one time in ms, each later than the one before",
            "Check the output interval",
        )
    cells = dict(cell_data or {})
    taken = sorted(set(cells) & set(_MESH_FIELDS))
    if taken:
        raise InputError(
            f"cell data called {', '.join(taken)}",
            "other names: fibres and regions are written from the mesh",
            "Rename the array or change the mesh",
        )
    cells |= {"fibres": _three(mesh.fibres), "regions": mesh.regions}
    associations = (
        ("PointData", _fields(point_data or {}, len(times), len(mesh.points), activation)),
        ("CellData", _fields(cells, len(times), len(mesh.cells), activation)),
    )
    try:
        text = json.dumps(dict(provenance or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"provenance that JSON cannot hold ({error})",
            "strings, finite numbers, booleans, lists and dictionaries",
            "Convert arrays with .tolist() and paths with str()",
        ) from error

    # HDF5 opens the file by its name: it also reads what it writes, which the stream cannot
    with atomic_write(path) as stream, h5py.File(stream.name, "w") as file:
        root = file.create_group("VTKHDF")
        root.attrs["Version"] = np.array([2, 2], np.int64)
        root.attrs["Type"] = np.bytes_("UnstructuredGrid")  # fixed length: VTK reads no variable-length Type
        _write_geometry(root, mesh)
        steps = root.create_group("Steps")
        steps.attrs["NSteps"] = len(times)
        steps["Values"] = times
        none = np.zeros(len(times), np.int64)
        steps["PartOffsets"] = none
        steps["NumberOfParts"] = none + 1
        steps["PointOffsets"] = none
        steps["CellOffsets"] = none[:, None]
        steps["ConnectivityIdOffsets"] = none[:, None]
        for association, fields in associations:
            group = root.create_group(association)
            offsets = steps.create_group(f"{association}Offsets")
            for name, (array, temporal) in fields.items():
                entries = array.shape[1]
                _compressed(group, name, array.reshape(-1, *array.shape[2:]), entries)
                group[name].attrs["temporal"] = int(temporal)
                if name in activation:
                    group[name].attrs["not_activated"] = NOT_ACTIVATED
                offsets[name] = np.arange(len(times)) * (entries if temporal else 0)
        notes = file.create_group("jaxtwin")
        notes.attrs["dim"] = mesh.dim
        notes.attrs["units"] = "mm, ms, mV"
        notes.attrs["not_activated"] = (
            "-10000 in the arrays with an attribute of this name; no array holds NaN"
        )
        notes["provenance"] = text  # a dataset: an attribute ends at 64 KiB


def read_vtkhdf(path: str | Path) -> Result:
    """Reads a file of `write_vtkhdf`; "not activated" is NaN again.

    Raises `InputError` for a file that is not VTKHDF or holds more than one partition or kind of cell.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            f"{path}, which HDF5 cannot open ({error})", "a VTKHDF file", "Check the path"
        ) from error
    with file:
        root: Any = file.get("VTKHDF")
        kind = None if root is None else root.attrs.get("Type")
        if root is None or kind != b"UnstructuredGrid":
            raise InputError(
                f"{path}, an HDF5 file of type {kind}",
                "VTKHDF of type UnstructuredGrid",
                "Choose a result file",
            )
        types = np.unique(root["Types"][:])
        corners = {code: count for count, code in _CELL_TYPES.items()}.get(int(types[0]))
        if len(types) != 1 or corners is None or len(root["NumberOfPoints"]) != 1:
            raise InputError(
                f"{path} with VTK cell types {types.tolist()} in {len(root['NumberOfPoints'])} partitions",
                "one partition of segments, triangles or tetrahedra",
                "Convert the file with ParaView (Merge Blocks, Tetrahedralize)",
            )
        notes: Any = file.get("jaxtwin")
        dim = 3 if notes is None else int(notes.attrs["dim"])
        points = root["Points"][:, :dim]
        connectivity = root["Connectivity"][:].reshape(-1, corners)
        times = root["Steps/Values"][:] if "Steps" in root else np.zeros(0)
        point_data = _read_fields(root.get("PointData"), len(points))
        cell_data = _read_fields(root.get("CellData"), len(connectivity))
        fibres, regions = (cell_data.pop(name, None) for name in _MESH_FIELDS)
        mesh = Mesh(points, connectivity, None if fibres is None else fibres[:, :dim], regions)
        provenance = {} if notes is None else json.loads(notes["provenance"].asstr()[()])
    return Result(mesh, times, point_data, cell_data, provenance)


def _fields(data, steps, entries, activation) -> dict[str, tuple[np.ndarray, bool]]:
    """name -> ((steps or 1, entries[, components]), temporal), checked."""
    fields = {}
    for name, values in data.items():
        array = np.asarray(values)
        temporal = array.shape[:2] == (steps, entries) and array.ndim in (2, 3)
        static = array.shape[:1] == (entries,) and array.ndim in (1, 2)
        components = array.shape[2 if temporal else 1 :]
        if (
            not (temporal or static)
            or array.dtype.kind not in "fiub"
            or any(c > _COMPONENTS for c in components)
        ):
            raise InputError(
                f"an array '{name}' of shape {array.shape} and type {array.dtype}",
                f"numbers of shape ({entries},), ({steps}, {entries}), or those with up to "
                f"{_COMPONENTS} components at the end",
                "Check that the array belongs to this mesh and to these times",
            )
        if not name or "/" in name or name.startswith("."):
            raise InputError(
                f"an array called '{name}'", "a name without a slash or leading dot", "Rename it"
            )
        if array.dtype.kind == "b":
            array = array.astype(np.uint8)  # HDF5 stores booleans as an enumeration, which VTK cannot read
        if name in activation:
            array = _mark_not_activated(name, array)
        finite = np.isfinite(array)
        if not finite.all():
            raise SolveError(
                f"{int((~finite).sum())} of {array.size} values of '{name}' are NaN or infinite: the "
                "computation failed and no result file was written. Try a smaller time step and check "
                "the parameters."
            )
        fields[name] = (array if temporal else array[None], temporal)
    return fields


def _mark_not_activated(name: str, array: np.ndarray) -> np.ndarray:
    if (array == NOT_ACTIVATED).any():
        raise InputError(
            f"an activation time of exactly {NOT_ACTIVATED:g} ms in '{name}'",
            "NaN for not activated: that number has this meaning in the file",
            "Replace it by NaN",
        )
    return np.where(np.isnan(array), np.asarray(NOT_ACTIVATED, array.dtype), array)


def _write_geometry(root: h5py.Group, mesh: Mesh) -> None:
    count, corners = mesh.cells.shape
    for name, number in (
        ("Points", len(mesh.points)),
        ("Cells", count),
        ("ConnectivityIds", mesh.cells.size),
    ):
        root[f"NumberOf{name}"] = np.array([number], np.int64)
    _compressed(root, "Points", _three(mesh.points), len(mesh.points))
    _compressed(root, "Connectivity", mesh.cells.astype(np.int64).ravel(), mesh.cells.size)
    _compressed(root, "Offsets", np.arange(count + 1, dtype=np.int64) * corners, count + 1)
    _compressed(root, "Types", np.full(count, _CELL_TYPES[corners], np.uint8), count)


def _compressed(group: h5py.Group, name: str, array: np.ndarray, rows: int) -> None:
    """One step per chunk, the unit in which a viewer reads."""
    group.create_dataset(
        name,
        data=array,
        chunks=(rows, *array.shape[1:]),
        compression="gzip",
        compression_opts=4,
        shuffle=True,
    )


def _three(vectors: np.ndarray) -> np.ndarray:
    """Vectors with three coordinates, as VTK requires."""
    return np.pad(vectors, ((0, 0), (0, 3 - vectors.shape[1])))


def _read_fields(group: h5py.Group | None, entries: int) -> dict[str, np.ndarray]:
    fields = {}
    for name, dataset in (group or {}).items():
        array = dataset[:]
        if dataset.attrs.get("temporal", len(array) != entries):
            array = array.reshape(-1, entries, *array.shape[1:])
        if "not_activated" in dataset.attrs:
            array = np.where(array == dataset.attrs["not_activated"], np.asarray(np.nan, array.dtype), array)
        fields[name] = array
    return fields
