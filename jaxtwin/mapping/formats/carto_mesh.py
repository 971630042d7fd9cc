"""Surfaces of CARTO 3: `.mesh`, triangulated mesh version 2.0."""

import re

import numpy as np

from ..._files import parse_numbers
from ..._results import InputError
from ...anatomy import Surface
from .files import Files

MARK = b"#TriangulatedMeshVersion"
INACTIVE = -1_000_000  # group of deleted vertices and triangles that are still listed
MISSING = -10_000.0
FIELDS = {
    "unipolar": "unipolar_mv", "bipolar": "bipolar_mv", "lat": "lat_ms", "impedance": "impedance_ohm",
    "force": "force_g",
}  # fmt: skip
MOST = 50_000_000  # vertices or triangles


def read_carto_mesh(files: Files, name: str) -> tuple[Surface, list[str]]:
    """The surface of a `.mesh` file and what was left out of it.

    Inactive vertices are dropped and the others counted anew; triangles of other groups below 0 are cut out;
    -10000 is missing. Raises `InputError`, with section and line, for damage.
    """
    where = f"{files.path}: {name}"
    text = files.read(name)
    if not text.startswith(MARK):
        raise InputError(
            f"{where}, which does not begin with {MARK.decode()}", "a CARTO mesh", "Export it again"
        )
    sections = _sections(text, where)
    notes = []
    rows = _rows(sections, b"VerticesSection", 8, where)
    triangles = _rows(sections, b"TrianglesSection", 8, where)
    for key, found in ((b"NumVertex", rows), (b"NumTriangle", triangles)):
        if len(found) < (declared := _declared(sections, key)):
            raise InputError(
                f"{where} with {len(found)} rows where {key.decode()} = {declared}", "all of them",
                "The file was cut short: export it again",
            )  # fmt: skip
    number, group = rows[:, 0].astype(np.int64), rows[:, 7]
    if len(np.unique(number)) < len(number) or (len(number) and not 0 <= number.min() <= number.max() < MOST):
        raise InputError(f"{where} with vertices that share a number", "one number each", "Export it again")
    active = group != INACTIVE
    place = np.full(int(number.max(initial=-1)) + 1, -1)
    place[number[active]] = np.arange(active.sum())
    corners, kind = triangles[:, 1:4].astype(np.int64), triangles[:, 7]
    if len(corners) and not 0 <= corners.min() <= corners.max() < len(place):
        raise InputError(
            f"{where} with triangles of vertices {corners.min()} to {corners.max()}",
            f"vertices 0 to {len(place) - 1}", "Export it again",
        )  # fmt: skip
    cells = place[corners]
    whole = (kind != INACTIVE) & (cells >= 0).all(axis=1)
    for what, dropped in (("vertices", ~active), ("triangles", ~whole)):
        if dropped.any():
            notes.append(f"{int(dropped.sum())} inactive {what} of {len(dropped)} dropped")
    matrix = re.search(rb"^Matrix\s*=([^\r\n]*)", sections[b"GeneralAttributes"], re.M)
    moved = None if matrix is None else parse_numbers(matrix[1])
    if moved is not None and not np.array_equal(moved, np.eye(4).ravel()):
        notes.append("its matrix is not the identity and was not applied: see whether points and surface fit")
    fields, more = _fields(sections, number, active, where)
    surface = Surface(rows[active, 1:4], cells[whole], cut_out=kind[whole] < 0, fields=fields)
    return surface, notes + more


def _sections(text: bytes, where: str) -> dict[bytes, bytes]:
    """Name -> text. A section name may be at the end of another line."""
    marks = list(re.finditer(rb"\[([A-Za-z]+)\][^\S\n]*\r?\n", text))
    # a name in a comment belongs to the comment, not to what follows
    marks = [mark for mark in marks if mark[1] != b"ColorsScaleSection"]
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    found = {mark[1]: text[mark.end() : end] for mark, end in zip(marks, ends, strict=False)}
    for needed in (b"GeneralAttributes", b"VerticesSection", b"TrianglesSection"):
        if needed not in found:
            raise InputError(
                f"{where} without [{needed.decode()}]",
                "a whole mesh",
                "The file was cut short: export it again",
            )
    return found


def _rows(sections: dict[bytes, bytes], name: bytes, columns: int, where: str) -> np.ndarray:
    """The numbers of a section, its row number first."""
    lines = [
        line for line in sections[name].splitlines() if line.strip() and not line.lstrip().startswith(b";")
    ]
    if not lines:
        return np.zeros((0, columns))
    found = parse_numbers(b"\n".join(lines).replace(b"=", b" "))
    if found is not None and found.size == len(lines) * columns and lines[0].count(b"=") == 1:
        return found.reshape(-1, columns)
    for line in lines:
        values = parse_numbers(line.replace(b"=", b" "))
        if values is None or len(values) != columns or line.count(b"=") != 1:
            raise InputError(
                f"{where} [{name.decode()}]: {line[:60].decode('cp1252', 'replace')!r}",
                f"a number, = and {columns - 1} numbers", "Export it again: this file is damaged",
            )  # fmt: skip
    raise InputError(f"{where} [{name.decode()}], which is damaged", "rows of numbers", "Export it again")


def _declared(sections: dict[bytes, bytes], key: bytes) -> int:
    found = re.search(rb"^" + key + rb"\s*=\s*(\d{1,9})\s*$", sections[b"GeneralAttributes"], re.M)
    return int(found[1]) if found else 0


def _fields(sections: dict[bytes, bytes], number, active, where: str) -> tuple[dict, list[str]]:
    """What the system interpolated to the active vertices. The section is absent where a map has no
    points."""
    name = b"VerticesColorsSection"
    if name not in sections:
        return {}, []
    lines = sections[name].splitlines()
    data = [line for line in lines if line.strip() and not line.lstrip().startswith(b";")]
    if not data:
        return {}, []
    width = data[0].replace(b"=", b" ").split()
    titles = next((line[1:] for line in reversed(lines) if line.startswith(b";")), b"")
    titles = titles.split(b"[")[0].decode("cp1252", "replace").split()
    rows = _rows(sections, name, len(width), where)
    if not np.isin(rows[:, 0], number).all() or len(np.unique(rows[:, 0])) < len(rows):
        raise InputError(
            f"{where} [{name.decode()}] with rows of other vertices", "one row each", "Export it again"
        )
    order = np.full(int(number.max()) + 1, -1)
    order[rows[:, 0].astype(np.int64)] = np.arange(len(rows))
    at = order[number[active]]
    values = np.where(at[:, None] >= 0, rows[at, 1:], MISSING)
    values[values <= MISSING] = np.nan
    notes = []
    if len(titles) != values.shape[1]:
        # seen in real files: the last name runs into the title of another section, and one value has none
        notes.append(f"{values.shape[1]} values of a vertex with {len(titles)} names: the rest has no name")
    names = [*titles, *(f"value {k + 1}" for k in range(len(titles), values.shape[1]))]
    kept = {}
    for title, column in zip(names, values.T, strict=False):
        if np.isfinite(column).any():
            kept.setdefault(FIELDS.get(title.lower(), title), column)
    return kept, notes
