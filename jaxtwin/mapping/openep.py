"""OpenEP data sets, read and written: one map as the MATLAB structure `userdata`, in versions 5 to 7.3.

Sources: the fields as openep-core and openep-py name them (openep.io); the bytes as in MathWorks, "MAT-File
Format", chapter 1, and for version 7.3 as h5py shows them. Files of version 5 are read here and not by
scipy, which allocates whatever a damaged file declares.
"""

import io
import math
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import h5py.h5o
import numpy as np

from .._files import atomic_write
from .._results import InputError
from .data import SENTINEL
from .files import LARGE, MOST_EXPANSION, Files
from .study import AbstractSignals, Map, Points, Signals, Study, Surface

RATE_HZ = 1000.0  # where the file does not say
MISSING = -10_000.0  # of a LAT in samples, as CARTO has it
HDF5 = b"\x89HDF\r\n\x1a\n"
MOST_ELEMENTS = 5_000_000
MOST_NUMBERS = 20_000_000  # of one array of version 7.3 that is read whole
DEEPEST = 20
FOLDERS = "cartoFolder", "precisionFolder", "ensiteXFolder", "ensitexFolder", "kodexFolder", "rhythmiaFolder"
DERIVED = "", "no LAT", "outside the window of interest"  # reasons that a reader finds again by itself


def recognises(files: Files) -> bool:
    """Whether there is a MAT-file of version 5 or later."""
    return any(_layout(files.head(name, 520)) for name in files.find(".mat"))


def _layout(head: bytes) -> str:
    if head.startswith(HDF5) or head[512:].startswith(HDF5):
        return "7.3"
    return "5" if head[:6] == b"MATLAB" and head[126:128] in (b"IM", b"MI") else ""


def read(files: Files, identity: bool) -> Study:
    """The map of a data set. `identity` keeps the folder it was made from, as the name of the study.

    LATs are mapAnnot less referenceAnnot, from samples to ms; those of -10000 samples are missing. The
    waveforms of a point stand under the names of its electrodes, or else as "bipolar", "unipolar 1",
    "unipolar 2"; the others as "reference" and by the names of the ECG. Of version 7.3 they are read when
    asked for. Triangles count as cut out only where `write_openep` said so: `isVertexAtRim` marks the rim of
    holes, where triangles are no more.

    Raises `InputError` for damage, for MATLAB objects in place of the surface, for columns of another
    length, and for several data sets in one place.
    """
    names = [name for name in files.find(".mat") if _layout(files.head(name, 520))]
    if len(names) != 1:
        raise InputError(
            f"{files.path} with {len(names)} MAT-files", "one data set of OpenEP", "Give the .mat of one map"
        )
    where = f"{files.path}: {names[0]}"
    version = _layout(files.head(names[0], 520))
    tree = (
        _read_73(files, names[0], where)
        if version == "7.3"
        else _Level5(files.read(names[0]), where).userdata()
    )
    with np.errstate(all="ignore"):  # damaged files hold any bit pattern
        return _Userdata(tree, where).study(version, identity, files)


class _Foreign:
    """What only MATLAB can read: objects, functions, sparse and complex numbers."""

    def __init__(self, kind: str):
        self.kind = kind


class _Damaged(Exception):
    pass


