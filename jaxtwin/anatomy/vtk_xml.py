"""VTK XML files: `.vtu` and `.vtp` read, `.vtu` written.

Source: "VTK XML file formats" in the documentation of VTK (docs.vtk.org). Arrays are ASCII, base64 or
appended bytes, plain or compressed by zlib, in either byte order.
"""

import base64
import binascii
import math
import re
import zlib
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np

from .._files import atomic_write, parse_numbers, read_bytes
from .._results import InputError
from .grid import Grid, MeshFile
from .mesh import Mesh
from .simplices import POLYGON, POLYLINE, SIMPLEX, STRIP

DTYPES = {
    f"{name}{8 * size}": f"{code}{size}"
    for name, code in (("Int", "i"), ("UInt", "u"))
    for size in (1, 2, 4, 8)
}
DTYPES |= {"Float32": "f4", "Float64": "f8"}
TYPE_NAMES = {code: name for name, code in DTYPES.items()}
SECTIONS = {"Verts": 2, "Lines": POLYLINE, "Strips": STRIP, "Polys": POLYGON}
MOST_COMPONENTS = 1000


def read_vtk_xml(path: str | Path, unit: str = "auto") -> MeshFile:
    """The mesh of a `.vtu` or `.vtp` file with one piece.

    `unit` is that of the points, see `Grid.mesh_file`. Raises `InputError` for files that are cut
    short or damaged, that declare entities, or that use a compressor other than zlib.
    """
    path = Path(path)
    reader = _Reader(path, read_bytes(path))
    with np.errstate(all="ignore"):  # bit patterns in damaged files that are not numbers
        grid = reader.grid()
    return grid.mesh_file(path, unit=unit, notes=tuple(reader.notes))


def write_vtu(
    path: str | Path,
    mesh: Mesh,
    point_data: dict[str, np.ndarray] | None = None,
    cell_data: dict[str, np.ndarray] | None = None,
) -> None:
    """Writes a mesh in mm, its fibres and regions, and arrays with one row per node or cell, as `.vtu`.

    Fibres and regions become the cell arrays "fibres" and "regions", in place of any so named in
    `cell_data`. Points of a plane mesh get z = 0. The bytes are appended as they are.
    """
    pad = ((0, 0), (0, 3 - mesh.dim))
    count = len(mesh.cells)
    own = {"fibres": np.pad(mesh.fibres, pad), "regions": mesh.regions}
    cells = {
        "connectivity": mesh.cells.ravel().astype(np.int64),
        "offsets": np.arange(1, count + 1) * mesh.corners,
        "types": np.full(count, SIMPLEX[mesh.corners], np.uint8),
    }
    sections = (
        ("Points", {"points": np.pad(mesh.points, pad)}, len(mesh.points)),
        ("Cells", cells, None),
        ("PointData", point_data or {}, len(mesh.points)),
        ("CellData", {**(cell_data or {}), **own}, count),
    )
    blocks, lines, offset = [], [], 0
    for section, arrays, rows in sections:
        lines.append(f"<{section}>")
        for name, array in arrays.items():
            kind, table = _as_written(name, array, rows)
            columns = f'NumberOfComponents="{math.prod(table.shape[1:])}" ' if table.ndim > 1 else ""
            place = f'{columns}format="appended" offset="{offset}"'
            lines.append(f'<DataArray type="{kind}" Name={quoteattr(name)} {place}/>')
            blocks.append(np.ascontiguousarray(table))
            offset += 8 + table.nbytes
        lines.append(f"</{section}>")
    head = (
        '<?xml version="1.0"?>\n'
        '<VTKFile type="UnstructuredGrid" version="1.0" byte_order="LittleEndian" header_type="UInt64">\n'
        f'<UnstructuredGrid><Piece NumberOfPoints="{len(mesh.points)}" NumberOfCells="{count}">\n'
    )
    foot = '\n</Piece></UnstructuredGrid>\n<AppendedData encoding="raw">\n_'
    with atomic_write(path) as stream:
        stream.write((head + "\n".join(lines) + foot).encode())
        for block in blocks:
            stream.write(np.uint64(block.nbytes).astype("<u8").tobytes())
            stream.write(block.tobytes())
        stream.write(b"\n</AppendedData>\n</VTKFile>\n")


