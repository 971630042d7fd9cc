"""EnSite Precision and NavX: points in `DxL_*.csv`, one column a point; surfaces in DIF.

A map comes in several files, "This is file 2 of 3 for map,<name>". Below "Begin data" each row is a
quantity; below "Sample rate:" stand blocks of waveforms, one row a sample. Times are seconds on the clock of
the system: LAT = rov LAT - ref LAT, and a time t stands at exported seconds - (end time - t) in the trace.
Voltages are taken as mV. Layout as openep-core (Apache-2.0) and pyCEPS read it.
"""

import re
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from ..._results import InputError
from ..study import Map, Points, Signals, Study
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
    value,
)
from .files import Files

MOST_BYTES = 2**27  # of one file; the system starts a new one after about 20 MB
MOST_LINES = 2_000_000
MOST_COLUMNS = 100_000
MOST_ROWS = 1_000  # quantities of one file
MOST_HELD = 2**28  # bytes of waveforms
LONGEST = 10_000.0  # ms; what is further from its reference is no LAT but a time without annotation
CLOCK = 1e8  # s; times since 1970 say when a patient was treated
FILE = re.compile(r'\s*"?This is file\s+(\d{1,6})\s+of\s+(\d{1,6})\s+for map\s*,(.*)', re.I | re.S)
SLOTS = {f"{name} trace": name for name in ("rov", "ref", "spare1", "spare2", "spare3")}
ROLES = {"rov": "bipolar", "ref": "reference"}
REQUIRED = ("pt number", "roving x", "roving y", "roving z", "ref lat", "rov lat")
NAMES = {"peak neg": "peak_negative_mv", "cfe mean": "cfe_mean_ms", "cfe stddev": "cfe_stddev_ms"}
TIMES = {"end time", "ref lat", "rov lat", "utilized", "peak2peak", "pt number"}
TEXTS = {"rov detect", "ref detect", "rov trace", "ref trace", "s 1 trace", "s 2 trace", "s 3 trace"}


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