# Level 5: numbers by their storage type
DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {1: "latin-1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17


class _Level5:
    """The elements of a file. No length is trusted before the bytes for it are there."""

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
        except (_Damaged, zlib.error) as error:
            raise InputError(
                f"{self.where}, which is damaged ({error})",
                "an undamaged MAT-file",
                "Save it again in MATLAB",
            ) from error
        raise _no_userdata(self.where, others)

    def inflate(self, start: int, size: int, most: int, whole: bool = False) -> bytes:
        inflater = zlib.decompressobj()
        data = inflater.decompress(self.content[start : start + size], most)
        if whole and not inflater.eof:
            raise _Damaged(f"a variable cut short, or one that grows to more than {most} bytes")
        return data

    def tag(self, data: bytes, at: int, end: int) -> tuple[int, int, int, int]:
        """Type, start, length and what follows of the element at a place."""
        if at + 8 > min(end, len(data)):
            raise _Damaged(f"an element cut short at byte {at}")
        self.elements += 1
        if self.elements > MOST_ELEMENTS:
            raise _Damaged(f"more than {MOST_ELEMENTS} elements")
        kind, size = (int(each) for each in np.frombuffer(data, f"{self.order}u4", 2, at))
        if kind >> 16:  # up to four bytes, in the tag itself
            kind, size, start, following = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise _Damaged(f"{size} bytes in a tag at byte {at}")
        else:
            start = at + 8
            following = start + size + -size % 8
        if start + size > end:
            raise _Damaged(f"an element of {size} bytes at byte {at} of {end}")
        return kind, start, size, min(following, end)

    def name(self, data: bytes, at: int) -> str:
        """The name of the variable at a place; of one that is compressed its first bytes are enough."""
        kind, start, _, _ = self.tag(data, at, 2**40)
        if kind != MATRIX:
            raise _Damaged(f"an element of type {kind} where a variable should be")
        *_, at = self.tag(data, start, len(data))  # class and flags
        if data[start + 8 : start + 16][0 if self.order == "<" else 3 :][:1] != bytes([OPAQUE]):
            *_, at = self.tag(data, at, len(data))  # dimensions
        _, start, size, _ = self.tag(data, at, len(data))
        return data[start : start + size].decode("latin-1")

    def numbers(self, data: bytes, at: int, end: int) -> tuple[np.ndarray, int]:
        kind, start, size, following = self.tag(data, at, end)
        if kind not in DTYPES:
            raise _Damaged(f"an element of type {kind} where numbers should be, at byte {at}")
        dtype = np.dtype(self.order + DTYPES[kind])
        if size % dtype.itemsize:
            raise _Damaged(f"{size} bytes of numbers of {dtype.itemsize} each at byte {at}")
        return np.frombuffer(data, dtype, size // dtype.itemsize, start), following

    def matrix(self, data: bytes, at: int, end: int, depth: int) -> Any:
        """An array: numbers, text, a dictionary for a structure, an array of objects for cells."""
        kind, at, size, _ = self.tag(data, at, end)
        end = at + size
        if kind != MATRIX or depth > DEEPEST:
            raise _Damaged(f"an element of type {kind}, {depth} deep, where an array should be, at byte {at}")
        if not size:
            return np.zeros((0, 0))
        flags, at = self.numbers(data, at, end)
        kind = int(flags[0]) & 0xFF if len(flags) else 0
        if kind == OPAQUE:
            names = []
            for _ in range(3):  # name, type system, class
                _, start, size, at = self.tag(data, at, end)
                names.append(data[start : start + size].decode("latin-1"))
            return _Foreign(names[-1])
        dims, at = self.numbers(data, at, end)
        shape = tuple(int(each) for each in dims)
        if not 2 <= len(shape) <= 32 or min(shape) < 0:
            raise _Damaged(f"an array of shape {shape[:8]}")
        count = math.prod(shape)
        *_, at = self.tag(data, at, end)  # name
        if kind in (STRUCT, OBJECT, CELL):
            return self.parts(data, at, end, depth, kind, shape, count)
        if kind in (SPARSE, FUNCTION) or int(flags[0]) & 0x800:
            return _Foreign({SPARSE: "sparse", FUNCTION: "function"}.get(kind, "complex"))
        if kind == CHAR:
            return self.text(data, at, end, shape)
        values, _ = self.numbers(data, at, end)
        if len(values) != count:
            raise _Damaged(f"{len(values)} numbers for an array of shape {shape}")
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
                raise _Damaged(f"names of fields of {width} bytes each in {size} bytes")
            fields = [
                data[k : k + width].partition(b"\0")[0].decode("latin-1")
                for k in range(start, start + size, width)
            ]
        if count * len(fields) * 8 > end - at:
            raise _Damaged(f"{count * len(fields)} parts in {end - at} bytes")
        found = []
        for _ in range(count * len(fields)):
            *_, following = self.tag(data, at, end)
            found.append(self.matrix(data, at, end, depth + 1))
            at = following
        if kind == OBJECT:
            return _Foreign(name)
        if kind == STRUCT and count == 1:
            return dict(zip(fields, found, strict=True))
        if kind == STRUCT:  # arrays of structures are none of ours, the empty one excepted
            return {} if not count else _Foreign("array of structures")
        return _cells(found, shape)

    def text(self, data: bytes, at: int, end: int, shape) -> Any:
        kind, start, size, _ = self.tag(data, at, end)
        if kind not in TEXTS:
            raise _Damaged(f"text of type {kind}")
        code = TEXTS[kind]
        if code not in ("latin-1", "utf-8"):
            code += "-le" if self.order == "<" else "-be"
        text = data[start : start + size].decode(code, "replace")
        return text if shape[0] <= 1 else _rows_of_text(text, shape)


def _cells(found: list, shape) -> np.ndarray:
    cells = np.empty(len(found), object)
    for k, each in enumerate(found):
        cells[k] = each
    return cells.reshape(shape, order="F")


def _rows_of_text(text: str, shape) -> np.ndarray:
    """Rows of a matrix of characters, which are stored column by column."""
    if len(text) != math.prod(shape):
        raise _Damaged(f"{len(text)} characters for an array of shape {shape}")
    return _cells([text[k :: shape[0]].rstrip() for k in range(shape[0])], (shape[0], 1))


def _no_userdata(where: str, others) -> InputError:
    return InputError(
        f"{where} without the variable userdata (it has {', '.join(map(repr, others[:5])) or 'none'})",
        "a data set of OpenEP", "Save the structure userdata of OpenEP in it",
    )  # fmt: skip


# Version 7.3: HDF5, with the axes of arrays in the opposite order
WHOLE = "annotations", "voltages", "impedances", "force", "triRep"
WAVEFORMS = "egm", "egmUni", "egmRef", "ecg"
LEAVES = {
    "surface": ("act_bip", "uni_imp_frc", "isVertexAtRim", "isCutOut", "triRep"),
    "electric": (
        "tags", "names", "include", "sampleFrequency", "electrodeNames_bip", "electrodeNames_uni", "egmX",
        "egmSurfX", "egmGain", "egmUniGain", "egmRefGain", "ecgGain", "egmRefNames", "ecgNames",
        *WHOLE, *WAVEFORMS,
    ),
}  # fmt: skip


class _Later:
    """An array in a file of version 7.3, its axes as in MATLAB, read as far as it is asked for."""

    def __init__(self, path: Path, dataset: h5py.Dataset):
        self.path, self.key, self.shape = path, dataset.name, dataset.shape[::-1]
        self.ndim = len(self.shape)

    def __getitem__(self, index) -> np.ndarray:
        index = index if isinstance(index, tuple) else (index,)
        index += (slice(None),) * (self.ndim - len(index))
        with h5py.File(self.path) as file:
            return np.asarray(file[self.key][index[::-1]]).T  # type: ignore[index]


def _read_73(files: Files, name: str, where: str) -> dict[str, Any]:
    path = files.path / name if files.path.is_dir() else files.path
    if not path.is_file() or path.name != PurePosixPath(name).name:
        raise InputError(
            f"{where}, a MAT-file of version 7.3 inside an archive",
            "the file itself, since it is not read whole", "Unpack the archive and give the .mat",
        )  # fmt: skip
    if files.size(name) <= LARGE:
        files.read(name)  # its hash goes to the sources
    try:
        with h5py.File(path) as file:
            if "userdata" not in file:
                raise _no_userdata(where, [each for each in file if not str(each).startswith("#")])
            root = _Hdf5(file, path)
            userdata = root.item(file, "userdata")
            if not isinstance(userdata, h5py.Group):
                raise _Damaged("userdata is no structure")
            tree: dict[str, Any] = {}
            for part, leaves in LEAVES.items():
                group = root.item(userdata, part) if part in userdata else None
                if isinstance(group, h5py.Group):
                    tree[part] = {each: root.value(group, each, 0) for each in leaves if each in group}
            tree |= {
                each: root.value(userdata, each, 0)
                for each in (*FOLDERS, "systemName", "mapName")
                if each in userdata
            }
            return tree
    except InputError:
        raise
    except (_Damaged, OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError,
            IndexError, MemoryError) as error:  # fmt: skip
        raise InputError(
            f"{where}, which is damaged ({' '.join(str(error).split())[:200]})", "an undamaged MAT-file",
            "Save it again in MATLAB",
        ) from error  # fmt: skip


class _Hdf5:
    """Values of a file of version 7.3."""

    def __init__(self, file: h5py.File, path: Path):
        self.file, self.path, self.elements = file, path, 0
        self.known: dict[int, Any] = {}

    def item(self, group: h5py.Group, name: str):
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            raise _Damaged(f"{name} in another file")
        return group[name]

    def value(self, group: h5py.Group, name: str, depth: int) -> Any:
        return self.converted(self.item(group, name), name, depth)

    def converted(self, found, name: str, depth: int) -> Any:
        self.elements += 1
        if depth > DEEPEST or self.elements > MOST_ELEMENTS:
            raise _Damaged(f"{name}, {depth} deep, after {self.elements} others")
        kind = found.attrs.get("MATLAB_class", b"")
        kind = kind.decode("latin-1") if isinstance(kind, bytes) else str(kind)
        if "MATLAB_object_decode" in found.attrs:
            return _Foreign(kind)
        if isinstance(found, h5py.Group):
            return {str(each): self.value(found, str(each), depth + 1) for each in found}
        if not isinstance(found, h5py.Dataset) or found.shape is None:
            raise _Damaged(f"{name} is no array")
        made = found.id.get_create_plist()
        if made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count():
            raise _Damaged(f"{name} is no array of this file")
        if found.attrs.get("MATLAB_empty", 0):
            return np.zeros((0, 0))
        if found.dtype.kind not in "biufO" or len(found.shape) > 32:
            return _Foreign(kind or str(found.dtype))
        size = math.prod(found.shape)
        # an array may claim any shape without a byte behind it
        if size > 1_000_000 and found.id.get_storage_size() * 1000 < size:
            raise _Damaged(f"{name} of shape {found.shape} in {found.id.get_storage_size()} bytes")
        if name in WAVEFORMS:
            if found.ndim not in (2, 3):
                raise _Damaged(f"{name} of shape {found.shape}")
            return _Later(self.path, found)
        if size > MOST_NUMBERS:
            raise _Damaged(f"{name} of shape {found.shape}")
        values = found[()]
        values = np.asarray(values).reshape(found.shape).T
        if found.dtype.kind == "O":
            if h5py.check_ref_dtype(found.dtype) is not h5py.Reference:
                raise _Damaged(f"{name} of type {found.dtype}")
            return _cells(
                [self.cell(each, name, depth + 1) for each in values.ravel(order="F")], values.shape
            )
        if kind == "char":
            text = values.astype("<u2").tobytes(order="F").decode("utf-16-le", "replace")
            return text if values.shape[0] == 1 else _rows_of_text(text, values.shape)
        return values

    def cell(self, reference: h5py.Reference, name: str, depth: int) -> Any:
        """What a cell refers to, each thing read once: cells may share it, or be inside themselves."""
        at = h5py.h5o.get_info(h5py.h5r.dereference(reference, self.file.id)).addr
        if at not in self.known:
            self.known[at] = None
            self.known[at] = self.converted(self.file[reference], name, depth)
        if self.known[at] is None:
            raise _Damaged(f"{name} with a cell inside itself")
        return self.known[at]


class _Userdata:
    """The structure, of either version, as a study."""

    def __init__(self, tree: Any, where: str):
        if not isinstance(tree, dict):
            raise InputError(
                f"{where}, whose userdata is no structure", "a data set of OpenEP", "Save it again"
            )
        self.tree, self.where, self.notes = tree, where, []

    def at(self, *names: str) -> Any:
        """What stands there; None where it is missing or empty."""
        found = self.tree
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        empty = (
            0 in found.shape if isinstance(found, np.ndarray | _Later) else found is None or found in ("", {})
        )
        return None if empty else found

    def numbers(self, *names: str) -> np.ndarray | None:
        found = self.at(*names)
        if found is None:
            return None
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
            kind = f" ({found.kind})" if isinstance(found, _Foreign) else ""
            raise self.refused(f"{'.'.join(names)}, which is no array of numbers{kind}", "numbers")
        return found.astype(np.float64)

    def refused(self, got: str, wanted: str) -> InputError:
        return InputError(f"{self.where}: {got}", wanted, "Save the data set again, or correct that field")

    def rows(self, width: int, count: int | None, *names: str) -> np.ndarray | None:
        """(count, width) numbers."""
        found = self.numbers(*names)
        if found is None:
            return None
        if (
            found.size % width
            or found.shape[-1] != width
            or (count is not None and found.size != count * width)
        ):
            wanted = f"shape ({'any' if count is None else count}, {width})"
            raise self.refused(f"{'.'.join(names)} of shape {found.shape}", wanted)
        return found.reshape(-1, width)

    def column(self, count: int, *names: str) -> np.ndarray:
        """A number for each point, NaN where the field is missing; of several columns the first."""
        found = self.numbers(*names)
        if found is None:
            return np.full(count, np.nan)
        if found.ndim == 2 and found.shape[0] == count and count > 1:
            found = found[:, 0]
        if found.size != count:
            raise self.refused(
                f"{'.'.join(names)} of shape {found.shape}", f"one number for each of {count} points"
            )
        return found.ravel()

    def texts(self, count: int, *names: str) -> list[str]:
        found = self.at(*names)
        if found is None:
            return [""] * count
        if isinstance(found, str):
            return [found] * count
        each = found.ravel(order="F").tolist() if isinstance(found, np.ndarray) else []
        if len(each) % max(count, 1) or len(each) < count:
            raise self.refused(
                f"{'.'.join(names)} with {len(each)} entries", f"one for each of {count} points"
            )
        return [_text(value) for value in each]

    def study(self, version: str, identity: bool, files: Files) -> Study:
        surface = self.surface()
        points, kept, rate = self.points()
        points, signals = self.signals(points, kept, rate)
        if surface is None and not len(points):
            raise self.refused("neither a surface nor points", "surface.triRep or electric.egmX")
        system = self.at("systemName")
        if isinstance(system, str):
            self.notes.append(f"exported from {system}")
        folders = [each for name in FOLDERS if isinstance(each := self.at(name), str)]
        name = PurePosixPath(folders[0].replace("\\", "/")).name if identity and folders else ""
        label = self.at("mapName")
        label = label if isinstance(label, str) else "map"
        return Study(
            "OpenEP", version, (Map(label, surface, points, signals, tuple(self.notes)),), name,
            tuple(files.notes), files.sources,
        )  # fmt: skip

    def surface(self) -> Surface | None:
        found = self.at("surface", "triRep")
        if isinstance(found, _Foreign):
            raise InputError(
                f"{self.where}: surface.triRep, which is a MATLAB object ({found.kind}) that only MATLAB "
                "can read", "a structure with X and Triangulation",
                "In MATLAB: t = userdata.surface.triRep; userdata.surface.triRep = struct('X', t.X, "
                "'Triangulation', t.Triangulation) (of a triangulation: t.Points, t.ConnectivityList), and "
                "save it",
            )  # fmt: skip
        tree = ("surface", "triRep")
        nodes = self.rows(3, None, *tree, "X" if self.at(*tree, "X") is not None else "Points")
        if nodes is None:
            return None
        names = [
            each
            for each in ("Triangulation", "ConnectivityList", "Connectivity")
            if self.at(*tree, each) is not None
        ]
        triangles = self.rows(3, None, *tree, *names[:1]) if names else np.zeros((0, 3))
        assert triangles is not None
        if triangles.size and (
            not (triangles == np.round(triangles)).all()
            or not 1 <= triangles.min() <= triangles.max() <= len(nodes)
        ):
            raise self.refused(
                f"triangles with corners {np.min(triangles)} to {np.max(triangles)} on {len(nodes)} nodes",
                f"whole numbers from 1 to {len(nodes)}",
            )
        fields = {}
        for field, names in (
            ("act_bip", ("lat_ms", "bipolar_mv")),
            ("uni_imp_frc", ("unipolar_mv", "impedance_ohm", "force_g")),
        ):
            table = self.rows(len(names), len(nodes), "surface", field)
            if table is not None:
                table[~np.isfinite(table) | (table <= SENTINEL)] = np.nan
                fields |= {
                    name: each for name, each in zip(names, table.T, strict=True) if np.isfinite(each).any()
                }
        cut = self.numbers("surface", "isCutOut")
        if cut is not None and cut.size != len(triangles):
            raise self.refused(
                f"surface.isCutOut with {cut.size} values", f"one for each of {len(triangles)} triangles"
            )
        return Surface(
            nodes,
            triangles.astype(np.int64) - 1,
            fields=fields,
            cut_out=None if cut is None else cut.ravel() != 0,
        )

    def points(self) -> tuple[Points, np.ndarray, float]:
        """The points, their rows in the file, and the sampling rate in Hz."""
        positions = self.rows(3, None, "electric", "egmX")
        count = 0 if positions is None else len(positions)
        rate = self.numbers("electric", "sampleFrequency")
        hertz = RATE_HZ if rate is None or not np.isfinite(rate.flat[0]) else float(rate.flat[0])
        if not 1.0 <= hertz <= 1e6:
            raise self.refused(f"electric.sampleFrequency {hertz:g} Hz", "a rate from 1 Hz to 1 MHz")
        if rate is None and count:
            self.notes.append(f"sampling rate not given: taken as {RATE_HZ:g} Hz")
        if positions is None:
            return Points(np.zeros((0, 3))), np.zeros(0, np.int64), hertz
        reference = self.column(count, "electric", "annotations", "referenceAnnot")
        mapped = self.column(count, "electric", "annotations", "mapAnnot")
        woi = self.rows(2, count, "electric", "annotations", "woi")
        include = self.column(count, "electric", "include")
        samples = mapped - reference
        samples[~np.isfinite(samples) | (samples <= SENTINEL) | (mapped <= SENTINEL)] = np.nan
        lat, reference = samples * 1000.0 / hertz, reference * 1000.0 / hertz
        woi = np.full((count, 2), np.nan) if woi is None else woi * 1000.0 / hertz
        out = (lat < woi[:, 0]) | (lat > woi[:, 1])
        reason = np.select(
            [include == 0, np.isnan(lat), out], ["not included", DERIVED[1], DERIVED[2]], ""
        ).tolist()
        surface = self.rows(3, count, "electric", "egmSurfX")
        voltages = [self.column(count, "electric", "voltages", each) for each in ("bipolar", "unipolar")]
        for each in voltages:
            each[each <= SENTINEL] = np.nan
        columns: dict[str, Any] = dict(
            lat_ms=lat, reference_ms=reference, woi_ms=woi, reason=reason, bipolar_mv=voltages[0],
            unipolar_mv=voltages[1], surface_positions=surface, impedance_ohm=self.impedance(count),
            force_g=self.column(count, "electric", "force", "force"),
            tags=self.texts(count, "electric", "tags")[:count],
            ids=self.texts(count, "electric", "names")[:count],
            bipolar_channel=self.texts(count, "electric", "electrodeNames_bip")[:count],
            unipolar_channel=self.texts(count, "electric", "electrodeNames_uni")[:count],
            reference_channel=self.references(count),
        )  # fmt: skip
        there = np.asarray(np.isfinite(positions).all(axis=1))
        kept = np.flatnonzero(there)
        if len(kept) < count:
            self.notes.append(f"{count - len(kept)} points not read: they have no position")
        whole = Points(np.where(there.reshape(-1, 1), positions, 0.0), **columns)
        return whole.subset(kept), kept, hertz

    def impedance(self, count: int) -> np.ndarray:
        """One number for each point: the mean of its trace."""
        found = self.at("electric", "impedances", "value")
        if isinstance(found, np.ndarray) and found.dtype.kind == "O":
            traces = found.ravel(order="F").tolist()
        else:
            table = self.numbers("electric", "impedances", "value")
            if table is None:
                return np.full(count, np.nan)
            # OpenEP keeps points in columns here, its Python edition in rows
            traces = list(table.T if table.shape[-1] == count else table)
        if len(traces) != count:
            raise self.refused(
                f"electric.impedances.value with {len(traces)} traces", f"one for each of {count} points"
            )
        means = np.full(count, np.nan)
        for k, trace in enumerate(traces):
            known = (
                np.asarray(trace, np.float64)
                if getattr(trace, "dtype", np.dtype("O")).kind in "biuf"
                else np.zeros(0)
            )
            known = known[np.isfinite(known)]
            if known.size:
                means[k] = known[0] if (known == known[0]).all() else np.clip(known, -1e9, 1e9).mean()
        return means

    def signals(
        self, points: Points, kept: np.ndarray, rate: float
    ) -> tuple[Points, tuple[AbstractSignals, ...]]:
        """Waveforms in groups of the same electrodes, and the points with the names of their channels."""
        count = self.rows(3, None, "electric", "egmX")
        count = 0 if count is None else len(count)
        arrays = {}
        for name in WAVEFORMS:
            found = self.at("electric", name)
            if found is None or not count:
                continue
            if not isinstance(found, _Later) and (
                not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf"
            ):
                raise self.refused(f"electric.{name}, which is no array of numbers", "waveforms")
            if found.ndim not in (2, 3) or found.shape[0] != count:
                raise self.refused(f"electric.{name} of shape {found.shape}", f"waveforms of {count} points")
            arrays[name] = found
        lengths = {name: found.shape[1] for name, found in arrays.items()}
        groups: list[AbstractSignals] = []
        points_channels = {
            each: list(getattr(points, each))
            for each in ("bipolar_channel", "unipolar_channel", "reference_channel")
        }
        for samples in dict.fromkeys(lengths.values()):
            alike = {name: found for name, found in arrays.items() if lengths[name] == samples}
            groups += self.group(alike, points_channels, kept, rate, samples, count)
        gains = [self.at("electric", name) for name in ("egmGain", "egmUniGain", "egmRefGain", "ecgGain")]
        if any(
            isinstance(each, np.ndarray) and each.dtype.kind in "iuf" and (each != 1).any() for each in gains
        ):
            self.notes.append("gains of the display not applied to waveforms")
        heard = {int(row) for group in groups for row in group.rows}
        # without a waveform there is no clock for a reference that says 0
        silent = [k not in heard and points.reference_ms[k] == 0.0 for k in range(len(points))]
        reference = np.where(np.array(silent, bool), np.nan, points.reference_ms)
        return points.changed(reference_ms=reference, **points_channels), tuple(groups)

    def group(self, arrays: dict[str, Any], texts, kept, rate, samples, count) -> list[AbstractSignals]:
        there, columns = [], []  # where each channel has numbers, by its first and last sample
        for name, found in arrays.items():
            ends = [np.asarray(found[:, k], np.float64).reshape(count, -1)[kept] for k in (0, samples - 1)]
            known = np.isfinite(ends[0]) | np.isfinite(ends[1])
            for channel in range(known.shape[1]):
                if known[:, channel].any():
                    columns.append((name, channel))
                    there.append(known[:, channel])
        if not columns:
            return []
        names = {
            "egm": [self.texts(count, "electric", "electrodeNames_bip")],
            "egmUni": self.pairs(count), "egmRef": [self.references(count)],
        }  # fmt: skip
        ecg = self.at("electric", "ecgNames")
        ecg = [
            _text(each)
            for each in (ecg.ravel(order="F").tolist() if isinstance(ecg, np.ndarray) else [ecg or ""])
        ]
        members: dict[tuple[str, ...], list[int]] = {}
        for row, place in enumerate(kept.tolist()):
            if not any(each[row] for each in there):
                continue
            channels = []
            for name, channel in columns:
                known = names.get(name, [])
                own = known[channel][place] if channel < len(known) else ""
                if name == "ecg":
                    own = ecg[channel] if channel < len(ecg) else ""
                plain = {"egm": "bipolar", "egmUni": f"unipolar {channel + 1}", "egmRef": "reference"}.get(
                    name
                )
                own = own or plain or f"ECG {channel + 1}"
                channels.append(own if own not in channels else f"{own} ({name} {channel + 1})")
                column = {
                    "egm": "bipolar_channel",
                    "egmUni": "unipolar_channel",
                    "egmRef": "reference_channel",
                }.get(name)
                if column and channel == 0 and there[columns.index((name, channel))][row]:
                    texts[column][row] = channels[-1]
            members.setdefault(tuple(channels), []).append(row)
        return [
            Signals(
                rows, channels, rate_hz=rate, samples=samples, gain_mv=1.0,
                read=_reader(arrays, columns, [int(kept[row]) for row in rows]),
            )
            for channels, rows in members.items()
        ]  # fmt: skip

    def references(self, count: int) -> list[str]:
        """The name of the reference of each point; one name is that of all, and no other count is a name."""
        found = self.at("electric", "egmRefNames")
        each = found.ravel(order="F").tolist() if isinstance(found, np.ndarray) else [found or ""]
        each = each * count if len(each) == 1 else each
        return [_text(value) for value in each] if len(each) == count else [""] * count

    def pairs(self, count: int) -> list[list[str]]:
        """Names of the first and the second electrode of each point."""
        each = self.texts(count, "electric", "electrodeNames_uni")
        return [each[k : k + count] for k in range(0, len(each), count)]


def _reader(arrays: dict[str, Any], columns: list[tuple[str, int]], places: list[int]) -> Callable:
    def read(trace: int) -> np.ndarray:
        tables = {name: np.asarray(found[places[trace]]) for name, found in arrays.items()}
        tables = {name: each.reshape(len(each), -1) for name, each in tables.items()}
        with np.errstate(all="ignore"):
            values = np.stack([tables[name][:, channel] for name, channel in columns], axis=1)
        # a NaN of unusual bits would raise warnings in any arithmetic
        return np.where(np.isfinite(values), values, np.nan) if values.dtype.kind == "f" else values

    return read


def _text(value: Any) -> str:
    """One text of a cell; several of them joined."""
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return "; ".join(
            filter(None, (_text(each) for each in value.ravel(order="F").tolist() if each is not value))
        )
    if isinstance(value, np.ndarray) and value.size != 1:
        return ""
    if isinstance(value, (np.ndarray, int, float)):
        number = float(np.asarray(value, np.float64).flat[0])
        return "" if math.isnan(number) else f"{number:.0f}" if number == round(number, 0) else f"{number:g}"
    return ""


def write_openep(path: str | Path, study: Study, map_name: str | None = None) -> None:
    """Writes one map as a data set of OpenEP, a MAT-file of version 5, whole or not at all.

    `map_name` chooses the map where the study has several. Times are written in samples, as doubles and
    not rounded, at the rate of the waveforms (1000 Hz without them). The bipolar waveform of a point is that
    of its `bipolar_channel`, or of a channel "bipolar"; the unipolar ones are that of its `unipolar_channel`
    and of the second electrode of the bipolar one, or of channels "unipolar 1" and "unipolar 2"; the
    reference is that of its `reference_channel`, or of "reference"; all other channels go to the ECG.

    The format cannot hold: reasons (points with one of their own are written with include = 0), `sigma_ms`,
    `more`, fields of the surface other than LAT, voltages, impedance and force, gains (waveforms are
    written in mV), notes and sources, and a reference annotation that is not known (written as 0). It has
    no place for triangles that are cut out either: they stay in the surface, a field `isCutOut` of ours
    marks them, and `isVertexAtRim` the nodes they share with the rest.

    Raises `InputError` where the map is not named or not there, where the folder cannot be written, for
    waveforms of several rates or lengths and for more than 2 GB of them.
    """
    import scipy.io

    if map_name is None and len(study.maps) != 1:
        raise InputError(
            f"a study with {len(study.maps)} maps", "one map in each file", "Choose a map by its name"
        )
    one = study.maps[0] if map_name is None else study.map(map_name)
    surface: dict[str, Any] = {"triRep": {"X": np.zeros((0, 3)), "Triangulation": np.zeros((0, 3))}}
    if one.surface is not None:
        surface = _surface_out(one.surface)
    userdata = {
        "systemName": study.system, "mapName": one.name, "notes": _strings([]), "surface": surface,
        "electric": _electric_out(one), "rf": {},
    }  # fmt: skip
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"userdata": userdata}, do_compression=True, oned_as="column")
    with atomic_write(path) as target:
        target.write(stream.getbuffer())


