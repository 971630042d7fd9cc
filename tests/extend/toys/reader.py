"""A toy format: a text file of lines `x y z lat`, mm and ms, after the line `TOYMAP`."""

import numpy as np

from ..study import Map, Points, Study
from .files import Files

MARK = b"TOYMAP"


def recognises(files: Files) -> bool:
    """By the first line."""
    return any(files.head(name, len(MARK)) == MARK for name in files.names)


def read(files: Files, identity: bool) -> Study:
    """One map, no surface."""
    (name,) = (name for name in files.names if files.head(name, len(MARK)) == MARK)
    rows = np.loadtxt(files.read(name).decode().splitlines()[1:], ndmin=2)
    return Study("Toy", "1", (Map("toy", None, Points(rows[:, :3], lat_ms=rows[:, 3])),))
