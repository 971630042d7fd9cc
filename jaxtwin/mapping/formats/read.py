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

MOST_HEADS = 20  # maximum number of files examined in an unknown folder
# one file each; formats with a signature come before those with weak evidence
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
    """Reads an export of a mapping system, or any other map, as a study.

    Formats: a folder, a zip or a file of CARTO 3, EnSite Precision or NavX, EnSite X, Rhythmia, Kodex or
    OpenEP; a surface with activation times (VTK); a table of points (CSV); a file of `write_study`. The
    format is detected from the content.

    **Arguments:** `identity`: keep names, dates of birth and the name of the study; they are dropped by
    default.

    **Returns:** a `Study`. Waveforms are read on access, so the files must stay in place.

    **Raises:** `InputError` for paths that cannot be read, unknown formats, and damaged files.

    **Example:** `data = jt.read_mapping("export.zip").data()`
    """
    path = Path(path)
    if ours(path):
        return read_study(path)
    with naming(path), Files(path) as files:
        reader = _reader(files)
        if reader is not None:
            return reader.read(files, identity)
        if path.is_file() and path.suffix.lower() in csv_points.SUFFIXES:
            read_csv(path)  # raises with the name of the missing column
        inside = [signature(files.head(name, HEAD)) for name in files.names[:MOST_HEADS]]
    such_as = f"{len(files.names)} files, such as {files.names[0][:60]}" if files.names else "it is empty"
    such_as += "".join(f", and {each}" for each in dict.fromkeys(each.name for each in inside if each))
    raise InputError(
        f"{path}, in which no known export was found ({such_as})",
        "CARTO 3, EnSite Precision or X, Rhythmia, Kodex, OpenEP, a VTK surface or a CSV table",
        "Give the folder or zip of the whole export, not a part of it",
    )


def recognise(path: str | Path) -> str:
    """The name of the reader that `read_mapping` would use: "study" for a file of `write_study`, otherwise
    one of `READERS`; "" if there is none.

    Raises `InputError` for paths that cannot be read, and for archives that are damaged or of an unsupported
    format.
    """
    path = Path(path)
    if ours(path):
        return "study"
    with Files(path) as files:
        reader = _reader(files)
    return "" if reader is None else reader.__name__.rpartition(".")[2]


def _reader(files: Files) -> ModuleType | None:
    return next((reader for reader in READERS if reader.recognises(files)), None)
