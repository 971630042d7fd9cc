"""EnSite X: points in `Map_*.csv`, waveforms in `Wave_*.csv`, one line each; surfaces in DIF.

A map comes once for each quantity (Map_LAT_bi, Map_PP_bi, ...) with the same points. Ticks are samples of the
waveforms: LAT = (Rov Tick 1 - Ref Tick) / rate, where the column LAT is absent. Curtains, the window of
interest, are ms from the reference. The comments in the tables say what each column is, and that P-P is in
mV; layout also as openep-core (Apache-2.0), pyCEPS and pulse-ep read it.
"""

import csv
import re
from dataclasses import dataclass, field, replace

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

MOST_BYTES = 2**27  # of a table of points
MOST_LINE = 2**22  # bytes
MOST_LINES = 1_000_000
MOST_CELLS = 5_000  # of a line of a table of points
MOST_HEADER = 500  # lines
MOST_SAMPLES = 400_000
BLOCK = 2**21  # samples parsed at a time
MOST_HELD = 2**28  # bytes of waveforms
SENTINEL = 9_999.0  # actSeq of points without one is 10000
SAME = 1e-3  # mm
CLOCKS = {"reftime (abs)", "starttime (abs)"}  # seconds since 1970 say when a patient was treated
VOLTAGES = {"pp_valong": "bipolar_mv", "unipolemaxpp": "unipolar_mv"}
KNOWN = {
    "roving x", "roving y", "roving z", "surface x", "surface y", "surface z", "left curtain (ms)",
    "right curtain (ms)", "force (g)", "utilized", "ref tick", "rov tick 1", "lat", "p-p",
} | set(VOLTAGES)  # fmt: skip
OTHERS = {
    "displayed", "gold-starred", "normal x", "normal y", "normal z", "adjtime (ms)", "actseq", "# rov ticks",
}  # fmt: skip
TEXTS = ("rov trace", "electrodes", "ref trace", "freeze grp #", "(point #)", "annot")


def recognises(files: Files) -> bool:
    """Whether there is a table with a line for each point, or waveforms to one."""
    return any(_is_table(head) for _, head in heads(files, ".csv", MOST_HEADS))


def _is_table(head: str) -> bool:
    return "data starts in row" in head and bool(re.search(r"map (name|type)\s*:|wave name\s*:", head))


@dataclass
class _Table:
    """One `Map_*.csv`: texts and numbers of its points by the lower-case names of the columns."""

    file: str
    header: dict[str, str]
    texts: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, Float[np.ndarray, " points"]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def map(self) -> str:
        # "<model><tab><name>"
        return self.header.get("map name", "").split("\t")[-1].strip()

    @property
    def type(self) -> str:
        return self.header.get("map type", "")

    @property
    def positions(self) -> Float[np.ndarray, "points 3"]:
        return np.stack([self.numbers[f"roving {axis}"] for axis in "xyz"], axis=1)


@dataclass
class _Wave:
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


def read(files: Files, identity: bool) -> Study:
    """The study of an export of EnSite X.

    Points that the system did not utilize keep their LAT and a reason.

    Raises `InputError`, with file and line, for damaged files.
    """
    tables, waves, notes = [], [], list(files.notes)
    for name, head in heads(files, ".csv"):
        if not _is_table(head):
            continue
        if re.search(r"wave name\s*:", head) or name.rpartition("/")[2].lower().startswith("wave_"):
            wave, said = _read_wave(files, name)
            waves += [wave] if wave else []
            notes += said
        else:
            tables.append(_read_table(files, name))
    volumes = [each for name in dif_names(files) for each in read_volumes(files, name)]
    maps, taken, used = [], set(), []
    for group in _groups(tables):
        folders = {folder_of(each.file) for each in group}
        found = [volume for folder in sorted(folders) for volume in near(volumes, folder)]
        surface, said, chosen = joined([v for i, v in enumerate(found) if v not in found[:i]], group[0].map)
        used += chosen
        mine = [wave for wave in waves if folder_of(wave.file) in folders]
        points, signals, more = _map(files, group, mine)
        name = unique(group[0].map or group[0].type or "map", taken)
        maps.append(Map(name, surface, points, signals, said + more))
    maps += surfaces_alone([each for each in volumes if all(each is not other for other in used)], taken)
    if waves and not tables:
        notes.append(f"{len(waves)} files of waveforms not read: there is no Map_*.csv with their points")
    headers = [each.header for each in tables]
    return Study(
        "EnSite X", next((h["export file version"] for h in headers if h.get("export file version")), ""),
        tuple(maps),
        next((h["export from study"] for h in headers if h.get("export from study")), "") if identity else "",
        tuple(notes), files.sources,
    )  # fmt: skip


