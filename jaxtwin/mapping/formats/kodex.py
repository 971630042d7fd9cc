"""Kodex exports: `lat_points.csv` and a surface (.obj) for each chamber, waveforms (.json) if exported.

Layout as documented by the importer of openep-core; untested on real exports. Confirmed there: the folders
`<chamber>/LAT`, or `Report/<chamber>` next to `dump_state/MainEntry/<chamber>/LAT` with the waveforms; in the
table the position in columns 2 to 4, LAT in 5, voltage in 6; the names of the JSON. Assumed: mm, ms and mV;
column names, if they contradict their position; samples counted from 0; and 500 Hz, if nothing gives the rate
of the waveforms.
"""

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ..._results import InputError
from ...anatomy import Surface
from ..data import SENTINEL
from ..study import Map, Points, Signals, Study
from .files import Files

TABLE = "lat_points.csv"
RATE_HZ = 500.0
MOST_TABLE = MOST_OBJ = 2**28  # bytes
MOST_JSON = 2**24
MOST_SAMPLES = 200_000_000  # of all waveforms
PLACES = {"id": 0, "x": 1, "y": 2, "z": 3, "lat": 4, "bipolar": 5}
NAMES = {
    "id": r"id|index|idx|point|point_?(id|number|index)|number|no|#",
    "x": r"(pos(ition)?_?|point_?|coord_?)?x(_?mm)?", "y": r"(pos(ition)?_?|point_?|coord_?)?y(_?mm)?",
    "z": r"(pos(ition)?_?|point_?|coord_?)?z(_?mm)?",
    "lat": r"lat(_?ms|_?value)?|(local_?)?activation(_?time)?(_?ms)?",
    "bipolar": r"(bipolar|voltage|volt|amplitude|bip)(_?voltage|_?amplitude)?(_?mv)?",
}  # fmt: skip
DATE = re.compile(r"\d{4}[-_.]\d{2}[-_.]\d{2}|\d{2}[-_.]\d{2}[-_.]\d{4}")


def recognises(files: Files) -> bool:
    """Whether there is a table of points under its name."""
    return bool(_tables(files))


def _tables(files: Files) -> list[str]:
    return [name for name in files.find(TABLE) if PurePosixPath(name).name.lower() == TABLE]


def read(files: Files, identity: bool) -> Study:
    """The chambers of an export, one map each. Folder names that contain a date, that of the study, name a
    map only with `identity`.

    Raises `InputError` for damage, with file and line, and for waveforms of missing points.
    """
    maps, used = [], set()
    for k, table in enumerate(_tables(files)):
        folders = [each for each in PurePosixPath(table).parts[:-1] if each.upper() != "LAT"]
        chamber = folders[-1] if folders else ""
        named = chamber and (identity or not DATE.search(chamber))
        label = chamber if named and chamber not in used else f"map {k + 1}"
        used.add(label)
        maps.append(_read_map(files, table, chamber, label))
    if not maps:
        raise InputError(f"{files.path} without {TABLE}", "an export of Kodex", "Export the map again")
    name = files.path.name if identity else ""
    return Study("Kodex", "", tuple(maps), name, tuple(files.notes), files.sources)


