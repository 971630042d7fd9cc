"""Waveforms of EnSite X: `Wave_*.csv`, one line each, read on access."""

import re
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ..._results import InputError
from ..study import Signals
from .ensite_surface import channel, decoded, table, value
from .ensite_x_table import (
    MOST_HEADER,
    MOST_LINE,
    MOST_LINES,
    Table,
    declared_count,
    is_columns,
    key_of,
    map_name,
    split_line,
    truncated,
)
from .files import Files

MOST_SAMPLES = 400_000
BLOCK = 2**21  # samples parsed at a time
MOST_HELD = 2**28  # bytes of waveforms


@dataclass
class Wave:
    """One `Wave_*.csv`: where the line of each trace begins and ends, its number, and to what it belongs."""

    file: str
    name: str
    key: str
    rate: float
    samples: int
    first: int
    keys: list[str]
    labels: list[str]
    places: list[tuple[int, int, int]]

    def rows(self) -> tuple[dict[str, int], set[str]]:
        """Line of each key, and the keys that more than one line has."""
        found, twice = {}, set()
        for row, key in enumerate(self.keys):
            if key in found:
                twice.add(key)
            found[key] = row
        return {key: row for key, row in found.items() if key and key not in twice}, twice


def read_wave(files: Files, name: str) -> tuple[Wave | None, list[str]]:
    """Positions of the traces in a file; None if it has none."""
    where = f"{files.path}: {name}"
    header: dict[str, str] = {}
    columns: dict[str, int] = {}
    keys, labels, places = [], [], []
    number = at = first = samples = 0
    key, rate, ended, whole = "", np.nan, False, True
    with files.open(name) as stream:
        while not ended and (raw := stream.readline(MOST_LINE)):
            begin, at, number = at, at + len(raw), number + 1
            whole = raw.endswith(b"\n")
            if (len(raw) == MOST_LINE and not whole) or number > MOST_LINES:
                raise InputError(
                    f"{where} line {number}, longer than {MOST_LINE} bytes or after {MOST_LINES} others",
                    "a line for each trace", "Check what it is",
                )  # fmt: skip
            short = raw[:200].strip(b' ,"\r\n\t\x1a')
            ended = short == b"EOF"
            if ended or (not short and not raw.strip(b', "\r\n\t')):
                continue
            if not columns:
                line = decoded(raw)
                cells = [] if line.startswith("*") else split_line(line, f"{where} line {number}")
                if is_columns(cells, wave=True):
                    names = [each.lower() for each in cells]
                    for place, title in enumerate(names):
                        columns.setdefault(title, place)
                    first, samples = _samples(names, header, f"{where} line {number}")
                    if not samples:
                        return None, [
                            f"no waveforms in one file ({map_name(header, name)}): none were recorded"
                        ]
                    rate = value(header.get("sample rate", ""), f"{where}, 'Sample rate:'")
                    if not rate > 0:
                        raise InputError(f"{where} at {rate:g} Hz", "'Sample rate:' in Hz", "Export it again")
                    reference = "ref" in map_name(header, name).lower()
                    key = "freeze grp #" if reference or "(point #)" not in columns else "(point #)"
                    if max(columns[key], columns["trace"]) >= first:
                        raise InputError(
                            f"{where} line {number} with '{key}' or 'Trace' behind the samples",
                            "both before", "Export it again",
                        )  # fmt: skip
                elif number > MOST_HEADER:
                    break
                elif cells:
                    title, rest = key_of(line)
                    header.setdefault(title, rest)
                continue
            if raw.count(b",") < first + samples - 1 or not whole:
                raise InputError(
                    f"{where} line {number} with {raw.count(b',') + 1} columns", f"{first + samples}",
                    "Export it again: the file is cut short or damaged",
                )  # fmt: skip
            cells = raw.split(b",", first)[:first]
            keys.append(decoded(cells[columns[key]]).strip(' "'))
            labels.append(decoded(cells[columns["trace"]]).strip(' ".')[:60])
            places.append((begin, at, number))
    if not columns:
        raise InputError(
            f"{where}, {number} lines without names of columns", "'Trace', 'Freeze Grp #' and samples",
            "Export it again",
        )  # fmt: skip
    declared = declared_count(
        header, "# freeze groups" if key.startswith("freeze") else "# mapping pts", where
    )
    notes = []
    if declared not in (-1, len(keys)):
        notes.append(f"{len(keys)} waveforms in {map_name(header, name)}, where {declared} are declared")
    if not ended and not whole:
        raise truncated(where, number)
    return Wave(name, map_name(header, name), key, rate, samples, first, keys, labels, places), notes


