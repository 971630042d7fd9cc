"""Reading an export of any supported mapping system."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from ..._results import InputError, naming
from ..._signatures import HEAD, signature
from ..storage import ours, read_study
from ..study import Study
from ..table import read_csv
from . import csv_points
from .files import Files

MOST_HEADS = 20  # files of an unknown folder that are looked at
# one file each, those with a mark of their own before those that are told by little
FORMATS = (
    "carto",
    "ensite_precision",
    "ensite_x",
    "rhythmia",
    "openep",
    "kodex",
    "vtk_surface",
    "csv_points",
)
READERS = tuple(import_module(f".{name}", __package__) for name in FORMATS)


def read_mapping(path: str | Path, *, identity: bool = False) -> Study:
    """The study of an export: a folder, a zip or a file of CARTO 3, EnSite Precision or NavX, EnSite X,
    Rhythmia, Kodex or OpenEP, a surface with activation times (VTK), a table of points (CSV), or what
    `write_study` wrote.

    The format is told by the content. Names, dates of birth and the name of the study are left out unless
    `identity` is True. Waveforms are read when they are asked for, so that the files must stay where they
    are.

    Raises `InputError` for paths that cannot be read, for formats not known, and for files that are damaged.
    """
    path = Path(path)
    if ours(path):
        return read_study(path)
    with naming(path), Files(path) as files:
        reader = _reader(files)
        if reader is not None:
            return reader.read(files, identity)
        if path.is_file() and path.suffix.lower() in csv_points.SUFFIXES:
            read_csv(path)  # says which column is missing
        inside = [signature(files.head(name, HEAD)) for name in files.names[:MOST_HEADS]]
    such_as = f"{len(files.names)} files, such as {files.names[0][:60]}" if files.names else "it is empty"
    such_as += "".join(f", and {each}" for each in dict.fromkeys(each.name for each in inside if each))
    raise InputError(
        f"{path}, in which no known export was found ({such_as})",
        "CARTO 3, EnSite Precision or X, Rhythmia, Kodex, OpenEP, a VTK surface or a CSV table",
        "Give the folder or zip of the whole export, not a part of it",
    )


def recognise(path: str | Path) -> str:
    """The name of the reader that `read_mapping` would take: "study" for what `write_study` wrote, else one
    of `READERS`; "" where there is none.

    Raises `InputError` for paths that cannot be read, and for archives that are damaged or of a format that
    nothing here reads.
    """
    path = Path(path)
    if ours(path):
        return "study"
    with Files(path) as files:
        reader = _reader(files)
    return "" if reader is None else reader.__name__.rpartition(".")[2]


def _reader(files: Files) -> ModuleType | None:
    return next((reader for reader in READERS if reader.recognises(files)), None)