def _as_written(name, array, rows):
    array = np.asarray(array)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    kind = TYPE_NAMES.get(array.dtype.str[1:])
    if kind is None or not name.isprintable() or (rows is not None and array.shape[:1] != (rows,)):
        raise InputError(
            f"array {name!r} of type {array.dtype} and shape {array.shape}",
            f"a printable name and whole or floating numbers with {rows} rows",
            "Convert the array, or leave it out",
        )
    return kind, array.astype(array.dtype.newbyteorder("<"))


class _Reader:
    """The elements and the appended bytes of one file."""

    def __init__(self, path: Path, data: bytes):
        self.path, self.notes = path, []
        header, self.appended, self.encoding = self.split(data)
        try:
            text = header.decode("utf-8")  # no other encoding that could hide a declaration
        except UnicodeDecodeError as error:
            raise self.refusal("a header that is not UTF-8") from error
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise self.refusal("a document type or entity declaration, which mesh files never need")
        try:
            root = ElementTree.fromstring(text)
        except (ElementTree.ParseError, ValueError) as error:
            raise self.refusal(f"a header that is not XML ({error})") from error
        self.root, self.kind = root, root.get("type", "")
        if root.tag != "VTKFile" or self.kind not in ("UnstructuredGrid", "PolyData"):
            raise self.refusal(f"the element {root.tag[:40]!r} of type {self.kind[:40]!r}")
        self.order = ">" if root.get("byte_order") == "BigEndian" else "<"
        width = {"UInt32": 4, "UInt64": 8}.get(root.get("header_type", "UInt32"))
        compressor = root.get("compressor")
        if width is None or compressor not in (None, "vtkZLibDataCompressor"):
            raise self.refusal(
                f"header type {root.get('header_type')} and compressor {compressor}",
                "Write the file with zlib compression or none (ParaView: Data Mode, Compressor Type)",
            )
        self.size_type, self.compressed = np.dtype(f"{self.order}u{width}"), compressor is not None

    def split(self, data: bytes) -> tuple[bytes, bytes, str]:
        """The XML without the appended section, which is not XML; the bytes of it; and their encoding."""
        mark = re.search(rb"<AppendedData([^>]*)>\s*_", data)
        if mark is None:
            return data, b"", "none"
        end = data.rfind(b"</AppendedData>")
        appended = data[mark.end() : end if end >= mark.end() else len(data)]
        encoding = "base64" if b"base64" in mark[1] else "raw"
        return data[: mark.start()] + b"</VTKFile>", appended, encoding

    def grid(self) -> Grid:
        pieces = self.root.findall(f"{self.kind}/Piece")
        if len(pieces) != 1:
            raise self.refusal(
                f"{len(pieces)} pieces", "Merge them first (ParaView: Append Datasets, Clean to Grid)"
            )
        piece = pieces[0]
        nodes = self.whole(piece, "NumberOfPoints")
        points = piece.find("Points/DataArray")
        if points is None:
            raise self.refusal("no points")
        xyz = self.array(points, nodes)
        if xyz.shape != (nodes, 3):
            raise self.refusal(f"points with shape {xyz.shape}")
        types, counts, connectivity = self.cells(piece)
        return Grid(
            points=xyz.astype(np.float64),
            types=types,
            offsets=np.concatenate([[0], np.cumsum(counts)]),
            connectivity=connectivity,
            point_data=self.table(piece, "PointData", nodes),
            cell_data=self.table(piece, "CellData", len(types)),
        )

    def cells(self, piece):
        """Types, counts and connectivity of all cells."""
        if self.kind == "UnstructuredGrid":
            sections = [("Cells", self.whole(piece, "NumberOfCells"), None)]
        else:
            sections = [
                (name, self.whole(piece, f"NumberOf{name}", "0"), kind) for name, kind in SECTIONS.items()
            ]
        found = []
        for section, count, kind in sections:
            if not count:
                continue
            arrays = {element.get("Name"): element for element in piece.findall(f"{section}/DataArray")}
            wanted = {"connectivity", "offsets"} | ({"types"} if kind is None else set())
            if not wanted <= set(arrays):
                raise self.refusal(f"{section} without {', '.join(sorted(wanted - set(arrays)))}")
            ends = self.array(arrays["offsets"], count).astype(np.int64).reshape(-1)
            counts = np.diff(ends, prepend=0)
            if (counts < 0).any():
                raise self.refusal("offsets that do not grow")
            nodes = self.array(arrays["connectivity"], int(ends[-1])).astype(np.int64).reshape(-1)
            types = (
                np.full(count, kind)
                if kind
                else self.array(arrays["types"], count).astype(np.int64).reshape(-1)
            )
            found.append((types, counts, nodes))
        if not found:
            raise self.refusal("no cells")
        return (np.concatenate(part) for part in zip(*found, strict=True))

    def table(self, piece, section: str, rows: int) -> dict[str, np.ndarray]:
        table = {}
        for index, element in enumerate(piece.findall(f"{section}/DataArray")):
            name = element.get("Name", f"array{index}")
            if element.get("type") in DTYPES:
                table[name] = self.array(element, rows)
            else:
                self.notes.append(f"array {name!r} of type {element.get('type')} dropped")
        return table

    def array(self, element, rows: int) -> np.ndarray:
        """The numbers of a DataArray, (rows,) or (rows, components)."""
        columns = self.whole(element, "NumberOfComponents", "1")
        kind = element.get("type")
        if kind not in DTYPES or not 1 <= columns <= MOST_COMPONENTS:
            raise self.refusal(f"an array of type {kind} with {columns} components")
        dtype, count = np.dtype(self.order + DTYPES[kind]), rows * columns
        form = element.get("format", "ascii")
        if count == 0:
            flat = np.zeros(0, dtype)
        elif form == "ascii":
            text = (element.text or "").encode()
            flat = parse_numbers(text, np.float64 if dtype.kind == "f" else np.int64)
        elif form == "binary":
            flat = self.decode(_from_base64((element.text or "").encode()), dtype, count)
        else:
            flat = self.decode(self.appended_at(self.whole(element, "offset")), dtype, count)
        if flat is None or flat.size != count:
            raise self.refusal(f"array {element.get('Name')!r} without the {count} numbers announced for it")
        flat = flat.astype(dtype.newbyteorder("="))
        return flat if columns == 1 else flat.reshape(rows, columns)

    def decode(self, block: bytes | None, dtype: np.dtype, count: int) -> np.ndarray | None:
        """The numbers of an encoded array, or None if it is incomplete."""
        wanted, width = count * dtype.itemsize, self.size_type.itemsize
        if block is None or len(block) < width:
            return None
        first = int(np.frombuffer(block, self.size_type, 1)[0])
        if not self.compressed:
            whole = first == wanted <= len(block) - width
            return np.frombuffer(block, dtype, count, width) if whole else None
        # Compressed: number of blocks, size of a block, size of the last one, compressed sizes.
        if (3 + first) * width > len(block) or first == 0:
            return None
        sizes = np.frombuffer(block, self.size_type, 2 + first, width)
        stops = (3 + first) * width + np.cumsum(np.minimum(sizes[2:], len(block)).astype(np.int64))
        if stops[-1] > len(block):
            return None
        starts = [(3 + first) * width, *stops[:-1].tolist()]
        parts, missing = [], wanted
        try:
            for start, stop in zip(starts, stops.tolist(), strict=True):
                # One byte more than expected reveals a block that is too long, whatever its inflated size.
                parts.append(zlib.decompressobj().decompress(block[start:stop], missing + 1))
                missing -= len(parts[-1])
                if missing < 0:
                    return None
        except zlib.error:
            return None
        return None if missing else np.frombuffer(b"".join(parts), dtype)

    def appended_at(self, offset: int) -> bytes | None:
        """The bytes of the appended section from `offset` to where the next array begins."""
        after = np.searchsorted(self.offsets, offset, side="right")
        end = self.offsets[after] if after < len(self.offsets) else len(self.appended)
        block = self.appended[offset:end]
        return _from_base64(block) if self.encoding == "base64" else block

    @cached_property
    def offsets(self) -> list[int]:
        elements = self.root.iter("DataArray")
        return sorted({self.whole(element, "offset") for element in elements if element.get("offset")})

    def whole(self, element, name: str, default: str | None = None) -> int:
        word = element.get(name, default) or ""
        if not re.fullmatch(r"\s*[0-9]{1,15}\s*", word, re.ASCII):
            raise self.refusal(f"{word[:60]!r} for {name}, where a count should be")
        return int(word)

    def refusal(self, got: str, do: str = "Write the file again, for example with ParaView") -> InputError:
        return InputError(
            f"{self.path.name} with {got}",
            "a complete VTK XML file with an unstructured grid or a surface",
            do,
        )


def _from_base64(text: bytes) -> bytes | None:
    """Decodes concatenated base64 sections, each with its own padding, or None."""
    runs = re.findall(rb"[^=]+={0,2}", b"".join(text.split()))
    try:
        return b"".join(base64.b64decode(run, validate=True) for run in runs)
    except binascii.Error:
        return None
