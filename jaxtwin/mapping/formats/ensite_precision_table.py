"""The tables of EnSite Precision: points in columns, quantities in rows, blocks of waveforms below."""

import re
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from ..._results import InputError
from .ensite_surface import decoded, value
from .files import Files

MOST_BYTES = 2**27  # bytes of one file; the system starts a new file after about 20 MB
MOST_LINES = 2_000_000
MOST_COLUMNS = 100_000
MOST_ROWS = 1_000  # quantities of one file
FILE = re.compile(r'\s*"?This is file\s+(\d{1,6})\s+of\s+(\d{1,6})\s+for map\s*,(.*)', re.I | re.S)
SLOTS = {f"{name} trace": name for name in ("rov", "ref", "spare1", "spare2", "spare3")}
REQUIRED = ("pt number", "roving x", "roving y", "roving z", "ref lat", "rov lat")
NAMES = {"peak neg": "peak_negative_mv", "cfe mean": "cfe_mean_ms", "cfe stddev": "cfe_stddev_ms"}
TIMES = {"end time", "ref lat", "rov lat", "utilized", "peak2peak", "pt number"}
TEXTS = {"rov detect", "ref detect", "rov trace", "ref trace", "s 1 trace", "s 2 trace", "s 3 trace"}


@dataclass
class Part:
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


def read_part(files: Files, name: str) -> Part:
    """The points of one file, and the positions of its waveforms in it."""
    part, where = Part(name), f"{files.path}: {name}"
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


def _rows(part: Part, content: bytes, rows: dict[str, tuple[int, int, int]], where: str, last: int) -> None:
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


def _header(part: Part, line: str, where: str) -> None:
    """Reads a line before "Begin data". The identity of the patient and the date are skipped."""
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
    """The cells of a row after its label. Trailing blank ones may come from a spreadsheet."""
    if content.count(b",", *line) > 2 * MOST_COLUMNS:
        raise InputError(
            f"{where} line {number} '{label}' with {content.count(b',', *line)} columns",
            f"at most {MOST_COLUMNS}", "Export the map in several files",
        )  # fmt: skip
    text = decoded(content[line[0] : line[1]])
    return [each.strip(' "\r\t') for each in text.split(",")[1:]]


def _count(content: bytes, rows: dict[str, tuple[int, int, int]], where: str) -> int:
    """Number of points, if the header does not give it."""
    number, *line = rows.get("pt number", (0, 0, 0))
    cells = _cells(content, (line[0], line[1]), where, number, "pt number")
    while cells and not cells[-1]:
        cells.pop()
    return len(cells)


def _trace(name: str) -> str:
    return "" if name in ("..", "...") else name


def _row(part: Part, label: str, cells: list[str], where: str) -> None:
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


def _check_end(content: bytes, part: Part, where: str, number: int, tail: bool) -> None:
    """A complete file ends with EOF. A file without EOF is accepted if it has all quantities and ends with a
    complete line."""
    if content[-200:].rstrip(b' ,"\r\n\t\0\x1a').endswith(b"EOF"):
        return
    if not content.endswith(b"\n") or not tail:
        raise InputError(
            f"{where}, which ends in line {content.count(10) + 1}", "a file that ends with EOF",
            "Export it again: the file is cut short",
        )  # fmt: skip
    part.notes.append(f"file {part.number} of {part.of} ends without EOF: it may be cut short")


def _check_blocks(part: Part, where: str) -> None:
    """Checks that all waveforms of a file have the number of samples given by its rate and duration."""
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