@dataclass
class _Part:
    """One file of a map. `blocks`: slot -> first and last byte, numbers of its lines, names of the traces."""

    file: str
    map: str = ""
    number: int = 1
    of: int = 1
    study: str = ""
    version: str = ""
    count: int = 0
    samples: int = 0
    rate: float = np.nan
    seconds: float = np.nan
    numbers: dict[str, Float[np.ndarray, " points"]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    blocks: dict[str, tuple[int, int, list[int], list[str]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read(files: Files, identity: bool) -> Study:
    """The study of an export of EnSite Precision or NavX.

    Points that the system did not utilize keep their LAT and a reason. The roving trace is unipolar where its
    name says so ("HD-G + A1"), and bipolar else.

    Raises `InputError`, with file and line, for damaged files.
    """
    parts = [_read_part(files, name) for name, head in heads(files, ".csv") if _is_table(head)]
    volumes = [each for name in dif_names(files) for each in read_volumes(files, name)]
    if not parts and not volumes:
        raise InputError(
            f"{files.path} without points and surfaces", "DxL_*.csv or DIF", "Export the whole map"
        )
    groups: dict[tuple[str, str], list[_Part]] = {}
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


def _read_part(files: Files, name: str) -> _Part:
    """The points of one file, and where its waveforms stand in it."""
    part, where = _Part(name), f"{files.path}: {name}"
    content = files.read(name, MOST_BYTES)
    if content.count(b"\n") > MOST_LINES:
        raise InputError(
            f"{where} with more than {MOST_LINES} lines", "a file of a DxL map", "Check what it is"
        )
    rows: dict[str, tuple[int, int, int]] = {}
    number, start, inside, tail, block = 0, 0, False, False, None
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        number, line = number + 1, (start, end)
        start = end + 1
        comma = content.find(b",", *line)
        first = content[line[0] : min(line[0] + 200, line[1]) if comma < 0 else min(comma, line[0] + 200)]
        label = decoded(first).strip(' "\r\t').rstrip(":").strip().lower()
        if not inside:
            inside = label == "begin data"
            if not inside:
                text = decoded(content[line[0] : min(line[1], line[0] + 2000)])
                _header(part, text, where)
        elif label.startswith(("fft spectrum", "cfe detection")) or label == "eof":
            break
        elif not label:
            if block is not None and content[line[0] : line[1]].strip(b', "\r\t'):
                if content.count(b",", *line) < part.count:
                    raise InputError(
                        f"{where} line {number} with {content.count(b',', *line)} values",
                        f"{part.count}, one for each point",
                        "Export it again: the file is cut short or damaged",
                    )  # fmt: skip
                at, _, lines, names = part.blocks[block]
                lines.append(number)
                part.blocks[block] = at, line[1], lines, names
        else:
            if not tail and label in ("seg data len", "exported seconds", "sample rate"):
                tail = True
                _rows(part, content, rows, where, number)
            block = None
            if tail and label in SLOTS:
                block = SLOTS[label]
                cells = _cells(content, line, where, number, label)
                part.blocks[block] = start, start, [], [_trace(each) for each in cells]
            elif tail and label in ("exported seconds", "sample rate"):
                cell = _cells(content, line, where, number, label)[:1] or [""]
                found = value(cell[0], f"{where} line {number}, {label}")
                part.rate, part.seconds = (
                    (found, part.seconds) if label == "sample rate" else (part.rate, found)
                )
            elif not tail:
                if len(rows) > MOST_ROWS:
                    raise InputError(
                        f"{where} with more than {MOST_ROWS} quantities", "a DxL map", "Check what it is"
                    )
                rows.setdefault(label, (number, *line))
    if not inside:
        raise InputError(f"{where}, {number} lines without 'Begin data'", "a DxL map", "Export it again")
    _check_end(content, part, where, number, tail)
    if not tail:
        _rows(part, content, rows, where, number)
    _check_blocks(part, where)
    return part


def _rows(part: _Part, content: bytes, rows: dict[str, tuple[int, int, int]], where: str, last: int) -> None:
    """All quantities of the points, which end before line `last`."""
    for label in REQUIRED:
        if label not in rows:
            raise InputError(
                f"{where}, which comes to line {last} without row '{label}:'", "all rows of a DxL map",
                "Export it again: the file is cut short or damaged",
            )  # fmt: skip
    part.count = part.count or _count(content, rows, where)
    for label, (line, *place) in rows.items():
        _row(part, label, _cells(content, (place[0], place[1]), where, line, label), f"{where} line {line}")


def _header(part: _Part, line: str, where: str) -> None:
    """What a line before "Begin data" says. Who the patient is and when is passed over."""
    key, _, rest = line.partition(":")
    key, rest = key.strip().lower(), rest.strip(' ,"\r\t')
    if found := FILE.match(line):
        part.number, part.of, part.map = int(found[1]), int(found[2]), found[3].strip(' ,"\r\t')
        if not 1 <= part.number <= part.of:
            raise InputError(f"{where}, file {found[1]} of {found[2]}", "at most the last", "Export it again")
    elif key.endswith("file revision"):
        part.version = rest[:20]
    elif key == "export from study":
        part.study = rest
    elif key == "total number of data points (columns)":
        if rest and (not re.fullmatch(r"\d{1,9}", rest) or int(rest) > MOST_COLUMNS):
            raise InputError(
                f"{where} with {rest[:20]!r} data points", f"a number up to {MOST_COLUMNS}", "Export it again"
            )
        part.count = int(rest or 0)


def _cells(content: bytes, line: tuple[int, int], where: str, number: int, label: str) -> list[str]:
    """The cells of a row behind its label. Blank ones at its end may be of a spreadsheet."""
    if content.count(b",", *line) > 2 * MOST_COLUMNS:
        raise InputError(
            f"{where} line {number} '{label}' with {content.count(b',', *line)} columns",
            f"at most {MOST_COLUMNS}", "Export the map in several files",
        )  # fmt: skip
    text = decoded(content[line[0] : line[1]])
    return [each.strip(' "\r\t') for each in text.split(",")[1:]]


def _count(content: bytes, rows: dict[str, tuple[int, int, int]], where: str) -> int:
    """How many points there are, where the header does not say."""
    number, *line = rows.get("pt number", (0, 0, 0))
    cells = _cells(content, (line[0], line[1]), where, number, "pt number")
    while cells and not cells[-1]:
        cells.pop()
    return len(cells)


def _trace(name: str) -> str:
    return "" if name in ("..", "...") else name


def _row(part: _Part, label: str, cells: list[str], where: str) -> None:
    """One quantity of all points."""
    if len(cells) < part.count or any(cells[part.count :]):
        raise InputError(
            f"{where} '{label}:' with {len(cells)} values", f"{part.count}, as the header says",
            "Export it again: the file is cut short or damaged",
        )  # fmt: skip
    cells = cells[: part.count]
    if label == "pt number" or label in TEXTS:
        part.texts[label] = [_trace(each) for each in cells]
        return
    known = label in NAMES or label in TIMES or label.startswith(("roving ", "surfpt "))
    try:
        part.numbers[label] = np.array([value(each, f"{where} '{label}:'") for each in cells], np.float64)
    except InputError:
        if known:
            raise
        part.texts[label] = cells


def _check_end(content: bytes, part: _Part, where: str, number: int, tail: bool) -> None:
    """A file that was written whole ends with EOF. One that does not, but has all quantities and ends with a
    whole line, is let pass."""
    if content[-200:].rstrip(b' ,"\r\n\t\0\x1a').endswith(b"EOF"):
        return
    if not content.endswith(b"\n") or not tail:
        raise InputError(
            f"{where}, which ends in line {content.count(10) + 1}", "a file that ends with EOF",
            "Export it again: the file is cut short",
        )  # fmt: skip
    part.notes.append(f"file {part.number} of {part.of} ends without EOF: it may be cut short")


def _check_blocks(part: _Part, where: str) -> None:
    """All waveforms of a file have the samples that its rate and duration say."""
    part.blocks = {slot: block for slot, block in part.blocks.items() if block[2]}
    if not part.blocks or not part.count:
        part.blocks = {}
        return
    expected = part.rate * part.seconds
    if not (np.isfinite(expected) and 0 < expected < MOST_LINES):
        raise InputError(
            f"{where} with {part.seconds:g} s at {part.rate:g} Hz", "'Exported seconds:' and 'Sample rate:'",
            "Export it again",
        )  # fmt: skip
    part.samples = len(next(iter(part.blocks.values()))[2])
    for slot, (_, _, lines, names) in part.blocks.items():
        if len(lines) != part.samples or abs(part.samples - expected) > 1:
            raise InputError(
                f"{where}, {len(lines)} samples of {slot}, the last in line {lines[-1]}",
                f"{expected:g}, as rate and duration say",
                "Export it again: the file is cut short or damaged",
            )  # fmt: skip
        if len(names) < part.count:
            names += [""] * (part.count - len(names))


def _map(files: Files, parts: list[_Part]) -> tuple[Points, tuple[Signals, ...], tuple[str, ...]]:
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
        # a double holds 0.2 us of a clock that counts from 1970
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


def _more(parts: list[_Part], column) -> dict[str, Float[np.ndarray, " points"]]:
    """Numbers without a place of their own, but no times of day."""
    found = {}
    for label in dict.fromkeys(label for part in parts for label in part.numbers):
        values = column(label)
        if label in TIMES or label.startswith(("roving ", "surfpt ")) or not slug(label):
            continue
        if np.isfinite(values).any() and (label in NAMES or not (np.abs(values) > CLOCK).any()):
            found[NAMES.get(label, slug(label))] = values
    return found


def _signals(
    files: Files, parts: list[_Part], place: np.ndarray, named: dict[str, list[str]], single: np.ndarray
) -> tuple[Signals, ...]:
    """Waveforms in groups of the same channels, rate and length. `named`: gets the names of the channels."""
    groups: dict[tuple, list[tuple[int, _Part, int]]] = {}
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
    """Waveforms of whole files, the last ones held: they stand in columns, so that one needs all lines."""

    def __init__(self, files: Files):
        self._files = files
        self._held: dict[str, np.ndarray] = {}

    def __call__(self, part: _Part, slots: tuple[str, ...]) -> np.ndarray:
        """(samples, slots, points)."""
        if part.file not in self._held:
            size = 4 * part.samples * len(slots) * part.count
            while self._held and sum(each.nbytes for each in self._held.values()) + size > MOST_HELD:
                self._held.pop(next(iter(self._held)))
            self._held[part.file] = self._load(part, slots)
        return self._held[part.file]

    def _load(self, part: _Part, slots: tuple[str, ...]) -> np.ndarray:
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