def _strings(texts) -> np.ndarray:
    return _cells(list(texts), (len(texts), 1))


def _surface_out(surface: Surface) -> dict[str, Any]:
    absent = np.full(len(surface.points), np.nan)

    def table(*names: str) -> np.ndarray:
        return np.stack([surface.fields.get(name, absent) for name in names], axis=1)

    cut = np.zeros((2, len(surface.points)), bool)  # nodes of triangles that are there, and of those cut out
    for row, triangles in zip(cut, (~surface.cut_out, surface.cut_out), strict=True):
        row[surface.triangles[triangles]] = True
    return {
        "triRep": {"X": surface.points, "Triangulation": surface.triangles + 1.0},
        "isVertexAtRim": (cut[0] & cut[1])[:, None], "isCutOut": surface.cut_out[:, None],
        "act_bip": table("lat_ms", "bipolar_mv"),
        "uni_imp_frc": table("unipolar_mv", "impedance_ohm", "force_g"),
    }  # fmt: skip


def _electric_out(one: Map) -> dict[str, Any]:
    points, count = one.points, len(one.points)
    rates = {each.rate_hz for each in one.signals if len(each.rows)}
    lengths = {each.samples for each in one.signals if len(each.rows)}
    if len(rates) > 1 or len(lengths) > 1:
        raise InputError(
            f"waveforms at {sorted(rates)} Hz of {sorted(lengths)} samples",
            "one rate and one length for all", "Leave out the waveforms of the other kind",
        )  # fmt: skip
    rate = rates.pop() if rates else RATE_HZ
    reference = np.nan_to_num(points.reference_ms) * rate / 1000.0
    mapped = reference + np.where(np.isfinite(points.lat_ms), points.lat_ms * rate / 1000.0, MISSING)
    electric = {
        "tags": _strings(points.tags), "names": _strings(points.ids),
        "include": np.array([why in DERIVED for why in points.reason], np.float64),
        "sampleFrequency": rate, "egmX": points.positions, "egmSurfX": points.surface_positions,
        "annotations": {
            "woi": points.woi_ms * rate / 1000.0, "referenceAnnot": reference, "mapAnnot": mapped,
        },
        "voltages": {"bipolar": points.bipolar_mv, "unipolar": points.unipolar_mv},
        "impedances": {"time": np.zeros((1, count)), "value": points.impedance_ohm[None, :]},
        "force": {"force": points.force_g}, "barDirection": np.zeros((0, 0)),
    }  # fmt: skip
    return electric | _waveforms_out(one, lengths.pop() if lengths else 0)


