"""Text tables: encoding, line ends, comments, separator, decimal mark."""

import csv
import io
import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from .._results import InputError

MAX_LINE, MAX_COLUMNS = 2**16, 100  # limits far above any map
SEPARATORS = ",;\t|"
COMMENTS = "#", '"#', "%", "//"
ERRORS = "#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!"  # of spreadsheets, no comments
PREAMBLE = 50  # lines searched for a header
MISSING = {"", "na", "n/a", "nan", "null", "none", "-", *(each.lower() for each in ERRORS)}


def numbered_lines(path: Path, stream: io.BufferedIOBase) -> Iterator[tuple[int, str]]:
    """Numbered non-blank lines of a text, without line ends of any kind (LF, CR LF, CR).

    UTF-8, UTF-16 with a byte order mark or recognised by its null bytes, and Latin-1 if a line is not UTF-8.
    No line is read beyond its limit. Raises `InputError` for longer lines and for binary files.
    """
    encoding = _encoding(stream)
    # bytes that are not UTF-8 become surrogates, from which the line is decoded again
    errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
    text = io.TextIOWrapper(stream, encoding, errors, newline=None)  # type: ignore[arg-type]
    number = 0
    while line := text.readline(MAX_LINE):
        number += 1
        if "\0" in line:
            raise InputError(
                f"{path} line {number} with null bytes", "plain text",
                "This is a binary file: save it as CSV in UTF-8",
            )  # fmt: skip
        if len(line) == MAX_LINE and not line.endswith("\n"):
            raise InputError(
                f"{path} line {number} with more than {MAX_LINE} characters",
                f"at most {MAX_COLUMNS} columns and one point on each line",
                "Check that this is a table with one point on each line",
            )
        if any("\udc80" <= c <= "\udcff" for c in line):
            line = line.encode("utf-8", "surrogateescape").decode("latin-1")
        if line.strip():
            yield number, line.rstrip("\n")
    text.detach()


def _encoding(stream: io.BufferedIOBase) -> str:
    head = stream.read(1024)
    stream.seek(0)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    # Latin letters in UTF-16 have a null byte each
    for name, nulls, letters in (
        ("utf-16-le", head[1::2], head[0::2]),
        ("utf-16-be", head[0::2], head[1::2]),
    ):
        plain = sum(9 <= byte < 127 for byte in letters)
        if nulls.count(0) > 0.6 * len(nulls) and plain > 0.6 * len(letters):
            return name
    return "utf-8-sig"


def read_table(
    path: Path, stream: io.BufferedIOBase, known: Callable[[list[str]], int]
) -> tuple[list[str], Iterator[tuple[int, list[str]]], int]:
    """The header, the rows below it with their line numbers, and the number of lines above it.

    The header is the first line for which `known` (the number of known columns, 0 if a required one is
    missing) is positive; it may be a comment. It is split at the separator that gives most known columns, or
    at that of a preceding line `sep=;`, as spreadsheets write it. Without a header the first line is
    returned, and no rows. Comments above it do not count.

    Raises `InputError` for a text that is not a table.
    """
    lines, separators, above = numbered_lines(path, stream), SEPARATORS, 0
    first: tuple[int, list[str]] = 1, []
    for number, line in islice(lines, PREAMBLE):
        hint = line.strip(' "')
        if not above and hint.lower().startswith("sep=") and len(hint) == 5:
            separators = hint[4]
            continue
        comment = _comment(line)
        bare = line.lstrip('#%/" ') if comment else line
        found, _, separator, header = max(
            (known(cells), len(cells), mark, cells) for mark in separators for cells in [_split(bare, mark)]
        )
        if found:
            _few(path, number, header)
            return header, _rows(path, lines, separator), above
        if not comment:
            first = first if above else (number, header)
            above += 1
    _few(path, *first)
    return first[1], iter(()), 0


def _comment(line: str) -> bool:
    return line.startswith(COMMENTS) and not line.lstrip('"').upper().startswith(ERRORS)


def _split(line: str, separator: str) -> list[str]:
    """The cells of one line; none if its quotes are not closed."""
    try:
        (cells,) = csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        return []
    return [cell.strip() for cell in cells]


def _few(path: Path, number: int, header: list[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise InputError(
            f"{path} line {number} with {len(header)} columns", f"at most {MAX_COLUMNS} columns",
            "Check that the header is on the first line and that points are lines, not columns",
        )  # fmt: skip


def _rows(path: Path, lines: Iterator[tuple[int, str]], separator: str) -> Iterator[tuple[int, list[str]]]:
    begin = 0

    def feed() -> Iterator[str]:
        nonlocal begin
        for number, line in lines:
            if not _comment(line):
                begin = begin or number  # a quoted row may span several lines
                yield line + "\n"

    reader = csv.reader(feed(), delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        begin = 0
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"{path} line {begin}, which cannot be split into columns ({error})",
                "one point on each line, quotes closed", "Correct that line",
            ) from error  # fmt: skip
        if cells is None:
            return
        if any(cell := [each.strip() for each in cells]):
            yield begin, cell


class Numbers:
    """Numbers of one table, with a point or a comma as decimal mark, determined by the first number."""

    def __init__(self) -> None:
        self._mark = ""

    def __call__(self, text: str) -> float | None:
        """The number in a cell, NaN if missing, None if it is not a number or has the other mark."""
        mark = "," if "," in text else "." if "." in text else self._mark
        self._mark = self._mark or mark
        # float() also accepts 1_000 and the digits of all scripts; a table must not
        if mark != self._mark or not text.isascii() or "_" in text or ("," in text and "." in text):
            return None
        try:
            return float(text.replace(",", "."))
        except ValueError:
            return math.nan if text.lower() in MISSING else None