def _key(line: str) -> tuple[str, str]:
    """What a line of a header is about, and the first cell that it says: "Map name:,A", "Version : 1"."""
    line = line[:2000]
    at = min((place for place in (line.find(":"), line.find(",")) if place >= 0), default=len(line))
    rest = line[at:].lstrip(' :,"').partition(",")[0]
    return line[:at].strip(' "\t').lower(), rest.strip(' "\r\n')


def _split(line: str, where: str) -> list[str]:
    """Cells of a line. Only texts of operators are quoted."""
    if '"' not in line:
        return [each.strip() for each in line.split(",")]
    try:
        return [each.strip() for each in next(csv.reader([line.rstrip("\r\n")]), [])]
    except csv.Error as error:
        raise InputError(f"{where} ({error})", "cells separated by commas", "Export it again") from error


def _is_columns(cells: list[str], wave: bool) -> bool:
    names = {each.lower() for each in cells}
    return "freeze grp #" in names and ("trace" in names if wave else "roving x" in names)


def _truncated(where: str, number: int) -> InputError:
    return InputError(
        f"{where}, which ends within line {number}", "whole lines", "Export it again: the file is cut short"
    )


def _read_table(files: Files, name: str) -> _Table:
    where = f"{files.path}: {name}"
    content = files.read(name, MOST_BYTES)
    if content.count(b"\n") > MOST_LINES:
        raise InputError(f"{where} with more than {MOST_LINES} lines", "a map", "Check what it is")
    each = _Table(name, {})
    columns: dict[str, int] = {}
    numbers: dict[str, list[float]] = {}
    start = number = width = needed = 0
    ended, declared = False, -1
    while start < len(content) and not ended:
        stop = content.find(b"\n", start)
        last, stop = stop < 0, len(content) if stop < 0 else stop
        number, raw = number + 1, content[start:stop]
        start = stop + 1
        if raw.count(b",") > MOST_CELLS:
            raise InputError(
                f"{where} line {number} with {raw.count(b',')} columns", f"at most {MOST_CELLS}",
                "Check what it is",
            )  # fmt: skip
        line = decoded(raw)
        ended = line.strip(' ,"\r\t\x1a') == "EOF"
        if ended or not line.strip(', "\r\t'):
            continue
        if not columns:
            cells = _split(line, f"{where} line {number}")
            if not line.startswith("*") and _is_columns(cells, wave=False):
                columns = {}
                for at, title in enumerate(cells):
                    columns.setdefault(title.lower(), at)
                wanted = _wanted(columns)
                _check_columns(columns, where, number)
                numbers = {title: [] for title in wanted}
                each.texts = {title: [] for title in TEXTS if title in columns}
                # ticks come last and are as many as there are
                needed = 1 + max(columns[t] for t in (*numbers, *each.texts) if not t.startswith("rov tick"))
                width = len(cells)
                declared = _declared(each.header, "# mapping pts", where)
            elif number > MOST_HEADER:
                break
            elif not line.startswith(("*", "%")):
                key, rest = _key(line)
                each.header.setdefault(key, rest)
            continue
        if last:
            raise _truncated(where, number)
        cells = _split(line, f"{where} line {number}")
        if len(cells) < needed:
            raise InputError(
                f"{where} line {number} with {len(cells)} columns", f"{width}, as the line with their names",
                "Export it again: the file is cut short or damaged",
            )  # fmt: skip
        for title, values in numbers.items():
            text = cells[columns[title]] if columns[title] < len(cells) else ""
            values.append(value(text, f"{where} line {number}, column {title!r}"))
        for title, texts in each.texts.items():
            texts.append("" if cells[columns[title]] in ("..", "...") else cells[columns[title]])
    if not columns:
        raise InputError(
            f"{where}, {number} lines without names of columns", "'roving x', 'Freeze Grp #' and others",
            "Export it again",
        )  # fmt: skip
    each.numbers = {title: np.array(values, np.float64) for title, values in numbers.items()}
    count = len(each.numbers["roving x"])
    if declared not in (-1, count):
        raise InputError(
            f"{where} with {count} points, the last in line {number}, where {declared} are declared",
            "as many as '# mapping pts:' says", "Export it again: the file is cut short or damaged",
        )  # fmt: skip
    if not ended and not content.endswith(b"\n"):
        raise _truncated(where, number)
    each.texts.setdefault("(point #)", [str(i + 1) for i in range(count)])
    return each


def _wanted(columns: dict[str, int]) -> list[str]:
    """The columns that are numbers, with those that say of another whether it is valid."""
    valid = {title for title in columns if title.endswith(" valid") and title[:-6] in columns}
    values = {title[:-6] for title in valid}
    voltages = {title for title in columns if re.match(r"pp_\w+$|uni_\w+[xyz]$", title)}
    return sorted((valid | values | voltages | (columns.keys() & (KNOWN | OTHERS))) - CLOCKS)


