"""EnSite Precision and NavX: points in `DxL_*.csv`, one column per point; surfaces in DIF.

A map is split into several files, "This is file 2 of 3 for map,<name>". Below "Begin data" each row is a
quantity; below "Sample rate:" follow blocks of waveforms, one row per sample. Times are seconds in system
time: LAT = rov LAT - ref LAT, and a time t is at exported seconds - (end time - t) in the trace. Voltages are
taken as mV. Layout as read by openep-core (Apache-2.0) and pyCEPS.
"""

import re

import numpy as np
from jaxtyping import Float

from ..._results import InputError
from ..study import Map, Points, Signals, Study
from .ensite_precision_table import MOST_BYTES, NAMES, TIMES, Part, read_part
from .ensite_surface import (
    MOST_HEADS,
    channel,
    decoded,
    dif_names,
    folder_of,
    heads,
    joined,
    located,
    near,
    read_volumes,
    reasons,
    slug,
    surfaces_alone,
    table,
    unique,
)
from .files import Files

MOST_HELD = 2**28  # bytes of waveforms
LONGEST = 10_000.0  # ms; farther from the reference it is not a LAT but a time without annotation
CLOCK = 1e8  # s; times since 1970 would reveal the date of the procedure
ROLES = {"rov": "bipolar", "ref": "reference"}


def recognises(files: Files) -> bool:
    """Whether there is a table with points in columns, or a surface in DIF and no table of EnSite X."""
    other = False
    for _, head in heads(files, ".csv", MOST_HEADS):
        if _is_table(head):
            return True
        other = other or "data starts in row" in head
    return not other and any(dif_names(files, MOST_HEADS))


def _is_table(head: str) -> bool:
    return "export data element" in head and "data points (columns)" in head


def read(files: Files, identity: bool) -> Study:
    """The study of an export of EnSite Precision or NavX.

    Points that the system did not utilize keep their LAT and a reason. The roving trace is unipolar where its
    name says so ("HD-G + A1"), and bipolar else.

    Raises `InputError`, with file and line, for damaged files.
    """
    parts = [read_part(files, name) for name, head in heads(files, ".csv") if _is_table(head)]
    volumes = [each for name in dif_names(files) for each in read_volumes(files, name)]
    if not parts and not volumes:
        raise InputError(
            f"{files.path} without points and surfaces", "DxL_*.csv or DIF", "Export the whole map"
        )
    groups: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        groups.setdefault((folder_of(part.file), part.map), []).append(part)
    maps, taken, used = [], set(), []
    for (folder, name), group in groups.items():
        found = near(volumes, folder)
        surface, notes, chosen = joined(found, name)
        used += chosen
        points, signals, more = _map(files, sorted(group, key=lambda part: part.number))
        maps.append(Map(unique(name or "map", taken), surface, points, signals, notes + more))
    maps += surfaces_alone([each for each in volumes if all(each is not other for other in used)], taken)
    names = [part.study for part in parts if part.study]
    return Study(
        "EnSite Precision", next((part.version for part in parts if part.version), ""), tuple(maps),
        names[0] if identity and names else "", tuple(files.notes), files.sources,
    )  # fmt: skip


def _map(files: Files, parts: list[Part]) -> tuple[Points, tuple[Signals, ...], tuple[str, ...]]:
    """Points and waveforms of the files of one map, in the order of their numbers."""
    where = f"{files.path}: map {parts[0].map!r}"
    numbers = [part.number for part in parts]
    if len(set(numbers)) < len(numbers):
        raise InputError(
            f"{where}, file {max(numbers, key=numbers.count)} twice", "each file once", "Remove the copy"
        )
    notes = [note for part in parts for note in part.notes]
    missing = sorted(set(range(1, min(parts[-1].of, 10_000) + 1)) - set(numbers))
    if missing:
        notes.append(f"files {', '.join(map(str, missing[:20]))} of {parts[-1].of} of this map are missing")

    def column(label: str) -> Float[np.ndarray, " points"]:
        found = [part.numbers.get(label, np.full(part.count, np.nan)) for part in parts]
        return np.concatenate(found)

    def texts(label: str, slot: str = "") -> list[str]:
        found = []
        for part in parts:
            behind = part.blocks[slot][3][: part.count] if slot in part.blocks else [""] * part.count
            found += [a or b for a, b in zip(part.texts.get(label, behind), behind, strict=True)]
        return found

    positions = np.stack([column(f"roving {axis}") for axis in "xyz"], axis=1)
    with np.errstate(all="ignore"):
        # a double resolves 0.2 us of seconds since 1970
        lat = np.round(1000.0 * (column("rov lat") - column("ref lat")), 3)
        ends = np.concatenate([np.full(part.count, part.seconds) for part in parts])
        reference = np.round(1000.0 * (ends - (column("end time") - column("ref lat"))), 3)
    lat[~(np.abs(lat) < LONGEST)] = np.nan
    reference[~(np.abs(reference) < 1e9)] = np.nan
    used = column("utilized")
    if np.isnan(used).all():
        used[:] = 1.0
        notes += ["which points were utilized is not stated: all are taken"] if len(used) else []
    reason = reasons(used, lat)
    rov, voltage = texts("rov trace", "rov"), column("peak2peak")
    single = np.array([bool(re.search(r"\+|\buni", name, re.I)) for name in rov], bool)
    points_all = len(positions)
    kept = np.flatnonzero(np.isfinite(positions).all(axis=1))
    place = np.full(points_all, -1)
    place[kept] = np.arange(len(kept))
    if len(kept) < points_all:
        notes.append(f"{points_all - len(kept)} points left out: no position")
    columns = {
        "surface_positions": np.stack([column(f"surfpt {axis}") for axis in "xyz"], axis=1),
        "lat_ms": lat, "reference_ms": reference,
        "bipolar_mv": np.where(single, np.nan, voltage), "unipolar_mv": np.where(single, voltage, np.nan),
    }  # fmt: skip
    named = {
        "ids": texts("pt number"), "reason": reason, "reference_channel": texts("ref trace", "ref"),
        "bipolar_channel": [name if not s else "" for name, s in zip(rov, single, strict=True)],
        "unipolar_channel": [name if s else "" for name, s in zip(rov, single, strict=True)],
    }  # fmt: skip
    try:
        signals = _signals(files, parts, place, named, single)
    except InputError as error:
        raise located(where, error) from error
    points = Points(
        positions[kept], **{name: values[kept] for name, values in columns.items()},
        **{name: [values[row] for row in kept] for name, values in named.items()},
        more={name: values[kept] for name, values in _more(parts, column).items()},
    )  # fmt: skip
    if signals:
        notes.append("waveforms are taken as mV: the export does not state their unit")
    return points, signals, tuple(notes)