def _read_map(files: Files, table: str, chamber: str, label: str) -> Map:
    notes: list[str] = []
    columns, ids = _table(files, table, notes)
    folder = PurePosixPath(table).parent
    beside = [each for each in files.find(".obj") if PurePosixPath(each).parent == folder]
    if len(beside) > 1:
        notes.append(f"{len(beside) - 1} of {len(beside)} surfaces not read: the first by name is taken")
    surface = _read_obj(files, beside[0]) if beside else None
    if surface is None:
        notes.append("no surface: there is no .obj beside the table")
    count = len(ids)
    lat = columns["lat"]
    lat[lat <= SENTINEL] = np.nan
    found: dict[str, Any] = {
        name: [""] * count for name in ("tags", "reason", "bipolar_channel", "reference_channel")
    }
    found |= {"surface_positions": np.full((count, 3), np.nan)}
    index = {name: np.full(count, np.nan) for name in ("reference", "mapped", "from", "to")}
    waves: dict[int, dict[int, np.ndarray]] = {}
    total, rate = 0, np.nan
    for name in _recordings(files, folder, chamber):
        record = _record(files, name)
        if record is None:
            continue
        row = _row(record, count, f"{files.path}: {name}")
        _fill(record, row, found, index, f"{files.path}: {name}")
        rate = record.get("sampling_rate", record.get("sample_rate", rate))
        traces = [_series(record, key, f"{files.path}: {name}") for key in ("map_signal", "ref_signal")]
        if len(traces[0]) and len(traces[0]) == len(traces[1]):
            waves.setdefault(len(traces[0]), {})[row] = np.stack(traces, axis=1).astype(np.float32)
            found["bipolar_channel"][row], found["reference_channel"][row] = "bipolar", "reference"
            total += len(traces[0])
        if total > MOST_SAMPLES:
            raise InputError(
                f"{files.path} with more than {MOST_SAMPLES} samples",
                "an export of Kodex",
                "Check what it is",
            )
    woi, reference = np.full((count, 2), np.nan), np.full(count, np.nan)
    if waves or np.isfinite(index["reference"]).any():
        hertz, sure = _rate(rate, index["mapped"] - index["reference"], lat)
        if not sure:
            notes.append(
                f"rate of waveforms not known: taken as {RATE_HZ:g} Hz; windows of interest left out"
            )
        reference = index["reference"] * 1000.0 / hertz
        if sure:
            woi = (
                (np.stack([index["from"], index["to"]], axis=1) - index["reference"][:, None])
                * 1000.0
                / hertz
            )
    else:
        hertz = RATE_HZ
        notes.append("no waveforms: there is no .json of a point")
    out = (lat < woi[:, 0]) | (lat > woi[:, 1])
    for row in range(count):
        reason = "no LAT" if np.isnan(lat[row]) else "outside the window of interest" if out[row] else ""
        found["reason"][row] = found["reason"][row] or reason
    positions = np.stack([columns[axis] for axis in "xyz"], axis=1)
    points = Points(
        positions,
        lat_ms=lat,
        bipolar_mv=columns["bipolar"],
        ids=ids,
        woi_ms=woi,
        reference_ms=reference,
        **found,
    )
    signals = tuple(
        Signals.of_array(list(each), ("bipolar", "reference"), np.stack(list(each.values())), rate_hz=hertz)
        for each in waves.values()
    )
    return Map(label, surface, points, signals, tuple(notes))


