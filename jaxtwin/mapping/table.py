"""Maps as a table: one line for each point, for data of any system and for exchange."""

import csv
import difflib
import io
import math
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from .._files import atomic_write
from .._results import InputError, naming
from .data import MappingData

NUMBERS = (
    "x_mm",
    "y_mm",
    "z_mm",
    "lat_ms",
    "bipolar_mv",
    "unipolar_mv",
    "sigma_ms",
    "woi_from_ms",
    "woi_to_ms",
    "silent",
)
COLUMNS = (*NUMBERS[:4], "map_id", *NUMBERS[4:])
REQUIRED = ("x_mm", "y_mm", "lat_ms")
MISSING = {"", "na", "n/a", "null", "none", "-"}
# Limits that no map comes near: a wrong file is refused before it fills the memory.
MAX_BYTES, MAX_LINE, MAX_COLUMNS, MAX_MAPS, MAX_POINTS = 2**30, 2**16, 100, 10_000, 5_000_000


def read_csv(path: str | Path) -> MappingData:
    """Reads a map from a table with a header line.

    Columns in any order: `x_mm`, `y_mm`, `z_mm`, `lat_ms`, and where known `map_id` (any label),
    `bipolar_mv`, `unipolar_mv`, `sigma_ms`, `woi_from_ms`, `woi_to_ms`, `silent` (1: the catheter looked
    and found no activation). Without `z_mm` positions have two
    coordinates. Empty, NaN, infinite and -10000 mean missing. Separators are comma, semicolon or tab; with
    the last two, 1,5 is read as 1.5. Blank lines and lines that begin with # are skipped, so are columns
    with other names, which are noted.

    Raises `InputError`, with file, line and column, for what cannot be read, and for coordinates or times
    that cannot be in mm or ms.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path} with {size} bytes", "a table below 1 GB", "Export the maps one by one")
        with path.open("rb") as stream:
            header, lines = _header(path, _lines(path, stream))
            where, notes = _columns(path, header)
            return _assemble(path, where, notes, lines, len(header))
    except OSError as error:
        raise InputError(
            f"{path}, which cannot be read ({error.strerror})", "a readable file", "Check the path"
        ) from error


def write_csv(path: str | Path, data: MappingData) -> None:
    """Writes a map as `read_csv` reads it. Points that are not valid are written without their LAT.

    Raises `InputError` where the folder cannot be written.
    """
    columns = dict.fromkeys(COLUMNS)
    columns |= dict(zip(("x_mm", "y_mm", "z_mm"), data.positions.T, strict=False))
    columns["lat_ms"] = np.where(data.valid, data.lat_ms, np.nan)
    columns |= {name: getattr(data, name) for name in ("bipolar_mv", "unipolar_mv", "sigma_ms")}
    columns["silent"] = np.where(data.silent.any(), data.silent, np.nan)
    columns |= {"woi_from_ms": data.woi_ms[:, 0], "woi_to_ms": data.woi_ms[:, 1]}
    text = {
        name: ["" if math.isnan(v) else repr(v) for v in values.tolist()]
        for name, values in columns.items()
        if values is not None and (name in REQUIRED or np.isfinite(values).any())
    }
    labels = [" ".join(name.split()) for name in data.names]  # a line break inside a label would cut the row
    text["map_id"] = [labels[k] for k in data.map_index]
    with atomic_write(path) as raw, io.TextIOWrapper(raw, "utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(text)
        table.writerows(zip(*text.values(), strict=True))


def _lines(path: Path, stream: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Numbered lines that say something. A line is never read further than its limit."""
    number = 0
    while raw := stream.readline(MAX_LINE):
        number += 1
        if b"\0" in raw:
            raise InputError(
                f"{path} line {number} with null bytes",
                "plain text",
                "This is a binary file or UTF-16 text: save it as CSV in UTF-8",
            )
        if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
            raise InputError(
                f"{path} line {number} with more than {MAX_LINE} bytes",
                f"at most {MAX_COLUMNS} columns and one point on each line",
                "Check that this is a table with one point on each line",
            )
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        if text.strip() and not text.startswith("#"):
            yield number, text


def _header(path, lines):
    """Names in the header, in lower case, and the rows that follow it."""
    number, first = next(lines, (1, ""))
    separator = max(",;\t", key=first.count)
    decimal_comma = separator != ","

    def rows():
        for line, text in lines:
            try:
                (row,) = csv.reader([text], delimiter=separator, strict=True)
            except (csv.Error, ValueError) as error:
                raise InputError(
                    f"{path} line {line}, which cannot be split into columns ({error})",
                    "one point on each line, quotes closed",
                    "Correct that line",
                ) from error
            yield line, row, decimal_comma

    names = [name.strip().strip('"').strip().lower() for name in first.strip("\r\n").split(separator)]
    if len(names) > MAX_COLUMNS:
        raise InputError(
            f"{path} line {number} with {len(names)} columns",
            f"at most {MAX_COLUMNS} columns",
            "Check that the header is on the first line and that points are lines, not columns",
        )
    return names, rows()


