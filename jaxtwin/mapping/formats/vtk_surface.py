"""A surface with LATs at its nodes: VTK files (legacy, .vtp, .vtu), or openCARP files without LATs."""

import numpy as np

from ..._results import InputError
from ...anatomy import MeshFile, Surface, read_mesh
from ..columns import LATS, plain
from ..data import SENTINEL
from ..plausibility import not_activated
from ..study import Map, Study
from .files import Files

SUFFIXES = ".vtk", ".vtp", ".vtu", ".pts"
MOST_COLUMNS = 64  # of one array that are kept


def recognises(files: Files) -> bool:
    """Whether there is a surface: VTK by its first bytes, openCARP by its nodes with elements beside them."""
    return bool(_found(files))


def _found(files: Files) -> list[str]:
    found = []
    for name in files.names:
        suffix = name[name.rfind(".") :].lower()
        last = name.rpartition("/")[2]
        if suffix == ".pts" and files.beside(name, f"{last[:-4]}.elem") is not None:
            found.append(name)
        elif suffix in SUFFIXES[:3]:
            head = files.head(name, 1000)
            if head.startswith(b"# vtk DataFile") or b"<VTKFile" in head:
                found.append(name)
    alone = files.names == (files.path.name,) and files.path.suffix == ".pts"
    # one file of openCARP given by its name: the others are in the same folder
    return found or ([files.path.name] if alone and files.path.with_suffix(".elem").is_file() else [])


def read(files: Files, identity: bool) -> Study:
    """A map of one surface, its LATs from the array that is named like them: lat_ms, LAT, activation, ...
    (see `LATS`), whatever the case. Arrays of other numbers stay as fields under their own names, those of
    vectors as one field for each component.

    LATs of -9000 and less are missing; so are marks for "not activated", such as -1 (see `not_activated`).
    `identity` keeps the name of the file, as that of the map.

    Raises `InputError` for several surfaces in one place, for volumes, for damage, and for archives, which
    have to be unpacked.
    """
    found = _found(files)
    if len(found) != 1:
        raise InputError(
            f"{files.path} with {len(found)} surfaces ({', '.join(each[:40] for each in found[:3])})",
            "one surface in VTK or openCARP format", "Give the file of one map by its name",
        )  # fmt: skip
    path = files.path / found[0] if files.path.is_dir() else files.path
    if not path.is_file() or path.name != found[0].rpartition("/")[2]:
        raise InputError(
            f"{files.path}: {found[0]}, a surface inside an archive", "the file itself",
            "Unpack the archive and give the surface by its name",
        )  # fmt: skip
    parts = [files.beside(found[0], f"{path.stem}{suffix}") for suffix in (".elem", ".lon")]
    for each in (found[0], *(parts if path.suffix == ".pts" else ())):
        if each is not None:
            files.read(each)  # its hash goes to the sources
    mesh = read_mesh(path)
    if mesh.mesh.corners != 3:
        raise InputError(
            f"{path} with cells of {mesh.mesh.corners} corners", "a surface of triangles",
            "Extract the surface of the chamber first",
        )  # fmt: skip
    notes: list[str] = [each for each in mesh.notes if each.startswith("points taken as")]
    fields = _fields(mesh, notes)
    placeholder = any("placeholder" in note for note in mesh.notes)
    surface = Surface(
        mesh.mesh.points, mesh.mesh.cells, fields=fields, regions=mesh.mesh.regions,
        fibres=None if placeholder else mesh.mesh.fibres,
    )  # fmt: skip
    label = path.stem if identity else "map"
    version = "openCARP" if path.suffix == ".pts" else "VTK"
    one = Map(label, surface, notes=tuple(notes))
    return Study("surface", version, (one,), notes=tuple(files.notes), sources=files.sources)


def is_lat(name: str) -> bool:
    """Whether an array is named like LATs (see `LATS`), whatever its case and punctuation."""
    return _plain(name) in map(_plain, LATS)


def _plain(name: str) -> str:
    return plain(name).removesuffix("_ms")


def _fields(mesh: MeshFile, notes: list[str]) -> dict[str, np.ndarray]:
    count = len(mesh.mesh.points)
    fields: dict[str, np.ndarray] = {}
    candidates = {}
    for name, array in mesh.point_data.items():
        with np.errstate(all="ignore"):
            number = array.dtype.kind in "biuf" and count > 0
            table = np.asarray(array, np.float64).reshape(count, -1) if number else np.zeros((0, 0))
        if not table.size or table.shape[1] > MOST_COLUMNS:
            notes.append(f"array {name[:40]!r} not read: it has no numbers, or too many, at each node")
            continue
        table = np.where(np.isfinite(table), table, np.nan)
        if table.shape[1] == 1 and is_lat(name):
            candidates[name] = table[:, 0]
        elif table.shape[1] == 1:
            fields[name] = table[:, 0]
        else:
            fields |= {f"{name}_{k}": column for k, column in enumerate(table.T)}
    order = [_plain(each) for each in LATS]
    ranked = sorted(
        candidates, key=lambda name: (order.index(_plain(name)), not name.lower().endswith("_ms"))
    )
    if not ranked:
        notes.append("no array of LATs: none is named like one (lat_ms, LAT, activation, ...)")
    for name in ranked[1:]:
        fields[name if name not in (*fields, "lat_ms") else f"{name} of the file"] = candidates[name]
        notes.append(f"array {name[:40]!r} kept under its own name: LATs are taken from {ranked[0][:40]!r}")
    if ranked:
        lat = candidates[ranked[0]]
        missing = lat <= SENTINEL
        silent = not_activated(mesh.mesh.points, np.where(missing, np.nan, lat))
        if missing.any():
            notes.append(
                f"{int(missing.sum())} nodes without a LAT: {SENTINEL:g} ms or less stands for missing"
            )
        for value in np.unique(lat[silent]):
            notes.append(
                f"{int((lat[silent] == value).sum())} nodes without a LAT: {value:g} stands for not activated"
            )
        fields["lat_ms"] = np.where(missing | silent, np.nan, lat)
        if not np.isfinite(fields["lat_ms"]).any():
            notes.append(f"array {ranked[0][:40]!r} without a single LAT")
    return fields
