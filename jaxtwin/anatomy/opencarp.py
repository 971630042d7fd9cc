"""openCARP meshes and vertex files: `.pts`, `.elem`, `.lon`, `.vtx` and `.dat`.

Source: openCARP user's manual, file formats (Plank et al. 2021, doi 10.1016/j.cmpb.2021.106223). The
format says micrometres; files in millimetres and fibre files without their header line exist and are
recognised.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from .._files import atomic_write, parse_numbers, read_bytes
from .._results import InputError
from .grid import Grid, MeshFile
from .mesh import Mesh
from .simplices import LINE, NODES, QUADRILATERAL, TETRAHEDRON, TRIANGLE

KINDS = {b"Ln": LINE, b"Tr": TRIANGLE, b"Tt": TETRAHEDRON, b"Qd": QUADRILATERAL}
SUFFIXES = (".pts", ".elem", ".lon")
LETTERS_TO_BLANKS = bytes(32 if chr(code).isalpha() else code for code in range(128)) + bytes(range(128, 256))
NEWLINE = 10


def read_opencarp(path: str | Path, unit: str = "auto") -> MeshFile:
    """Reads the mesh of `STEM.pts`, `STEM.elem` and, if it exists, `STEM.lon`.

    `path` is one of the three or the stem. `unit` is that of the points: "auto" distinguishes micrometres
    from millimetres by the bounding box. A second axis in the `.lon` file is kept as cell array "sheets".

    Raises `InputError`, with file and line, for files that are truncated, damaged or do not belong together.
    """
    stem = _stem(path)
    points_path, cells_path, fibres_path = (stem.with_name(stem.name + suffix) for suffix in SUFFIXES)
    points = _Rows.read(points_path)
    points = points.body(points.announced(), "points").block(3, np.float64)
    types, offsets, connectivity, tags = _read_cells(cells_path)
    cell_data, notes, sources = {"regions": tags}, (), (points_path, cells_path)
    if fibres_path.exists():
        axes, notes = _read_axes(fibres_path, len(types))
        cell_data |= axes
        sources += (fibres_path,)
    else:
        notes = (f"no fibre file {fibres_path.name}",)
    return Grid(points, types, offsets, connectivity, {}, cell_data).mesh_file(
        *sources, unit=unit, notes=notes
    )


def write_opencarp(path: str | Path, mesh: Mesh, sheets: Float[np.ndarray, "cells 3"] | None = None) -> None:
    """Writes `STEM.pts` in micrometres, `STEM.elem` and `STEM.lon`; `path` is the stem or one of them.

    Points of a plane mesh get z = 0. `sheets` are the second axes of the `.lon` file.
    """
    stem = _stem(path)
    kind = next(name.decode() for name, kind in KINDS.items() if NODES[kind] == mesh.corners)
    pad = ((0, 0), (0, 3 - mesh.dim))
    axes = [np.pad(mesh.fibres, pad)] + ([] if sheets is None else [sheets])
    tagged = np.column_stack([mesh.cells, mesh.regions])
    tables = {
        ".pts": (str(len(mesh.points)), "", np.pad(mesh.points, pad) * 1000.0, "%.17g"),
        ".elem": (str(len(mesh.cells)), kind + " ", tagged, "%d"),
        ".lon": (str(len(axes)), "", np.concatenate(axes, axis=1), "%.17g"),
    }
    for suffix, (header, lead, table, form) in tables.items():
        _write_table(stem.with_name(stem.name + suffix), header, lead, table, form)


def read_vtx(path: str | Path, nodes: int | None = None) -> Int[np.ndarray, " vertices"]:
    """Reads node indices, from 0, from a `.vtx` file: a count, optionally `intra` or `extra`, and the
    indices.

    `nodes` is the number of nodes of the mesh, if known. Raises `InputError`, with file and line, for files
    that are damaged and for an index beyond the nodes of the mesh.
    """
    rows = _Rows.read(path)
    count = rows.announced()
    second = rows.words(1)
    domain = len(second) == 1 and second[0].lower() in (b"intra", b"extra")
    if not domain and len(second) == 1 and second[0].isalpha():
        raise rows.refusal(
            1, f"{second[0].decode('latin-1')[:20]!r} where 'intra', 'extra' or an index should be"
        )
    body = rows.body(count, "vertices", skip=2 if domain else 1)
    ids = body.block(1, np.int64)[:, 0]
    wrong = (ids < 0) | (ids >= (np.iinfo(np.int64).max if nodes is None else nodes))
    if wrong.any():
        bad = int(np.argmax(wrong))
        mesh = "" if nodes is None else f", on a mesh of {nodes} nodes"
        raise InputError(
            f"{body.path.name} with the index {ids[bad]}, at line {body.lines[bad]}{mesh} "
            f"({int(wrong.sum())} such)",
            "indices from 0" + ("" if nodes is None else f" to {nodes - 1}"),
            "Check that both files belong together and that indices are counted from 0",
        )
    return ids


def write_vtx(path: str | Path, ids: Int[np.ndarray, " vertices"], domain: str = "extra") -> None:
    """Writes indices of nodes, from 0, as a `.vtx` file of the `domain` "intra" or "extra"."""
    if domain not in ("intra", "extra"):
        raise InputError(f"domain {domain!r}", "intra or extra", "Use extra unless the mesh has a bath")
    _write_table(Path(path), f"{len(ids)}\n{domain}", "", ids[:, None], "%d")


def read_dat(path: str | Path) -> Float[np.ndarray, " nodes"]:
    """One value per node from a `.dat` file. openCARP writes -1 for a node that was not activated."""
    return _Rows.read(path).block(1, np.float64)[:, 0]


def write_dat(path: str | Path, values: Float[np.ndarray, " nodes"]) -> None:
    """Writes one value per node as a `.dat` file."""
    text = ("%.17g\n" * len(values)) % tuple(values.tolist())
    with atomic_write(path) as stream:
        stream.write(text.encode())


def _stem(path: str | Path) -> Path:
    path = Path(path)
    return path.with_suffix("") if path.suffix in SUFFIXES else path


def _write_table(path: Path, header: str, lead: str, table: np.ndarray, form: str):
    row = lead + " ".join([form] * table.shape[1]) + "\n"
    with atomic_write(path) as stream:
        stream.write(f"{header}\n".encode())
        stream.write(((row * len(table)) % tuple(table.ravel().tolist())).encode())


@dataclass(frozen=True)
class _Rows:
    """The non-empty lines of a text file, as positions in its bytes."""

    path: Path
    text: bytes
    starts: np.ndarray  # position of the first word of each row
    counts: np.ndarray  # words of each row
    lines: np.ndarray  # line number of each row, from 1

    @classmethod
    def read(cls, path: str | Path) -> "_Rows":
        text = read_bytes(path)
        letters = np.frombuffer(text, np.uint8)
        blank = letters <= ord(" ")
        words = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]]))
        line = np.searchsorted(np.flatnonzero(letters == NEWLINE), words)
        lines, first, counts = np.unique(line, return_index=True, return_counts=True)
        return cls(Path(path), text, words[first], counts, lines + 1)

    def words(self, row: int) -> list[bytes]:
        end = self.starts[row + 1] if row + 1 < len(self.starts) else len(self.text)
        return self.text[self.starts[row] : end].split() if row < len(self.starts) else []

    def announced(self) -> int:
        """The count in the first row."""
        words = self.words(0)
        if len(words) != 1 or len(words[0]) > 15 or not words[0].isdigit():
            raise self.refusal(0, "no count")
        return int(words[0])

    def body(self, count: int, what: str, skip: int = 1) -> "_Rows":
        """The `count` rows after the first `skip`."""
        rows = self.after(skip)
        if len(rows.starts) != count:
            raise self.refusal(
                len(self.starts) - 1, f"{len(rows.starts)} {what} where its first line announces {count}"
            )
        return rows

    def after(self, skip: int) -> "_Rows":
        return _Rows(self.path, self.text, self.starts[skip:], self.counts[skip:], self.lines[skip:])

    def block(self, columns: int, dtype: type) -> np.ndarray:
        """All rows as an array, (rows, columns)."""
        wrong = self.counts != columns
        if wrong.any():
            bad = int(np.argmax(wrong))
            raise self.refusal(bad, f"{self.counts[bad]} values instead of {columns}")
        return self.numbers(self.text, dtype).reshape(-1, columns)

    def numbers(self, text: bytes, dtype: type) -> np.ndarray:
        """The numbers of all rows as a flat array, from `text` or a version of it with the same positions."""
        if not len(self.starts):
            return np.zeros(0, dtype)
        flat = parse_numbers(text[self.starts[0] :], dtype)
        if flat is None:
            ends = [*self.starts[1:].tolist(), len(text)]
            each = (
                parse_numbers(text[start:end], dtype) for start, end in zip(self.starts, ends, strict=True)
            )
            bad = next(row for row, found in enumerate(each) if found is None)
            raise self.refusal(bad, "something that is not a number")
        return flat

    def refusal(self, row: int, got: str) -> InputError:
        line = self.lines[min(row, len(self.lines) - 1)] if len(self.lines) else 1
        return InputError(
            f"{self.path.name} with {got}, at line {line}",
            f"a complete openCARP {self.path.suffix} file",
            "Look at that line; a file cut short while it was copied is a common cause",
        )


def _read_cells(path: Path):
    """VTK types, offsets, connectivity and tags of an `.elem` file."""
    rows = _Rows.read(path)
    rows = rows.body(rows.announced(), "elements")
    text = np.frombuffer(rows.text + b"  ", np.uint8)
    names = np.stack([text[rows.starts], text[rows.starts + 1], text[rows.starts + 2]], axis=1)
    corners, types = np.zeros((2, len(rows.starts)), np.int64)
    for name, kind in KINDS.items():
        named = (names[:, :2] == np.frombuffer(name, np.uint8)).all(axis=1) & (names[:, 2] <= ord(" "))
        corners[named], types[named] = NODES[kind], kind
    if (corners == 0).any():
        bad = int(np.argmin(corners))
        name = rows.words(bad)[0][:20].decode("latin-1")
        raise rows.refusal(
            bad, f"an element of type {name!r}, which is none of Ln, Tr, Qd and Tt (split it first)"
        )
    spare = rows.counts - 1 - corners  # the tag, which is optional
    if (spare.size and not (spare == spare[0]).all()) or not np.isin(spare, (0, 1)).all():
        bad = int(np.argmax((spare != spare[0]) | (spare < 0) | (spare > 1)))
        raise rows.refusal(
            bad, f"{rows.counts[bad] - 1} numbers for an element of {corners[bad]} nodes and a tag"
        )
    flat = rows.numbers(rows.text.translate(LETTERS_TO_BLANKS), np.int64)
    if flat.size != (corners + spare).sum():
        numbers = (b" ".join(rows.words(row)[1:]) for row in range(len(corners)))
        bad = next((row for row, text in enumerate(numbers) if text.translate(LETTERS_TO_BLANKS) != text), 0)
        raise rows.refusal(bad, "letters among its numbers")
    ends = np.cumsum(corners + spare)
    tagged = bool(spare.size and spare[0])
    tags = flat[ends - 1] if tagged else np.zeros(len(corners), np.int64)
    nodes = np.delete(flat, ends - 1) if tagged else flat
    return types, np.concatenate([[0], np.cumsum(corners)]), nodes, tags


def _read_axes(path: Path, cells: int):
    """Arrays "fibres" and optionally "sheets" of a `.lon` file, and notes."""
    rows = _Rows.read(path)
    notes = ()
    first = rows.words(0)
    if len(first) == 1:
        if first[0] not in (b"1", b"2"):
            raise rows.refusal(0, "a header that is neither 1 nor 2")
        axes, rows = int(first[0]), rows.after(1)
    else:
        axes = 2 if len(first) == 6 else 1
        notes = (f"no header line in {path.name}",)
    if len(rows.starts) != cells:
        raise rows.refusal(len(rows.starts) - 1, f"{len(rows.starts)} fibres for {cells} elements")
    table = rows.block(3 * axes, np.float64)
    return {"fibres": table[:, :3]} | ({"sheets": table[:, 3:]} if axes == 2 else {}), notes
