"""Solutions and measurements: recorders of a solve, measured maps, and what links them."""

from .activation import ActivationTimes
from .mapping import MappingData, project
from .mapping_csv import read_csv, write_csv
from .reentry import refuse_reentry
from .resolution import NumericalError, numerical_error
from .sources import earliest_sources
from .trace import VoltageTrace

__all__ = [
    "ActivationTimes", "MappingData", "NumericalError", "VoltageTrace", "earliest_sources",
    "numerical_error", "project", "read_csv", "refuse_reentry", "write_csv",
]  # fmt: skip