def _check_columns(columns: dict[str, int], where: str, number: int) -> None:
    for title in ("roving x", "roving y", "roving z"):
        if title not in columns:
            raise InputError(f"{where} line {number} without '{title}'", "x, y and z", "Export it again")


def _declared(header: dict[str, str], key: str, where: str) -> int:
    text = header.get(key, "")
    if not text:
        return -1
    if not re.fullmatch(r"\d{1,9}", text):
        raise InputError(f"{where}, '{key}' {text[:20]!r}", "a whole number", "Export it again")
    return int(text)


def _read_wave(files: Files, name: str) -> tuple[_Wave | None, list[str]]:
    """Where the traces of a file stand; None where it has none."""
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
                cells = [] if line.startswith("*") else _split(line, f"{where} line {number}")
                if _is_columns(cells, wave=True):
                    names = [each.lower() for each in cells]
                    for place, title in enumerate(names):
                        columns.setdefault(title, place)
                    first, samples = _samples(names, header, f"{where} line {number}")
                    if not samples:
                        return None, [f"no waveforms in one file ({_name(header, name)}): none were recorded"]
                    rate = value(header.get("sample rate", ""), f"{where}, 'Sample rate:'")
                    if not rate > 0:
                        raise InputError(f"{where} at {rate:g} Hz", "'Sample rate:' in Hz", "Export it again")
                    reference = "ref" in _name(header, name).lower()
                    key = "freeze grp #" if reference or "(point #)" not in columns else "(point #)"
                    if max(columns[key], columns["trace"]) >= first:
                        raise InputError(
                            f"{where} line {number} with '{key}' or 'Trace' behind the samples",
                            "both before", "Export it again",
                        )  # fmt: skip
                elif number > MOST_HEADER:
                    break
                elif cells:
                    title, rest = _key(line)
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
    declared = _declared(header, "# freeze groups" if key.startswith("freeze") else "# mapping pts", where)
    notes = []
    if declared not in (-1, len(keys)):
        notes.append(f"{len(keys)} waveforms in {_name(header, name)}, where {declared} are declared")
    if not ended and not whole:
        raise _truncated(where, number)
    return _Wave(name, _name(header, name), key, rate, samples, first, keys, labels, places), notes


def _name(header: dict[str, str], file: str) -> str:
    """The name of waveforms: "rov", "uni_distal", "refs", ..."""
    stem = re.sub(r"^wave_|\.csv$", "", file.rpartition("/")[2], flags=re.I)
    return re.sub(r"^wave_|\.csv$", "", header.get("wave name", ""), flags=re.I).strip()[:60] or stem[:60]


def _samples(names: list[str], header: dict[str, str], where: str) -> tuple[int, int]:
    """First column of samples and how many there are: their names count from 0."""
    declared = _declared(header, "waveform samples exported", where)
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


def _groups(tables: list[_Table]) -> list[list[_Table]]:
    """Tables of the same points of one map, that with LATs first."""
    groups: list[list[_Table]] = []
    for each in sorted(tables, key=lambda one: "lat" not in one.numbers):
        for group in groups:
            if group[0].map == each.map and _order(group[0], each) is not None:
                group.append(each)
                break
        else:
            groups.append([each])
    return groups


def _order(one: _Table, other: _Table) -> np.ndarray | None:
    """Where the points of one table stand in another; None where they are others."""
    ids = other.texts["(point #)"]
    where = {name: row for row, name in enumerate(ids)}
    mine = one.texts["(point #)"]
    if len(mine) != len(ids) or len(where) < len(ids) or any(name not in where for name in mine):
        return None
    order = np.array([where[name] for name in mine], np.int64)
    with np.errstate(all="ignore"):
        apart = np.abs(one.positions - other.positions[order])
    same = (apart <= SAME) | (np.isnan(one.positions) & np.isnan(other.positions[order]))
    return order if same.all() else None