def _samples(names: list[str], header: dict[str, str], where: str) -> tuple[int, int]:
    """First column of samples and their number: their names count from 0."""
    declared = declared_count(header, "waveform samples exported", where)
    if declared == 0:
        return 0, 0
    first = names.index("0") if "0" in names else len(names)
    count = 0
    while first + count < len(names) and names[first + count] == str(count):
        count += 1
    if declared not in (-1, count) or not 0 < count <= MOST_SAMPLES or first > 100:
        raise InputError(
            f"{where} with {count} columns of samples where {declared} are declared",
            f"as many as declared, up to {MOST_SAMPLES}", "Export it again",
        )  # fmt: skip
    return first, count


def signals_of(
    files: Files,
    base: Table,
    waves: list[Wave],
    place: np.ndarray,
    texts: dict[str, list[str]],
    single: bool,
) -> tuple[tuple[Signals, ...], list[str]]:
    """Waveforms in groups of the same channels, rate and length. `texts`: receives the channel names."""
    notes, found = [], []
    held: dict[tuple[str, int], np.ndarray] = {}
    families: dict[tuple[float, int], list[Wave]] = {}
    # the roving trace first: of several bipolar ones it is that of the point
    for wave in sorted(waves, key=lambda each: (each.name.lower() != "rov", each.file)):
        families.setdefault((wave.rate, wave.samples), []).append(wave)
    for (rate, samples), members in families.items():
        sources = []
        for wave in members:
            rows, twice = wave.rows()
            if twice:
                notes.append(f"waveforms {wave.name} of {len(twice)} keys not read: several lines claim them")
            keys = base.texts.get(wave.key, [""] * len(place))
            sources.append([rows.get(key, -1) for key in keys])
        lines = np.array(sources, np.int64).reshape(len(members), len(place))
        blocks = [_Block(files, wave, held) for wave in members]
        kinds: dict[tuple[tuple[int, ...], tuple[str, ...]], list[int]] = {}
        for point in np.flatnonzero(place >= 0).tolist():
            there = tuple(np.flatnonzero(lines[:, point] >= 0).tolist())
            channels: list[str] = []
            roles: set[str] = set()
            for i in there:
                wave, role = members[i], _role(members[i].name, single)
                own = wave.labels[lines[i, point]]
                channels.append(channel(own, wave.name, wave.name, channels))
                if role and role not in roles:
                    texts[f"{role}_channel"][point] = channels[-1]
                roles.add(role)
            if there:
                kinds.setdefault((there, tuple(channels)), []).append(point)
        for (there, channels_), chosen in kinds.items():
            readers = [blocks[i] for i in there]
            rows = lines[np.ix_(there, chosen)]

            def one(trace: int, readers=readers, rows=rows) -> np.ndarray:
                return np.stack([r.row(int(rows[i, trace])) for i, r in enumerate(readers)], axis=1)

            found.append(
                Signals(place[chosen], channels_, rate_hz=rate, samples=samples, gain_mv=1.0, read=one)
            )
    if found:
        notes.append("waveforms are taken as mV: the export does not state their unit")
    without = int((place >= 0).sum()) - len({int(row) for each in found for row in each.rows})
    if waves and without:
        notes.append(f"{without} points without waveforms")
    return tuple(found), notes


def _role(name: str, single: bool) -> str:
    """What the traces of a file are: "rov", "bi_along", "uni_distal", "refs", "ecg"."""
    name = name.lower()
    if "ref" in name:
        return "reference"
    if "uni" in name or (single and "rov" in name):
        return "unipolar"
    return "bipolar" if re.search("rov|bi", name) else ""


class _Block:
    """Lines of one file of waveforms, parsed some at a time; `held`: the last ones of all files of a map."""

    def __init__(self, files: Files, wave: Wave, held: dict[tuple[str, int], np.ndarray]):
        self._files, self._wave, self._held = files, replace(wave, keys=[], labels=[]), held
        self._size = int(np.clip(BLOCK // wave.samples, 1, 256))

    def row(self, row: int) -> Float[np.ndarray, " samples"]:
        first = row // self._size * self._size
        key = self._wave.file, first
        if key not in self._held:
            values = self._load(first)
            while self._held and sum(each.nbytes for each in self._held.values()) + values.nbytes > MOST_HELD:
                self._held.pop(next(iter(self._held)))
            self._held[key] = values
        return self._held[key][row - first]

    def _load(self, first: int) -> np.ndarray:
        wave, where = self._wave, f"{self._files.path}: {self._wave.file}"
        places = wave.places[first : first + self._size]
        lines = []
        with self._files.open(wave.file) as stream:
            for begin, end, _ in places:
                stream.seek(begin)
                lines.append(decoded(stream.read(end - begin)).rstrip("\r\n"))
        if any(line.count(",") < wave.first + wave.samples - 1 for line in lines):
            raise InputError(f"{where}, which has changed", "the file as it was", "Read the export again")
        return table(lines, [number for *_, number in places], wave.first, wave.samples, where)