def _waveforms_out(one: Map, samples: int) -> dict[str, Any]:
    points, count = one.points, len(one.points)
    chosen = [
        (each, trace, _roles(each.channels, points, int(row)))
        for each in one.signals
        for trace, row in enumerate(each.rows)
    ]
    taken = {id(each): set() for each in one.signals}
    for each, _, roles in chosen:
        taken[id(each)] |= set(roles.values())
    others: dict[str, int] = {}
    for each in one.signals:
        for channel in each.channels:
            if channel not in taken[id(each)]:
                others.setdefault(channel, len(others))
    bytes_each = 8 * count * samples
    if bytes_each * max(2, len(others)) >= 2**31:
        raise InputError(
            f"waveforms of {count} points, {samples} samples and {len(others)} channels of ECG",
            "less than 2 GB of each kind, as version 5 of the format can hold",
            "Write fewer points or channels",
        )  # fmt: skip
    names = {key: [""] * count for key in ("bipolar", "unipolar 1", "unipolar 2", "reference")}
    names["bipolar"], names["unipolar 1"] = list(points.bipolar_channel), list(points.unipolar_channel)
    names["reference"] = list(points.reference_channel)
    shape = (count, samples)
    arrays = {key: np.full(shape, np.nan) for key in names} if samples else {}
    ecg = np.full((*shape, len(others)), np.nan) if samples and others else np.zeros((0, 0))
    for each, trace, roles in chosen:
        row, values = int(each.rows[trace]), each.mv(trace)
        for key, channel in roles.items():
            arrays[key][row] = values[:, each.channels.index(channel)]
            names[key][row] = channel
        for channel, place in others.items():
            if channel in each.channels and channel not in taken[id(each)]:
                ecg[row, :, place] = values[:, each.channels.index(channel)]
    none = np.zeros((0, 0))
    known = {key: found for key, found in arrays.items() if np.isfinite(found).any()}
    unipolar = (
        [arrays[key] for key in ("unipolar 1", "unipolar 2")]
        if {"unipolar 1", "unipolar 2"} & set(known)
        else []
    )
    pairs = np.stack([_strings(names[key])[:, 0] for key in ("unipolar 1", "unipolar 2")], axis=1)
    return {
        "egm": known.get("bipolar", none), "egmRef": known.get("reference", none),
        "egmUni": np.stack(unipolar, axis=2) if unipolar else none,
        "egmUniX": np.full((count, 3, 2), np.nan) if unipolar else none,
        "ecg": ecg, "ecgNames": _strings(list(others)), "egmRefNames": _strings(names["reference"]),
        "electrodeNames_bip": _strings(names["bipolar"]), "electrodeNames_uni": pairs,
    }  # fmt: skip


def _roles(channels: tuple[str, ...], points: Points, row: int) -> dict[str, str]:
    """What channels of a group are to a point."""
    bipolar = points.bipolar_channel[row]
    parts = bipolar.split("-")
    ends = [("-".join(parts[:k]), "-".join(parts[k:])) for k in range(1, len(parts))]
    pair = next((each for each in ends if each[0] in channels and each[1] in channels), ("", ""))
    wanted = {
        "bipolar": (bipolar, "bipolar"), "unipolar 1": (points.unipolar_channel[row], pair[0], "unipolar 1"),
        "unipolar 2": (pair[1], "unipolar 2"), "reference": (points.reference_channel[row], "reference"),
    }  # fmt: skip
    roles: dict[str, str] = {}
    for key, names in wanted.items():
        found = [name for name in names if name in channels and name not in roles.values()]
        if found:
            roles[key] = found[0]
    return roles
