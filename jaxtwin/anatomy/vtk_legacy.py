"""Legacy VTK files, versions 2 to 5.1, ASCII and binary: surfaces and unstructured grids.

Source: the format as described in The VTK User's Guide, chapter "VTK file formats", and, for the
OFFSETS/CONNECTIVITY form of version 5.1, in the release notes of VTK 9.
"""

import re
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from .._files import parse_numbers, read_bytes
from .._results import InputError
from .grid import Grid, MeshFile
from .simplices import POLYGON, POLYLINE, STRIP

# Numbers in binary files are big-endian. A vtkIdType is stored as int, whatever its size in memory.
DTYPES = {
    "unsigned_char": ">u1",
    "char": ">i1",
    "signed_char": ">i1",
    "unsigned_short": ">u2",
    "short": ">i2",
}
DTYPES |= {"unsigned_int": ">u4", "int": ">i4", "vtkidtype": ">i4", "unsigned_long": ">u8", "long": ">i8"}
DTYPES |= {"vtktypeint64": ">i8", "vtktypeuint64": ">u8", "float": ">f4", "double": ">f8", "bit": "bit"}
COMPONENTS = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9, "TENSORS6": 6}
COMPONENTS |= {"GLOBAL_IDS": 1, "PEDIGREE_IDS": 1, "EDGE_FLAGS": 1}
SECTIONS = {"VERTICES": 2, "LINES": POLYLINE, "POLYGONS": POLYGON, "TRIANGLE_STRIPS": STRIP}
LONGEST_LINE = 4096


def read_vtk_legacy(path: str | Path, unit: str = "auto") -> MeshFile:
    """The mesh of a legacy `.vtk` file with DATASET POLYDATA or UNSTRUCTURED_GRID.

    `unit` is that of the points, see `Grid.mesh_file`. Raises `InputError` for files that are cut
    short or damaged and for structured data sets.
    """
    path = Path(path)
    with np.errstate(all="ignore"):  # bit patterns in damaged files that are not numbers
        grid = _Reader(path, read_bytes(path)).grid()
    return grid.mesh_file(path, unit=unit)