def _columns(path, header):
    """Where each known column stands, and notes on the unknown ones."""
    double = {name for name in header if name in COLUMNS and header.count(name) > 1}
    if double:
        raise InputError(
            f"{path} with column {min(double)} more than once", "each column once", "Remove one of them"
        )
    where = {name: header.index(name) for name in COLUMNS if name in header}
    unknown = [name for name in header if name and name not in COLUMNS]
    for name in (*REQUIRED, "z_mm"):
        close = [u for u in unknown if u == name.partition("_")[0]]
        close += difflib.get_close_matches(name, [u[:40] for u in unknown], 1, 0.5)
        # z_mm may be absent on purpose, for a flat sheet; a column that looks like it says otherwise.
        if name not in where and (name in REQUIRED or close):
            raise InputError(
                f"{path} without column {name}" + (f"; column {close[0]!r} looks like it" if close else ""),
                "a header line with x_mm, y_mm, z_mm (mm) and lat_ms (ms)",
                f"Name the column {name} and give its values in the unit of that name",
            )
    notes = []
    for name in unknown:
        close = difflib.get_close_matches(name[:40], [c for c in COLUMNS if c not in where], 1)
        notes.append(f"column {name[:40]!r} not read" + (f"; was {close[0]} meant?" if close else ""))
    if "z_mm" not in where:
        notes.append("no column z_mm: positions have two coordinates")
    return where, notes


def _assemble(path, where, notes, lines, width):
    """All rows as one `MappingData`."""
    numbers = [(name, where[name]) for name in NUMBERS if name in where]
    table, labels, ids = array("d"), {}, array("q")
    for line, row, decimal_comma in lines:
        if len(row) < width or any(cell.strip() for cell in row[width:]):
            raise InputError(
                f"{path} line {line} with {len(row)} columns",
                f"{width}, as in the header",
                "Correct that line",
            )
        if len(table) >= MAX_POINTS * len(numbers):
            raise InputError(
                f"{path} with more than {MAX_POINTS} points",
                "a table of measured points",
                "Export the maps one by one",
            )
        table.extend(_number(path, line, name, row[at], decimal_comma) for name, at in numbers)
        if "map_id" in where:
            ids.append(labels.setdefault(row[where["map_id"]].strip(), len(labels)))
            if len(labels) > MAX_MAPS:
                raise InputError(
                    f"{path} with more than {MAX_MAPS} maps", "one label for each map", "Check column map_id"
                )
    values = dict(zip([n for n, _ in numbers], np.array(table).reshape(-1, len(numbers)).T, strict=True))
    positions = np.stack([values[axis] for axis in NUMBERS[:3] if axis in values], axis=1)
    absent = np.full(len(positions), np.nan)
    if len(positions) == 0:
        raise InputError(f"{path} with a header and no points", "at least one point", "Choose another map")
    with naming(path):
        return MappingData(
            positions,
            values["lat_ms"],
            silent=np.nan_to_num(values.get("silent", absent)) == 1.0,
            map_index=np.array(ids) if labels else None,
            woi_ms=np.stack([values.get("woi_from_ms", absent), values.get("woi_to_ms", absent)], axis=1),
            names=tuple(labels) or (path.stem,),
            notes=tuple(notes),
            **{name: values.get(name) for name in ("sigma_ms", "bipolar_mv", "unipolar_mv")},
        )


def _number(path, line, name, text, decimal_comma):
    """One value; NaN where it is missing, which a coordinate must not be."""
    text = text.strip()
    position = name in NUMBERS[:3]
    try:
        # float() also takes 1_000 and the digits of all scripts; a table does not.
        plain = text.isascii() and "_" not in text
        value = float(text.replace(",", ".") if decimal_comma else text) if plain else None
    except ValueError:
        value = math.nan if text.lower() in MISSING else None
    if (
        value is None
        or (position and not math.isfinite(value))
        or (name == "sigma_ms" and value <= 0 and value != -10000)
        or (name == "silent" and value not in (0.0, 1.0) and not math.isnan(value))
    ):
        raise InputError(
            f"{path} line {line}, column {name}: {text[:40]!r}",
            "a finite number in mm"
            if position
            else "a number (sigma_ms above 0, silent 0 or 1), or nothing where missing",
            "Correct that value or remove the line",
        )
    return math.nan if not position and (value == -10000 or math.isinf(value)) else value
