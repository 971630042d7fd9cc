"""MAT-files of version 7.3: HDF5, with the axes of arrays in the opposite order."""

import math
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import h5py.h5o
import numpy as np

from ..._results import InputError
from .files import LARGE, Files
from .matlab5 import DEEPEST, MOST_ELEMENTS, Damaged, Foreign, cells, no_userdata, rows_of_text

MOST_NUMBERS = 20_000_000  # of one array that is read whole
FOLDERS = "cartoFolder", "precisionFolder", "ensiteXFolder", "ensitexFolder", "kodexFolder", "rhythmiaFolder"
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


class Later:
    """An array in a file of version 7.3, with axes as in MATLAB, read on access."""

    def __init__(self, path: Path, dataset: h5py.Dataset):
        self.path, self.key, self.shape = path, dataset.name, dataset.shape[::-1]
        self.ndim = len(self.shape)

    def __getitem__(self, index) -> np.ndarray:
        index = index if isinstance(index, tuple) else (index,)
        index += (slice(None),) * (self.ndim - len(index))
        with h5py.File(self.path) as file:
            return np.asarray(file[self.key][index[::-1]]).T  # type: ignore[index]


def read_later(files: Files, name: str, where: str) -> dict[str, Any]:
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
                raise no_userdata(where, [each for each in file if not str(each).startswith("#")])
            root = Hdf5(file, path)
            userdata = root.item(file, "userdata")
            if not isinstance(userdata, h5py.Group):
                raise Damaged("userdata is no structure")
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
    except (Damaged, OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError,
            IndexError, MemoryError) as error:  # fmt: skip
        raise InputError(
            f"{where}, which is damaged ({' '.join(str(error).split())[:200]})", "an undamaged MAT-file",
            "Save it again in MATLAB",
        ) from error  # fmt: skip


class Hdf5:
    """Values of a file of version 7.3."""

    def __init__(self, file: h5py.File, path: Path):
        self.file, self.path, self.elements = file, path, 0
        self.known: dict[int, Any] = {}

    def item(self, group: h5py.Group, name: str):
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            raise Damaged(f"{name} in another file")
        return group[name]

    def value(self, group: h5py.Group, name: str, depth: int) -> Any:
        return self.converted(self.item(group, name), name, depth)

    def converted(self, found, name: str, depth: int) -> Any:
        self.elements += 1
        if depth > DEEPEST or self.elements > MOST_ELEMENTS:
            raise Damaged(f"{name}, {depth} deep, after {self.elements} others")
        kind = found.attrs.get("MATLAB_class", b"")
        kind = kind.decode("latin-1") if isinstance(kind, bytes) else str(kind)
        if "MATLAB_object_decode" in found.attrs:
            return Foreign(kind)
        if isinstance(found, h5py.Group):
            return {str(each): self.value(found, str(each), depth + 1) for each in found}
        if not isinstance(found, h5py.Dataset) or found.shape is None:
            raise Damaged(f"{name} is no array")
        made = found.id.get_create_plist()
        if made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count():
            raise Damaged(f"{name} is no array of this file")
        if found.attrs.get("MATLAB_empty", 0):
            return np.zeros((0, 0))
        if found.dtype.kind not in "biufO" or len(found.shape) > 32:
            return Foreign(kind or str(found.dtype))
        size = math.prod(found.shape)
        # an array may declare any shape without any stored bytes
        if size > 1_000_000 and found.id.get_storage_size() * 1000 < size:
            raise Damaged(f"{name} of shape {found.shape} in {found.id.get_storage_size()} bytes")
        if name in WAVEFORMS:
            if found.ndim not in (2, 3):
                raise Damaged(f"{name} of shape {found.shape}")
            return Later(self.path, found)
        if size > MOST_NUMBERS:
            raise Damaged(f"{name} of shape {found.shape}")
        values = found[()]
        values = np.asarray(values).reshape(found.shape).T
        if found.dtype.kind == "O":
            if h5py.check_ref_dtype(found.dtype) is not h5py.Reference:
                raise Damaged(f"{name} of type {found.dtype}")
            return cells([self.cell(each, name, depth + 1) for each in values.ravel(order="F")], values.shape)
        if kind == "char":
            text = values.astype("<u2").tobytes(order="F").decode("utf-16-le", "replace")
            return text if values.shape[0] == 1 else rows_of_text(text, values.shape)
        return values

    def cell(self, reference: h5py.Reference, name: str, depth: int) -> Any:
        """The value that a cell refers to, read once: cells may share it, or contain themselves."""
        at = h5py.h5o.get_info(h5py.h5r.dereference(reference, self.file.id)).addr
        if at not in self.known:
            self.known[at] = None
            self.known[at] = self.converted(self.file[reference], name, depth)
        if self.known[at] is None:
            raise Damaged(f"{name} with a cell inside itself")
        return self.known[at]