class _Reader:
    """One pass over the bytes of a file. Counts are checked against the remaining bytes."""

    def __init__(self, path: Path, data: bytes):
        self.path, self.data, self.at = path, data, 0
        self.points = np.zeros((0, 3))
        self.types: np.ndarray | None = None
        self.blocks: list[tuple[int, np.ndarray, np.ndarray]] = []  # kind, counts, connectivity
        self.tables: dict[str, dict[str, np.ndarray]] = {"POINT_DATA": {}, "CELL_DATA": {}, "": {}}
        self.where, self.rows = "", 0

    def grid(self) -> Grid:
        if not re.match(rb"# vtk DataFile Version \d", self.data):
            raise self.refusal("a file that does not begin with '# vtk DataFile Version'")
        for _ in range(2):  # the version and a title
            self.raw_line()
        form = [word.upper() for word in self.line()]
        if form not in (["ASCII"], ["BINARY"]):
            raise self.refusal(f"the third line {' '.join(form)!r} instead of ASCII or BINARY")
        self.binary = form == ["BINARY"]
        dataset = [word.upper() for word in self.line()]
        if dataset not in (["DATASET", "POLYDATA"], ["DATASET", "UNSTRUCTURED_GRID"]):
            raise self.refusal(f"{' '.join(dataset)!r} instead of DATASET POLYDATA or UNSTRUCTURED_GRID")
        while words := self.line():
            self.section(words)
        if not self.blocks:
            raise self.refusal("no cells")
        counts = np.concatenate([counts for _, counts, _ in self.blocks])
        kinds = np.concatenate([np.full(len(counts), kind) for kind, counts, _ in self.blocks])
        return Grid(
            points=self.points,
            types=self.cell_types(kinds),
            offsets=np.concatenate([[0], np.cumsum(counts)]),
            connectivity=np.concatenate([nodes for *_, nodes in self.blocks]),
            point_data=self.tables["POINT_DATA"],
            cell_data=self.tables["CELL_DATA"],
        )

    def section(self, words: list[str]):
        key = words[0].upper()
        if key == "POINTS" and len(words) == 3:
            self.points = self.values(words[2], self.whole(words[1]) * 3).astype(np.float64).reshape(-1, 3)
        elif key in ("CELLS", *SECTIONS) and len(words) == 3:
            kind = SECTIONS.get(key, 0)
            self.blocks.append((kind, *self.cells(self.whole(words[1]), self.whole(words[2]))))
        elif key == "CELL_TYPES" and len(words) == 2:
            self.types = self.values("int", self.whole(words[1])).astype(np.int64)
        elif key == "METADATA":
            while self.raw_line().strip():
                pass
        elif key in ("POINT_DATA", "CELL_DATA") and len(words) == 2:
            self.where, self.rows = key, self.whole(words[1])
        elif key == "FIELD" and len(words) == 3:
            for _ in range(self.whole(words[2])):
                self.field_array()
        elif key == "SCALARS" and len(words) in (3, 4):
            columns = self.whole(words[3]) if len(words) == 4 else 1
            before = self.at
            if self.line()[:1] != ["LOOKUP_TABLE"]:
                self.at = before
            self.keep(words[1], words[2], self.rows, columns)
        elif key in COMPONENTS and len(words) == 3:
            self.keep(words[1], words[2], self.rows, COMPONENTS[key])
        elif key == "TEXTURE_COORDINATES" and len(words) == 4:
            self.keep(words[1], words[3], self.rows, self.whole(words[2]))
        elif key == "COLOR_SCALARS" and len(words) == 3:
            self.keep(words[1], "unsigned_char" if self.binary else "float", self.rows, self.whole(words[2]))
        elif key == "LOOKUP_TABLE" and len(words) == 3:
            self.values("unsigned_char" if self.binary else "float", 4 * self.whole(words[2]))
        else:
            raise self.refusal(f"{' '.join(words)[:60]!r} where a section should begin")

    def field_array(self):
        words = self.line()
        if words[:1] == ["METADATA"]:
            self.section(words)
            words = self.line()
        if len(words) != 4:
            raise self.refusal(
                f"{' '.join(words)[:60]!r} where 'name columns rows type' of an array should be"
            )
        self.keep(words[0], words[3], self.whole(words[2]), self.whole(words[1]))

    def keep(self, name: str, kind: str, rows: int, columns: int):
        array = self.values(kind, rows * columns)
        shape = {1: (rows,), 9: (rows, 3, 3)}.get(columns, (rows, columns))
        self.tables[self.where][unquote(name)] = array.reshape(shape)

    def cells(self, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Counts and connectivity of a block of cells, in either of the two forms."""
        before = self.at
        words = self.line()
        if len(words) == 2 and words[0] == "OFFSETS":
            offsets = self.values(words[1], count).astype(np.int64)
            words = self.line()
            if len(words) != 2 or words[0] != "CONNECTIVITY":
                raise self.refusal("OFFSETS without CONNECTIVITY")
            nodes = self.values(words[1], size).astype(np.int64)
            if offsets.size and (offsets[0] != 0 or offsets[-1] != size):
                raise self.refusal(f"offsets that do not run from 0 to {size}")
            return np.diff(offsets), nodes
        self.at = before
        flat = self.values("int", size).astype(np.int64)
        starts = self.cell_starts(flat, count)
        counts = flat[starts]
        if (counts < 0).any() or counts.sum() + count != size:
            raise self.refusal(f"{count} cells that do not fill their {size} entries")
        return counts, np.delete(flat, starts)

    def cell_starts(self, flat: np.ndarray, count: int) -> np.ndarray:
        """Starts of the cells in rows `n i j k ...`: each row determines the start of the next one."""
        if count > flat.size:
            raise self.refusal(f"{count} cells in {flat.size} entries")
        width = flat.size // max(count, 1)
        if count and width * count == flat.size and (flat[::width] == width - 1).all():
            return np.arange(count) * width
        # Doubling: from the starts of the first m cells and jumps over m cells to those of 2 m.
        jump = np.append(np.clip(np.arange(flat.size) + flat + 1, 0, flat.size), flat.size)
        starts = np.zeros(1, np.int64)
        while starts.size < count:
            starts, jump = np.concatenate([starts, jump[starts]]), jump[jump]
        starts = starts[:count]
        if count and (starts[-1] == flat.size or (np.diff(starts) <= 0).any()):
            raise self.refusal(f"fewer than {count} cells in {flat.size} entries")
        return starts

    def cell_types(self, kinds: np.ndarray) -> np.ndarray:
        if self.types is None and (kinds == 0).any():
            raise self.refusal("CELLS without CELL_TYPES")
        return kinds if self.types is None else self.types

    def values(self, kind: str, count: int) -> np.ndarray:
        """The next `count` numbers."""
        dtype = DTYPES.get(kind.lower())
        if dtype is None:
            raise self.refusal(f"an array of type {kind!r}", "Remove that array and write the file again")
        if self.binary:
            return self.binary_values(dtype, count)
        first = int(np.searchsorted(self.word_starts, self.at))
        if count > len(self.word_starts) - first:
            raise self.refusal(f"{len(self.word_starts) - first} numbers where {count} were announced")
        last = first + count
        end = int(self.word_starts[last]) if last < len(self.word_starts) else len(self.data)
        text, self.at = self.data[self.at : end], end
        numbers = parse_numbers(text, np.float64 if "f" in dtype else np.int64)
        if numbers is None or numbers.size != count:
            raise self.refusal(f"something that is not a number of type {kind} among {count} of them")
        return numbers.astype("u1" if dtype == "bit" else dtype[1:])

    def binary_values(self, dtype: str, count: int) -> np.ndarray:
        size = (count + 7) // 8 if dtype == "bit" else count * np.dtype(dtype).itemsize
        if size > len(self.data) - self.at:
            raise self.refusal(f"{len(self.data) - self.at} bytes where {size} were announced")
        block = self.data[self.at : self.at + size]
        self.at += size
        if dtype == "bit":
            return np.unpackbits(np.frombuffer(block, np.uint8), count=count)
        return np.frombuffer(block, dtype).astype(dtype[1:])

    @cached_property
    def word_starts(self) -> np.ndarray:
        blank = np.frombuffer(self.data, np.uint8) <= ord(" ")
        return np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]]))

    def raw_line(self) -> bytes:
        end = self.data.find(b"\n", self.at, self.at + LONGEST_LINE)
        if end < 0:
            end = min(len(self.data), self.at + LONGEST_LINE)
        line, self.at = self.data[self.at : end], min(end + 1, len(self.data))
        return line

    def line(self) -> list[str]:
        """The words of the next non-empty line; none at the end of the file."""
        while self.at < len(self.data):
            if words := self.raw_line().decode("latin-1").split():
                return words
        return []

    def whole(self, word: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", word):
            raise self.refusal(f"{word[:60]!r} where a count should be")
        return int(word)

    def refusal(self, got: str, do: str = "Write the file again, for example with ParaView") -> InputError:
        return InputError(
            f"{self.path.name} with {got}, near byte {self.at}",
            "a complete legacy VTK file with a surface or an unstructured grid",
            do,
        )
