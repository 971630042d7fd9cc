"""Maps as tables: one line per point, for data of any system and for exchange."""

import csv
import difflib
import io
import math
from array import array
from pathlib import Path

import numpy as np

from .._files import atomic_write
from .._results import InputError, naming
from .columns import plain, quantity
from .data import MappingData
from .dialect import Numbers, read_table

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
# Limits far above any map: a wrong file is rejected before it fills the memory.
MAX_BYTES, MAX_MAPS, MAX_POINTS = 2**30, 10_000, 5_000_000


def read_csv(path: str | Path) -> MappingData:
    """Reads a map from a text table with a header line.

    Columns in any order: positions (`x_mm`, `y_mm`, `z_mm`), `lat_ms`, and optionally `map_id` (any label),
    `bipolar_mv`, `unipolar_mv`, `sigma_ms`, `woi_from_ms`, `woi_to_ms`, `silent` (1: the catheter recorded no
    activation). A name may contain another unit (`x (cm)`, `LAT [s]`, `Bipolar (uV)`), which is converted, or
    none, which is noted; common other names are recognised (`Points:0` of ParaView, `LAT`, `activation`).
    Without z, positions have two coordinates.

    The separator is a comma, semicolon, tab or bar, or that of a first line `sep=;`. The decimal mark is a
    point or a comma, the same in the whole table. Line ends may be those of any system, text is UTF-8, UTF-16
    or Latin-1. Empty, NaN, infinite and -10000 mean missing. Blank lines and lines that begin with #, % or //
    are skipped, as are lines above the header and unknown columns, which are noted.

    **Returns:** a `MappingData`.

    **Raises:** `InputError`, with file, line and column, for a table that cannot be read, and for coordinates
    or times that cannot be in mm or ms.

    **Example:** `data = jt.read_csv("map.csv")`
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path} with {size} bytes", "a table below 1 GB", "Export the maps one by one")
        with path.open("rb") as stream:
            header, rows, above = read_table(path, stream, known_columns)
            where, notes = _columns(path, header)
            if above:
                notes.append(f"{above} lines above the header not read")
            return _assemble(path, where, notes, rows, len(header))
    except OSError as error:
        raise InputError(
            f"{path}, which cannot be read ({error.strerror})", "a readable file", "Check the path"
        ) from error


def write_csv(path: str | Path, data: MappingData) -> None:
    """Writes a map as a table that `read_csv` reads. Invalid points are written without their LAT.

    **Raises:** `InputError` if the folder is not writable.

    **Example:** `jt.write_csv("map.csv", data)`
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


def known_columns(header: list[str]) -> int:
    """The number of known columns, 0 if a required one is missing."""
    found = {each[0] for each in map(quantity, header) if each}
    return len(found) if set(REQUIRED) <= found else 0


def header_of(head: bytes) -> list[str]:
    """The known columns of a table, from its first bytes; empty if it is not a table of points."""
    try:
        header, _, _ = read_table(Path("table"), io.BytesIO(head), known_columns)
    except InputError:
        return []
    return [each[0] for each in map(quantity, header) if each] if known_columns(header) else []


def _columns(path, header):
    """Index and unit factor of each known column, and notes on the others."""
    found, notes, bare = {}, [], []
    known = [(each, at) for at, title in enumerate(header) if (each := quantity(title))]
    for (name, rank, factor, unit), at in sorted(known, key=lambda each: each[0][:2]):
        if name not in found:
            found[name] = at, factor, rank
            bare += [] if unit else [at]
            if factor != 1.0:
                notes.append(f"column {header[at][:40]!r} times {factor:g} taken as {name}")
        elif found[name][2] == rank:
            raise InputError(
                f"{path} with column {name} more than once "
                f"({header[found[name][0]][:40]!r}, {header[at][:40]!r})",
                "each column once", "Remove one of them",
            )  # fmt: skip
        else:
            notes.append(f"column {header[at][:40]!r} not read: {header[found[name][0]][:40]!r} says more")
    unknown = [title for title in header if title and quantity(title) is None]
    for name in (*REQUIRED, "z_mm"):
        close = [u for u in unknown if plain(u).startswith(name.partition("_")[0] + "_")]
        close += difflib.get_close_matches(name, [u[:40].lower() for u in unknown], 1, 0.5)
        # z_mm may be absent on purpose, for a flat sheet, unless a column looks like a misspelt z_mm.
        if name not in found and (name in REQUIRED or close):
            raise InputError(
                f"{path} without column {name}"
                + (f"; column {close[0][:40]!r} looks like it" if close else ""),
                "a header line with x_mm, y_mm, z_mm (mm) and lat_ms (ms)",
                f"Name the column {name} and give its values in the unit of that name",
            )
    for title in unknown:
        close = difflib.get_close_matches(title[:40].lower(), [c for c in COLUMNS if c not in found], 1)
        notes.append(f"column {title[:40]!r} not read" + (f"; was {close[0]} meant?" if close else ""))
    if bare:
        names = ", ".join(header[at][:40] for at in sorted(bare))
        notes.append(f"no unit in the name of {names}: taken as mm, ms and mV")
    if "z_mm" not in found:
        notes.append("no column z_mm: positions have two coordinates")
    return {name: (at, factor) for name, (at, factor, _) in found.items()}, notes


def _assemble(path, where, notes, rows, width):
    """All rows as one `MappingData`."""
    numbers = [(name, *where[name]) for name in NUMBERS if name in where]
    table, labels, ids, number = array("d"), {}, array("q"), Numbers()
    for line, row in rows:
        if len(row) < width or any(row[width:]):
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
        table.extend(factor * _value(path, line, name, row[at], number) for name, at, factor in numbers)
        if "map_id" in where:
            ids.append(labels.setdefault(row[where["map_id"][0]], len(labels)))
            if len(labels) > MAX_MAPS:
                raise InputError(
                    f"{path} with more than {MAX_MAPS} maps", "one label for each map", "Check column map_id"
                )
    values = dict(zip([n for n, *_ in numbers], np.array(table).reshape(-1, len(numbers)).T, strict=True))
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


def _value(path, line, name, text, number):
    """One value; NaN if missing, which is an error for a coordinate."""
    position = name in NUMBERS[:3]
    value = number(text)
    if (
        value is None
        or (position and not math.isfinite(value))
        or (name == "sigma_ms" and value <= 0 and value != -10000)
        or (name == "silent" and value not in (0.0, 1.0) and not math.isnan(value))
    ):
        marks = value is None and ("," in text) != ("." in text)
        raise InputError(
            f"{path} line {line}, column {name}: {text[:40]!r}"
            + (", with another decimal mark than before or a separator of thousands" if marks else ""),
            "a finite number in mm"
            if position
            else "a number (sigma_ms above 0, silent 0 or 1), or nothing where missing",
            "Correct that value or remove the line",
        )
    return math.nan if not position and (value == -10000 or math.isinf(value)) else value