def _more(parts: list[Part], column) -> dict[str, Float[np.ndarray, " points"]]:
    """Other numeric quantities, without times of day."""
    found = {}
    for label in dict.fromkeys(label for part in parts for label in part.numbers):
        values = column(label)
        if label in TIMES or label.startswith(("roving ", "surfpt ")) or not slug(label):
            continue
        if np.isfinite(values).any() and (label in NAMES or not (np.abs(values) > CLOCK).any()):
            found[NAMES.get(label, slug(label))] = values
    return found


def _signals(
    files: Files, parts: list[Part], place: np.ndarray, named: dict[str, list[str]], single: np.ndarray
) -> tuple[Signals, ...]:
    """Waveforms in groups of the same channels, rate and length. `named`: receives the channel names."""
    groups: dict[tuple, list[tuple[int, Part, int]]] = {}
    first = 0
    for part in parts:
        for column in range(part.count if part.blocks else 0):
            row = first + column
            if place[row] < 0:
                continue
            channels: list[str] = []
            for slot, block in part.blocks.items():
                role = "unipolar" if slot == "rov" and single[row] else ROLES.get(slot, "")
                plain = {"unipolar": "unipolar 1"}.get(role, role or slot)
                own = block[3][column] or (named[f"{role}_channel"][row] if role else "")
                channels.append(channel(own, plain, slot, channels))
                if role:
                    named[f"{role}_channel"][row] = channels[-1]
            key = tuple(part.blocks), part.rate, part.samples, tuple(channels)
            groups.setdefault(key, []).append((row, part, column))
        first += part.count
    loaded = _Loaded(files)
    found = []
    for (slots, rate, samples, channels), members in groups.items():
        traces = [(part, column) for _, part, column in members]

        def one(trace: int, traces=traces, slots=slots) -> np.ndarray:
            part, column = traces[trace]
            return loaded(part, slots)[:, :, column]

        rows = place[[row for row, *_ in members]]
        found.append(Signals(rows, channels, rate_hz=rate, samples=samples, gain_mv=1.0, read=one))
    return tuple(found)


class _Loaded:
    """Waveforms of complete files, with the most recent ones cached: they are stored in columns, so one
    waveform needs all lines."""

    def __init__(self, files: Files):
        self._files = files
        self._held: dict[str, np.ndarray] = {}

    def __call__(self, part: Part, slots: tuple[str, ...]) -> np.ndarray:
        """(samples, slots, points)."""
        if part.file not in self._held:
            size = 4 * part.samples * len(slots) * part.count
            while self._held and sum(each.nbytes for each in self._held.values()) + size > MOST_HELD:
                self._held.pop(next(iter(self._held)))
            self._held[part.file] = self._load(part, slots)
        return self._held[part.file]

    def _load(self, part: Part, slots: tuple[str, ...]) -> np.ndarray:
        where = f"{self._files.path}: {part.file}"
        values = np.empty((part.samples, len(slots), part.count), np.float32)
        with self._files.open(part.file) as stream:
            content = stream.read(MOST_BYTES)
        for at, slot in enumerate(slots):
            start, end, numbers, _ = part.blocks[slot]
            lines = decoded(content[start:end]).split("\n")
            lines = [line for line in lines if line.strip(', "\r\t')]
            if len(lines) != len(numbers):
                raise InputError(f"{where}, which has changed", "the file as it was", "Read the export again")
            values[:, at] = table(lines, numbers, 1, part.count, where)
        return values