def _table(files: Files, name: str, notes: list[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Columns by their quantity, and the first column as names of the points."""
    where = f"{files.path}: {name}"
    content = files.read(name, MOST_TABLE)
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")
    places, rows, ids, width = dict(PLACES), [], [], 0
    for line, raw in enumerate(text.splitlines(), 1):
        cells = _cells(raw)
        if not any(cells):
            continue
        values = [_number(cell) for cell in cells]
        if not rows and sum(np.isfinite(values)) < 3:
            places = _places(cells)
            continue
        width = width or len(cells)
        if len(cells) != width or width <= max(places[each] for each in ("x", "y", "z", "lat")):
            raise InputError(
                f"{where} line {line} with {len(cells)} columns", "number, x, y, z, LAT and voltage",
                "Export the map again",
            )  # fmt: skip
        row = [values[places[each]] if 0 <= places[each] < len(values) else np.nan for each in PLACES]
        if not np.isfinite(row[1:4]).all():
            raise InputError(
                f"{where} line {line}: position {', '.join(cells[places[each]][:20] for each in 'xyz')}",
                "three numbers in mm", "Export the map again",
            )  # fmt: skip
        rows.append(row)
        ids.append(cells[places["id"]][:100] if places["id"] >= 0 else "")
    if places != PLACES:
        notes.append("columns of the table taken by their names")
    table = np.array(rows, np.float64).reshape(-1, len(PLACES))
    return dict(zip(PLACES, table.T.copy(), strict=True)), ids


def _cells(line: str) -> list[str]:
    """Cells of a line. The last of several columns may hold all of them, separated by commas."""
    outer = re.split(r"[;\t]", line)
    inner = (
        outer[-1].split(",") if outer[-1].count(",") >= 4 else outer if len(outer) > 1 else line.split(",")
    )
    return [each.strip().strip('"').strip() for each in inner]


def _number(cell: str) -> float:
    try:
        value = float(cell) if cell.isascii() and "_" not in cell else np.nan
    except ValueError:
        return np.nan
    return value if np.isfinite(value) else np.nan


def _places(header: list[str]) -> dict[str, int]:
    """Index of each column: by name if those of position and LAT are known, otherwise the usual ones."""
    plain = [re.sub(r"[^a-z0-9#]+", "_", each.lower()).strip("_") for each in header]
    found = {
        name: next((k for k, each in enumerate(plain) if re.fullmatch(pattern, each)), -1)
        for name, pattern in NAMES.items()
    }
    return found if min(found[each] for each in ("x", "y", "z", "lat")) >= 0 else dict(PLACES)


def _recordings(files: Files, folder: PurePosixPath, chamber: str) -> Iterator[str]:
    """Waveforms of the points of a chamber: next to its table, or in the folder LAT of the chamber."""
    for name in files.find(".json"):
        parent = PurePosixPath(name).parent
        if parent == folder or (parent.name.upper() == "LAT" and parent.parent.name == chamber and chamber):
            yield name


def _record(files: Files, name: str) -> dict[str, Any] | None:
    """The record of a point; None for another kind of file."""
    try:
        found = json.loads(files.read(name, MOST_JSON))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{files.path}: {name}, which is no JSON or damaged ({error})",
            "an undamaged file",
            "Export it again",
        ) from error
    return found if isinstance(found, dict) and "current_point" in found else None


def _row(record: dict[str, Any], count: int, where: str) -> int:
    number = _scalar(record, "current_point", where)
    if not (number == round(number, 0) and 1 <= number <= count):
        raise InputError(
            f"{where}: current_point {record['current_point']!r:.40} of {count} points",
            f"a number from 1 to {count}",
            "Check that the table and the waveforms are of one export",
        )  # fmt: skip
    return int(number) - 1


def _scalar(record: dict[str, Any], key: str, where: str) -> float:
    """A number, NaN if missing."""
    values = _series(record, key, where)
    return float(values[0]) if len(values) else np.nan


def _series(record: dict[str, Any], key: str, where: str) -> np.ndarray:
    try:
        found = record.get(key)
        values = np.zeros(0) if found is None else np.asarray(found, np.float64).ravel()
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"{where}: {key}, which is not made of numbers", "numbers", "Export it again"
        ) from error
    with np.errstate(all="ignore"):
        return np.where(np.abs(values) < 1e30, values, np.nan)


def _fill(
    record: dict[str, Any], row: int, found: dict[str, Any], index: dict[str, np.ndarray], where: str
) -> None:
    for name, key in (
        ("reference", "ref_annotation_index"), ("mapped", "map_annotation_index"),
        ("from", "woi_start_index"), ("to", "woi_end_index"),
    ):  # fmt: skip
        index[name][row] = _scalar(record, key, where)
    place = _series(record, "projected", where)
    if len(place) == 3:
        found["surface_positions"][row] = place
    tag = record.get("tag")
    found["tags"][row] = tag[:200] if isinstance(tag, str) else ""
    if _scalar(record, "discarded", where) == 1.0:
        found["reason"][row] = "discarded"
    elif _scalar(record, "valid_for_map", where) == 0.0:
        found["reason"][row] = "not included"


def _rate(given: Any, samples: np.ndarray, lat: np.ndarray) -> tuple[float, bool]:
    """The rate in Hz, and whether it is known: given, or such that annotations and LATs agree."""
    if isinstance(given, int | float) and 10.0 <= given <= 1e5:
        return float(given), True
    with np.errstate(all="ignore"):
        known = np.isfinite(samples) & np.isfinite(lat) & (np.abs(lat) > 5.0)
        rate = float(np.median(samples[known] / lat[known] * 1000.0)) if known.sum() >= 3 else np.nan
        if 10.0 <= rate <= 1e5:
            rate = round(rate, 0)
            apart = np.abs(samples - lat * rate / 1000.0)[np.isfinite(samples) & np.isfinite(lat)]
            if np.quantile(apart, 0.9) <= 1.0:
                return rate, True
    return RATE_HZ, False


def _read_obj(files: Files, name: str) -> Surface:
    """The surface of a Wavefront file; faces of more corners as fans."""
    where = f"{files.path}: {name}"
    points, triangles = [], []
    for line, raw in enumerate(files.read(name, MOST_OBJ).splitlines(), 1):
        words = raw.split()
        try:
            if words[:1] == [b"v"]:
                points.append([float(each) for each in words[1:4]])
                if len(points[-1]) != 3:
                    raise ValueError
            elif words[:1] == [b"f"]:
                corners = [int(each.split(b"/")[0]) for each in words[1:]]
                # from 1, or back from the last point so far
                corners = [each - 1 if each > 0 else len(points) + each for each in corners]
                if len(corners) < 3 or min(corners) < 0 or max(corners) > 2**31:
                    raise ValueError
                triangles += [(corners[0], *corners[k : k + 2]) for k in range(1, len(corners) - 1)]
        except ValueError as error:
            raise InputError(
                f"{where} line {line}: {raw[:60].decode('latin-1')!r}",
                "a point (v) or a face (f)",
                "Export it again",
            ) from error
    if not points:
        raise InputError(f"{where} without points", "a surface", "Export it again")
    return Surface(points, np.array(triangles, np.int64).reshape(-1, 3))
