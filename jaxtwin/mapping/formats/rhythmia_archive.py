"""The parts of a Rhythmia backup as one stream of XML; binary blocks are skipped until accessed."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from html.entities import name2codepoint
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element

import numpy as np

from ..._results import InputError
from .files import Files
from .xml import parse_xml

OPENING = b"<inlinedbin"
LENGTH = re.compile(rb"\sBIN\s*=\s*[\"']?(\d{1,15})")
ATTRIBUTE = re.compile(rb"(\w+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>\"']+))")
ENTITY = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos);)(\w{1,20});")
CHUNK = 2**20  # bytes read at once
LONGEST_TAG = 4096
MOST_XML = 2**26  # bytes outside of blocks
MOST_BLOCKS = 2_000_000
MOST_BLOCK = 2**28  # bytes of a block that is read


@dataclass(frozen=True)
class Block:
    """Position of the bytes of a block in the concatenated parts, and its tag."""

    at: int
    size: int
    more: dict[str, str]


class Archive:
    """All parts as one stream: XML text, and blocks that are skipped until accessed."""

    def __init__(self, files: Files, names: list[str]):
        self.files, self.names = files, names
        self.starts = np.cumsum([0, *(files.size(name) for name in names)]).tolist()
        self.where = f"{files.path}: {names[0]}"
        self.at, self.part = 0, -1
        self.stream: BinaryIO | None = None
        self.stack = ExitStack()
        self.blocks: list[Block] = []

    def __enter__(self) -> "Archive":
        try:
            text = bytearray()
            for piece in self.text():
                text += piece
                if len(text) > MOST_XML:
                    raise self.damaged(
                        f"more than {MOST_XML} bytes outside of blocks", "a backup of Rhythmia"
                    )
            self.root = parse_xml(ENTITY.sub(_character, bytes(text)), self.where)
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *error: Any) -> Any:
        return self.stack.__exit__(*error)

    def read(self, most: int) -> bytes:
        """Up to so many bytes from here, none at the end."""
        while self.at < self.starts[-1]:
            part = int(np.searchsorted(self.starts, self.at, "right")) - 1
            if part != self.part:
                self.stack.close()
                self.stream = self.stack.enter_context(self.files.open(self.names[part]))
                self.part = part
            assert self.stream is not None
            if self.stream.tell() != self.at - self.starts[part]:
                self.stream.seek(self.at - self.starts[part])
            found = self.stream.read(min(most, self.starts[part + 1] - self.at))
            if not found:
                raise self.damaged(f"a part that ends at byte {self.at}, before its size", "a whole part")
            self.at += len(found)
            return found
        return b""

    def text(self) -> Iterator[bytes]:
        """The XML piece by piece, each block in it replaced by its number."""
        window, start = self.read(CHUNK), 0
        while True:
            at = window.find(OPENING, start)
            end = window.find(b">", at, at + LONGEST_TAG) if at >= 0 else -1
            if end >= 0:
                tag, empty = window[at : end + 1], window[end - 1 : end] == b"/"
                yield window[start:at] + (
                    b"<inlinedbin/>" if empty else b'<inlinedbin n="%d">' % len(self.blocks)
                )
                start = end + 1
                if not empty:
                    self.blocks.append(self.block(tag, self.at - len(window) + start))
                    start += self.blocks[-1].size
                if start > len(window):
                    self.at += start - len(window)
                    window, start = b"", 0
                continue
            more = self.read(CHUNK)
            if at >= 0 and (not more or len(window) - at >= LONGEST_TAG):
                raise self.damaged("a tag of a block without an end")
            # a possible beginning of a tag stays in the window
            keep = at if at >= 0 else max(start, len(window) - len(OPENING) + 1) if more else len(window)
            yield window[start:keep]
            window, start = window[keep:] + more, 0
            if not more:
                return

    def block(self, tag: bytes, at: int) -> Block:
        length = LENGTH.search(tag)
        if length is None:
            raise self.damaged(f"a block at byte {at} whose tag does not say its length (BIN)")
        size = int(length[1])
        if at + size > self.starts[-1]:
            raise InputError(
                f"{self.where}: a block of {size} bytes at byte {at} of {self.starts[-1]}",
                "all parts of the study", "The last part is missing or cut short: copy the whole backup",
            )  # fmt: skip
        if len(self.blocks) >= MOST_BLOCKS:
            raise self.damaged(f"more than {MOST_BLOCKS} blocks", "a backup of Rhythmia")
        more = {
            key.decode().lower(): b"".join(values).decode("utf-8", "replace")
            for key, *values in ATTRIBUTE.findall(tag)
        }
        return Block(at, size, more)

    def damaged(self, got: str, wanted: str = "an undamaged file") -> InputError:
        return InputError(f"{self.where}: {got}", wanted, "Copy the backup again")

    def find(self, element: Element | None, what: str) -> Block | None:
        """The block inside of an element; None where there is none."""
        inside = None if element is None else element.find("inlinedbin")
        mark = None if inside is None else inside.get("n")
        if mark is None:
            return None
        if not mark.isdigit() or int(mark) >= len(self.blocks):
            raise self.damaged(f"{what} with a block {mark[:20]!r}")
        return self.blocks[int(mark)]

    def values(self, element: Element | None, dtype: str, what: str, width: int = 1) -> np.ndarray | None:
        """Numbers of the block inside of an element, (rows, width); None where there is none."""
        block = self.find(element, what)
        if block is None:
            return None
        each = np.dtype(dtype).itemsize * width
        if block.size % each or block.size > MOST_BLOCK:
            raise self.damaged(f"{what} of {block.size} bytes", f"a multiple of {each}, at most {MOST_BLOCK}")
        self.at, pieces, left = block.at, [], block.size
        while left:
            pieces.append(self.read(left))
            left -= len(pieces[-1])
        found = np.frombuffer(b"".join(pieces), dtype).reshape(-1, width)
        if found.dtype.kind != "f":
            return found
        with np.errstate(all="ignore"):  # bit patterns that are not numbers
            return finite(found.astype(np.float64))


def _character(entity: re.Match[bytes]) -> bytes:
    """A character that HTML names and XML does not know."""
    name = entity[1].decode("utf-8", "replace")
    return b"&#%d;" % name2codepoint[name] if name in name2codepoint else entity[1]


def finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)
