"""A table of points as a study: CSV with the columns of `read_csv`."""

import csv

import numpy as np

from ..._results import InputError
from ..study import Map, Points, Study
from ..table import header_of, read_csv
from .files import Files

SUFFIXES = ".csv", ".tsv", ".txt"


def recognises(files: Files) -> bool:
    """Whether there is a table whose header has the columns of positions and LATs."""
    return bool(_tables(files))


def _tables(files: Files) -> list[str]:
    return [name for suffix in SUFFIXES for name in files.find(suffix) if header_of(files.head(name, 8192))]


def read(files: Files, identity: bool) -> Study:
    """A map for each label in `map_id`, without a surface. Tables of a flat sheet get z = 0. `identity` keeps
    the name of the file if the table has no labels.

    Raises `InputError` as `read_csv` does, for several tables in one place, and for archives, which must be
    unpacked.
    """
    found = _tables(files)
    if len(found) != 1:
        raise InputError(
            f"{files.path} with {len(found)} tables of points", "one table", "Give it by its name"
        )
    path = files.path / found[0] if files.path.is_dir() else files.path
    if not path.is_file() or path.name != found[0].rpartition("/")[2]:
        raise InputError(
            f"{files.path}: {found[0]}, a table inside an archive", "the file itself",
            "Unpack the archive and give the table by its name",
        )  # fmt: skip
    try:
        data = read_csv(path)
    except csv.Error as error:
        raise InputError(
            f"{path}, which is no table ({error})", "one point on each line", "Save it as CSV again"
        ) from error
    files.read(found[0])  # its hash goes to the sources
    positions = np.zeros((len(data.positions), 3))
    positions[:, : data.positions.shape[1]] = data.positions
    labelled = "map_id" in header_of(files.head(found[0], 8192))
    maps = []
    for k, name in enumerate(data.names):
        rows = np.flatnonzero(data.map_index == k)
        outside = np.isfinite(data.lat_ms[rows]) & ~data.valid[rows]
        reason = np.select(
            [data.silent[rows], outside, np.isnan(data.lat_ms[rows])],
            ["no activation seen", "outside the window of interest", "no LAT"], "",
        )  # fmt: skip
        points = Points(
            positions[rows], lat_ms=data.lat_ms[rows], sigma_ms=data.sigma_ms[rows],
            bipolar_mv=data.bipolar_mv[rows], unipolar_mv=data.unipolar_mv[rows], woi_ms=data.woi_ms[rows],
            reason=reason.tolist(), ids=[str(row + 1) for row in rows],
            more={"silent": data.silent[rows].astype(float)} if data.silent[rows].any() else {},
        )  # fmt: skip
        maps.append(Map((name or "map") if labelled or identity else "map", None, points))
    return Study("table", "", tuple(maps), "", (*files.notes, *data.notes), files.sources)
