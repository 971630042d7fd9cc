"""MAT-files of versions 5 to 7: elements of bytes, by MathWorks, "MAT-File Format", chapter 1.

Not read by scipy, which allocates any size that a damaged file declares.
"""

import math
import zlib
from typing import Any

import numpy as np

from ..._results import InputError
from .files import LARGE, MOST_EXPANSION

MOST_ELEMENTS = 5_000_000
DEEPEST = 20


class Foreign:
    """Values that only MATLAB can read: objects, functions, sparse and complex numbers."""

    def __init__(self, kind: str):
        self.kind = kind


class Damaged(Exception):
    pass


# Level 5: numbers by their storage type
DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {1: "latin-1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17


class Level5:
    """The elements of a file. Lengths are checked against the remaining bytes."""

    def __init__(self, content: bytes, where: str):
        self.content, self.where, self.elements = content, where, 0
        self.order = "<" if content[126:128] == b"IM" else ">"

    def userdata(self) -> Any:
        """The variable `userdata`, its structures as dictionaries."""
        try:
            at, others = 128, []
            while at + 8 <= len(self.content):
                kind, start, size, following = self.tag(self.content, at, len(self.content))
                data, first = self.content, at
                if kind == COMPRESSED:
                    data, first, following = self.inflate(start, size, 4096), 0, start + size
                name = self.name(data, first)
                if name == "userdata":
                    if kind == COMPRESSED:
                        data = self.inflate(start, size, max(LARGE, MOST_EXPANSION * size), whole=True)
                    return self.matrix(data, first, len(data), 0)
                others.append(name)
                at = following
        except (Damaged, zlib.error) as error:
            raise InputError(
                f"{self.where}, which is damaged ({error})",
                "an undamaged MAT-file",
                "Save it again in MATLAB",
            ) from error
        raise no_userdata(self.where, others)

    def inflate(self, start: int, size: int, most: int, whole: bool = False) -> bytes:
        inflater = zlib.decompressobj()
        data = inflater.decompress(self.content[start : start + size], most)
        if whole and not inflater.eof:
            raise Damaged(f"a variable cut short, or one that grows to more than {most} bytes")
        return data

    def tag(self, data: bytes, at: int, end: int) -> tuple[int, int, int, int]:
        """Type, start, length and what follows of the element at a place."""
        if at + 8 > min(end, len(data)):
            raise Damaged(f"an element cut short at byte {at}")
        self.elements += 1
        if self.elements > MOST_ELEMENTS:
            raise Damaged(f"more than {MOST_ELEMENTS} elements")
        kind, size = (int(each) for each in np.frombuffer(data, f"{self.order}u4", 2, at))
        if kind >> 16:  # up to four bytes, in the tag itself
            kind, size, start, following = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise Damaged(f"{size} bytes in a tag at byte {at}")
        else:
            start = at + 8
            following = start + size + -size % 8
        if start + size > end:
            raise Damaged(f"an element of {size} bytes at byte {at} of {end}")
        return kind, start, size, min(following, end)

    def name(self, data: bytes, at: int) -> str:
        """The name of the variable at a place; of one that is compressed its first bytes are enough."""
        kind, start, _, _ = self.tag(data, at, 2**40)
        if kind != MATRIX:
            raise Damaged(f"an element of type {kind} where a variable should be")
        *_, at = self.tag(data, start, len(data))  # class and flags
        if data[start + 8 : start + 16][0 if self.order == "<" else 3 :][:1] != bytes([OPAQUE]):
            *_, at = self.tag(data, at, len(data))  # dimensions
        _, start, size, _ = self.tag(data, at, len(data))
        return data[start : start + size].decode("latin-1")

    def numbers(self, data: bytes, at: int, end: int) -> tuple[np.ndarray, int]:
        kind, start, size, following = self.tag(data, at, end)
        if kind not in DTYPES:
            raise Damaged(f"an element of type {kind} where numbers should be, at byte {at}")
        dtype = np.dtype(self.order + DTYPES[kind])
        if size % dtype.itemsize:
            raise Damaged(f"{size} bytes of numbers of {dtype.itemsize} each at byte {at}")
        return np.frombuffer(data, dtype, size // dtype.itemsize, start), following

    def matrix(self, data: bytes, at: int, end: int, depth: int) -> Any:
        """An array: numbers, text, a dictionary for a structure, an array of objects for cells."""
        kind, at, size, _ = self.tag(data, at, end)
        end = at + size
        if kind != MATRIX or depth > DEEPEST:
            raise Damaged(f"an element of type {kind}, {depth} deep, where an array should be, at byte {at}")
        if not size:
            return np.zeros((0, 0))
        flags, at = self.numbers(data, at, end)
        if not len(flags):
            raise Damaged(f"an array without flags, at byte {at}")
        kind = int(flags[0]) & 0xFF
        if kind == OPAQUE:
            names = []
            for _ in range(3):  # name, type system, class
                _, start, size, at = self.tag(data, at, end)
                names.append(data[start : start + size].decode("latin-1"))
            return Foreign(names[-1])
        dims, at = self.numbers(data, at, end)
        shape = tuple(int(each) for each in dims)
        if not 2 <= len(shape) <= 32 or min(shape) < 0:
            raise Damaged(f"an array of shape {shape[:8]}")
        count = math.prod(shape)
        *_, at = self.tag(data, at, end)  # name
        if kind in (STRUCT, OBJECT, CELL):
            return self.parts(data, at, end, depth, kind, shape, count)
        if kind in (SPARSE, FUNCTION) or int(flags[0]) & 0x800:
            return Foreign({SPARSE: "sparse", FUNCTION: "function"}.get(kind, "complex"))
        if kind == CHAR:
            return self.text(data, at, end, shape)
        values, _ = self.numbers(data, at, end)
        if len(values) != count:
            raise Damaged(f"{len(values)} numbers for an array of shape {shape}")
        return values.reshape(shape, order="F")

    def parts(self, data: bytes, at: int, end: int, depth: int, kind: int, shape, count: int) -> Any:
        name, fields = "", [""]
        if kind == OBJECT:
            _, start, size, at = self.tag(data, at, end)
            name = data[start : start + size].decode("latin-1")
        if kind != CELL:
            length, at = self.numbers(data, at, end)
            _, start, size, at = self.tag(data, at, end)
            width = int(length[0]) if len(length) else 0
            if width < 1 or size % width:
                raise Damaged(f"names of fields of {width} bytes each in {size} bytes")
            fields = [
                data[k : k + width].partition(b"\0")[0].decode("latin-1")
                for k in range(start, start + size, width)
            ]
        if count * len(fields) * 8 > end - at:
            raise Damaged(f"{count * len(fields)} parts in {end - at} bytes")
        found = []
        for _ in range(count * len(fields)):
            *_, following = self.tag(data, at, end)
            found.append(self.matrix(data, at, end, depth + 1))
            at = following
        if kind == OBJECT:
            return Foreign(name)
        if kind == STRUCT and count == 1:
            return dict(zip(fields, found, strict=True))
        if kind == STRUCT:  # arrays of structures are none of ours, the empty one excepted
            return {} if not count else Foreign("array of structures")
        return cells(found, shape)

    def text(self, data: bytes, at: int, end: int, shape) -> Any:
        kind, start, size, _ = self.tag(data, at, end)
        if kind not in TEXTS:
            raise Damaged(f"text of type {kind}")
        code = TEXTS[kind]
        if code not in ("latin-1", "utf-8"):
            code += "-le" if self.order == "<" else "-be"
        text = data[start : start + size].decode(code, "replace")
        return text if shape[0] <= 1 else rows_of_text(text, shape)


def cells(found: list, shape) -> np.ndarray:
    cells = np.empty(len(found), object)
    for k, each in enumerate(found):
        cells[k] = each
    return cells.reshape(shape, order="F")


def rows_of_text(text: str, shape) -> np.ndarray:
    """Rows of a matrix of characters, which are stored column by column."""
    if len(text) != math.prod(shape):
        raise Damaged(f"{len(text)} characters for an array of shape {shape}")
    if not text:  # of which there may be any number of rows
        return cells([], (0, 1))
    return cells([text[k :: shape[0]].rstrip() for k in range(shape[0])], (shape[0], 1))


def no_userdata(where: str, others) -> InputError:
    return InputError(
        f"{where} without the variable userdata (it has {', '.join(map(repr, others[:5])) or 'none'})",
        "a data set of OpenEP", "Save the structure userdata of OpenEP in it",
    )  # fmt: skip
