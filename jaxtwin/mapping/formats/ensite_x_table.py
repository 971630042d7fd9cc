"""Tables of points of EnSite X: `Map_*.csv`, one line each."""

import csv
import re
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from ..._results import InputError
from .ensite_surface import decoded, value
from .files import Files

MOST_BYTES = 2**27  # of a table of points
MOST_LINE = 2**22  # bytes
MOST_LINES = 1_000_000
MOST_CELLS = 5_000  # of a line of a table of points
MOST_HEADER = 500  # lines
CLOCKS = {"reftime (abs)", "starttime (abs)"}  # seconds since 1970 would reveal the date of the procedure
VOLTAGES = {"pp_valong": "bipolar_mv", "unipolemaxpp": "unipolar_mv"}
KNOWN = {
    "roving x", "roving y", "roving z", "surface x", "surface y", "surface z", "left curtain (ms)",
    "right curtain (ms)", "force (g)", "utilized", "ref tick", "rov tick 1", "lat", "p-p",
} | set(VOLTAGES)  # fmt: skip
OTHERS = {
    "displayed", "gold-starred", "normal x", "normal y", "normal z", "adjtime (ms)", "actseq", "# rov ticks",
}  # fmt: skip
TEXTS = ("rov trace", "electrodes", "ref trace", "freeze grp #", "(point #)", "annot")


def is_table(head: str) -> bool:
    return "data starts in row" in head and bool(re.search(r"map (name|type)\s*:|wave name\s*:", head))


@dataclass
class Table:
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


def key_of(line: str) -> tuple[str, str]:
    """What a line of a header is about, and the first cell that it says: "Map name:,A", "Version : 1"."""
    line = line[:2000]
    at = min((place for place in (line.find(":"), line.find(",")) if place >= 0), default=len(line))
    rest = line[at:].lstrip(' :,"').partition(",")[0]
    return line[:at].strip(' "\t').lower(), rest.strip(' "\r\n')


def split_line(line: str, where: str) -> list[str]:
    """Cells of a line. Only texts of operators are quoted."""
    if '"' not in line:
        return [each.strip() for each in line.split(",")]
    try:
        return [each.strip() for each in next(csv.reader([line.rstrip("\r\n")]), [])]
    except csv.Error as error:
        raise InputError(f"{where} ({error})", "cells separated by commas", "Export it again") from error


def is_columns(cells: list[str], wave: bool) -> bool:
    names = {each.lower() for each in cells}
    return "freeze grp #" in names and ("trace" in names if wave else "roving x" in names)


def truncated(where: str, number: int) -> InputError:
    return InputError(
        f"{where}, which ends within line {number}", "whole lines", "Export it again: the file is cut short"
    )


def read_table(files: Files, name: str) -> Table:
    where = f"{files.path}: {name}"
    content = files.read(name, MOST_BYTES)
    if content.count(b"\n") > MOST_LINES:
        raise InputError(f"{where} with more than {MOST_LINES} lines", "a map", "Check what it is")
    each = Table(name, {})
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
            cells = split_line(line, f"{where} line {number}")
            if not line.startswith("*") and is_columns(cells, wave=False):
                columns = {}
                for at, title in enumerate(cells):
                    columns.setdefault(title.lower(), at)
                wanted = _wanted(columns)
                _check_columns(columns, where, number)
                numbers = {title: [] for title in wanted}
                each.texts = {title: [] for title in TEXTS if title in columns}
                # ticks are last, any number of them
                needed = 1 + max(columns[t] for t in (*numbers, *each.texts) if not t.startswith("rov tick"))
                width = len(cells)
                declared = declared_count(each.header, "# mapping pts", where)
            elif number > MOST_HEADER:
                break
            elif not line.startswith(("*", "%")):
                key, rest = key_of(line)
                each.header.setdefault(key, rest)
            continue
        if last:
            raise truncated(where, number)
        cells = split_line(line, f"{where} line {number}")
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
        raise truncated(where, number)
    each.texts.setdefault("(point #)", [str(i + 1) for i in range(count)])
    return each


def _wanted(columns: dict[str, int]) -> list[str]:
    """The numeric columns, and the columns that mark others as valid."""
    valid = {title for title in columns if title.endswith(" valid") and title[:-6] in columns}
    values = {title[:-6] for title in valid}
    voltages = {title for title in columns if re.match(r"pp_\w+$|uni_\w+[xyz]$", title)}
    return sorted((valid | values | voltages | (columns.keys() & (KNOWN | OTHERS))) - CLOCKS)


def _check_columns(columns: dict[str, int], where: str, number: int) -> None:
    for title in ("roving x", "roving y", "roving z"):
        if title not in columns:
            raise InputError(f"{where} line {number} without '{title}'", "x, y and z", "Export it again")


def declared_count(header: dict[str, str], key: str, where: str) -> int:
    text = header.get(key, "")
    if not text:
        return -1
    if not re.fullmatch(r"\d{1,9}", text):
        raise InputError(f"{where}, '{key}' {text[:20]!r}", "a whole number", "Export it again")
    return int(text)


def map_name(header: dict[str, str], file: str) -> str:
    """The name of waveforms: "rov", "uni_distal", "refs", ..."""
    stem = re.sub(r"^wave_|\.csv$", "", file.rpartition("/")[2], flags=re.I)
    return re.sub(r"^wave_|\.csv$", "", header.get("wave name", ""), flags=re.I).strip()[:60] or stem[:60]
