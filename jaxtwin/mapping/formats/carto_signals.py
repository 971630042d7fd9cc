"""Waveforms of CARTO 3: `_ECG_Export.txt`, a table of integers, one line per millisecond."""

import re
from dataclasses import dataclass

import numpy as np

from ..._compiled import compiled
from ..._results import InputError
from .files import Files

MARK = b"ECG_Export"
RATE_HZ = 1000.0
HEAD = 1 << 16  # bytes; a head with 400 channels of 30 letters has 12,000
MOST = 1 << 28  # bytes of one file
CHANNEL = re.compile(r"\s*(.+?)\((\d+)\)")


@dataclass(frozen=True)
class Head:
    """The header: `gain_mv` of each channel, `channels`, and the channels of the point ("" if the file does
    not name them). `begin`: byte where numbers begin, on line `line`."""

    gain_mv: float
    channels: tuple[str, ...]
    unipolar: str
    bipolar: str
    reference: str
    begin: int
    line: int


def read_head(files: Files, name: str) -> Head:
    """Reads the header of a file. Raises `InputError` if it has none."""
    head, where = files.head(name, HEAD), f"{files.path}: {name}"
    if not head.startswith(MARK):
        raise InputError(
            f"{where}, which does not begin with {MARK.decode()}", "waveforms", "Export it again"
        )
    said: dict[str, str] = {}
    begin, gain = 0, None
    for line, raw in enumerate(head.splitlines(keepends=True)[:10], 1):
        begin += len(raw)
        text = raw.decode("cp1252", "replace").strip()
        if found := re.search(r"gain\)?\s*=\s*([-+.\deE]+)", text):
            try:
                gain = float(found[1])
            except ValueError:
                gain = None
        for key in ("Unipolar", "Bipolar", "Reference"):
            if found := re.search(rf"{key}(?: Mapping)? Channel=(\S+)", text):
                said[key] = CHANNEL.sub(r"\1", found[1])
        channels = CHANNEL.findall(text)
        if len(channels) > 1 or (channels and "=" not in text):
            short = [each[0] for each in channels]
            full = [f"{a}({b})" for a, b in channels]
            names = tuple(short if len(set(short)) == len(short) else full)
            if gain is None or not np.isfinite(gain) or gain <= 0:
                raise InputError(f"{where} without a gain", "mV for each number", "Export it again")
            origin = [said.get(key, "") for key in ("Unipolar", "Bipolar", "Reference")]
            return Head(gain, names, origin[0], origin[1], origin[2], begin, line)
    raise InputError(f"{where} without a line of channels", "names such as M1(1)", "Export it again")


def read_trace(files: Files, name: str, head: Head) -> np.ndarray:
    """All numbers of a file, (samples, channels). Raises `InputError`, with the line, for anything else."""
    with files.open(name) as stream:
        content = stream.read(min(files.size(name), MOST) + 1)
    channels = len(head.channels)
    if len(content) > MOST:
        raise InputError(f"{files.path}: {name} with more than {MOST} bytes", "one point", "Check what it is")
    text = np.frombuffer(content, np.uint8)[head.begin :]
    values, bad = _table(text, channels)
    if bad >= 0:
        raise InputError(
            f"{files.path}: {name} line {head.line + 1 + bad}, which does not hold {channels} whole numbers",
            f"one for each of {channels} channels", "The file is damaged: export it again",
        )  # fmt: skip
    return values


@compiled
def _table(text, channels):
    """Numbers of a table, and the first line that is none (-1: all are). In lines as long as the first, with
    numbers at the same places, blanks between are looked at only at their ends."""
    size = text.size
    first = 0
    while first < size and text[first] != 10:
        first += 1
    width = first + 1  # with its line end
    starts = np.zeros(channels, np.int64)
    found, before = 0, True
    for i in range(min(first, size)):
        blank = text[i] == 32 or text[i] == 9 or text[i] == 13
        if before and not blank:
            if found < channels:
                starts[found] = i
            found += 1
        before = blank
    # a number takes two bytes at least; memory that is not written is not taken
    values = np.empty((size // (2 * channels) + 1, channels), np.int32)
    row, at = 0, 0
    while at < size:
        end = at + width - 1
        same = found == channels and end < size and text[end] == 10
        if same:
            for c in range(channels):
                i = at + starts[c]
                last = at + starts[c + 1] if c + 1 < channels else end
                if i > at and text[i - 1] != 32 and text[i - 1] != 9:
                    same = False
                    break
                value, i = _whole(text, i, last)
                if i < 0 or (i < last and text[i] != 32 and text[i] != 9 and text[i] != 13):
                    same = False
                    break
                if c + 1 < channels and text[last - 1] != 32 and text[last - 1] != 9:
                    same = False
                    break
                values[row, c] = value
        if not same:
            # another layout: every byte is examined
            end = at
            while end < size and text[end] != 10:
                end += 1
            c, i = 0, at
            while i < end:
                if text[i] == 32 or text[i] == 9 or text[i] == 13:
                    i += 1
                    continue
                value, i = _whole(text, i, end)
                if i < 0 or c == channels or (i < end and text[i] != 32 and text[i] != 9 and text[i] != 13):
                    return values[:0], row
                values[row, c] = value
                c += 1
            if c == 0:  # a blank line
                at = end + 1
                continue
            if c < channels:
                return values[:0], row
        row += 1
        at = end + 1
    return values[:row].copy(), -1


@compiled
def _whole(text, i, last):
    """A whole number from byte i on, and where it ends; -1 there where it is none."""
    sign = 1
    if i < last and text[i] == 45:
        sign = -1
        i += 1
    begin, value = i, 0
    while i < last and 48 <= text[i] <= 57:
        value = 10 * value + text[i] - 48
        i += 1
    if i == begin or i - begin > 9:
        return 0, -1
    return sign * value, i
