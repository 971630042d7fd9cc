"""A case: the settings of a run in a file, and what they describe."""

from .prepare import Prepared, prepare
from .tables import (
    LISTED,
    TABLES,
    BeatCase,
    Case,
    CellsCase,
    FitCase,
    MapCase,
    MeshCase,
    OutputCase,
    PulseCase,
    TimeCase,
    TissueCase,
    example_case,
    parameter_keys,
)
from .toml import load_case, write_case

__all__ = [
    "LISTED", "TABLES", "BeatCase", "Case", "CellsCase", "FitCase", "MapCase", "MeshCase", "OutputCase",
    "Prepared", "PulseCase", "TimeCase", "TissueCase", "example_case", "load_case", "parameter_keys",
    "prepare", "write_case",
]  # fmt: skip