def _map(
    files: Files, group: list[_Table], waves: list[_Wave]
) -> tuple[Points, tuple[Signals, ...], tuple[str, ...]]:
    """Points and waveforms of one map. What one table does not know, the next may."""
    base, notes = group[0], [note for each in group for note in each.notes]
    count, none = len(base.texts["(point #)"]), np.full(len(base.texts["(point #)"]), np.nan)
    columns = {name: none.copy() for name in ("bipolar_mv", "unipolar_mv", "force_g")}
    more: dict[str, np.ndarray] = {}
    exported = none.copy()
    for each in group:
        order = _order(base, each)
        order = np.arange(count) if order is None else order  # of itself, where a number stands twice
        values = {title: column[order] for title, column in each.numbers.items()}
        single = bool(re.search("uni", each.type, re.I))
        for title, column in values.items():
            if f"{title} valid" in values:
                column = np.where(values[f"{title} valid"] == 1, column, np.nan)
            if title == "lat":
                exported = np.where(np.isfinite(exported), exported, column)
                continue
            target = VOLTAGES.get(title, "")
            target = ("unipolar_mv" if single else "bipolar_mv") if title == "p-p" else target
            target = "force_g" if title == "force (g)" else target
            if title == "force (g)":
                column = np.where(column >= 0, column, np.nan)  # -1: no sensor
            if title == "actseq":
                column = np.where(np.abs(column) < SENTINEL, column, np.nan)
            if target:
                columns[target] = np.where(np.isfinite(columns[target]), columns[target], column)
            elif title not in KNOWN and not title.endswith(" valid") and slug(title):
                more.setdefault(slug(title), column)
    more = {name: column for name, column in more.items() if np.isfinite(column).any()}
    lat, reference, said = _times(base, exported, waves)
    notes += said
    used = base.numbers.get("utilized", none)
    if np.isnan(used).all():
        used = np.ones(count)
        notes += ["which points were utilized is not stated: all are taken"] if count else []
    reason = reasons(used, lat)
    with np.errstate(all="ignore"):
        kept = np.flatnonzero(np.isfinite(base.positions).all(axis=1))
    if len(kept) < count:
        notes.append(f"{count - len(kept)} points left out: no position")
    place = np.full(count, -1)
    place[kept] = np.arange(len(kept))
    columns |= {
        "lat_ms": lat, "reference_ms": reference,
        "surface_positions": np.stack([base.numbers.get(f"surface {a}", none) for a in "xyz"], axis=1),
        "woi_ms": np.stack([base.numbers.get(f"{a} curtain (ms)", none) for a in ("left", "right")], axis=1),
    }  # fmt: skip
    blank, single = [""] * count, bool(re.search("_uni", base.type, re.I))
    rov = base.texts.get("rov trace", blank)
    texts = {
        "ids": base.texts["(point #)"], "reason": reason, "tags": base.texts.get("annot", blank),
        "unipolar_channel": rov if single else blank, "bipolar_channel": blank if single else rov,
        "reference_channel": base.texts.get("ref trace", blank),
    }  # fmt: skip
    texts = {name: list(column) for name, column in texts.items()}
    signals, said = _signals(files, base, waves, place, texts, single)
    points = Points(
        base.positions[kept], **{name: column[kept] for name, column in columns.items()},
        **{name: [column[row] for row in kept] for name, column in texts.items()},
        more={name: column[kept] for name, column in more.items()},
    )  # fmt: skip
    return points, signals, tuple(dict.fromkeys(notes + said))


def _times(
    base: _Table, exported: np.ndarray, waves: list[_Wave]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """LATs and references, ms. The reference tick is a sample of the exported waveform, as the comments of
    the tables say, so that manual adjustments are in it already."""
    none = np.full(len(exported), np.nan)
    # the rate of the roving traces, to which the ticks belong
    order = sorted(waves, key=lambda wave: (wave.name.lower() != "rov", "ref" in wave.name.lower()))
    rates = [wave.rate for wave in order]
    ticks = {name: base.numbers.get(name, none) for name in ("ref tick", "rov tick 1")}
    ticks = {name: np.where(column >= 0, column, np.nan) for name, column in ticks.items()}
    if not rates:
        notes = []
        if np.isfinite(ticks["rov tick 1"]).any() and not np.isfinite(exported).all():
            notes.append("ticks not read: without waveforms their rate is not known")
        return exported, none, notes
    with np.errstate(all="ignore"):
        found = 1000.0 * (ticks["rov tick 1"] - ticks["ref tick"]) / rates[0]
        reference = 1000.0 * ticks["ref tick"] / rates[0]
        apart = int((np.abs(found - exported) > 1500.0 / rates[0]).sum())
    notes = [f"{apart} LATs differ from their first tick by more than a sample: kept"] if apart else []
    found = np.where(np.isfinite(exported), exported, found)
    found, reference = (np.where(np.isfinite(times), times, np.nan) for times in (found, reference))
    return found, reference, notes


def _signals(
    files: Files,
    base: _Table,
    waves: list[_Wave],
    place: np.ndarray,
    texts: dict[str, list[str]],
    single: bool,
) -> tuple[tuple[Signals, ...], list[str]]:
    """Waveforms in groups of the same channels, rate and length. `texts`: gets the names of the channels."""
    notes, found = [], []
    held: dict[tuple[str, int], np.ndarray] = {}
    families: dict[tuple[float, int], list[_Wave]] = {}
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

    def __init__(self, files: Files, wave: _Wave, held: dict[tuple[str, int], np.ndarray]):
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
