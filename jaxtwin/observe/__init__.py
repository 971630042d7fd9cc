"""What a solve is measured by: recorders, and what links them to measured maps."""

from .activation import ActivationTimes
from .reentry import refuse_reentry
from .resolution import NumericalError, numerical_error
from .sources import Sources, earliest_sources, find_sources
from .trace import VoltageTrace

__all__ = [
    "ActivationTimes", "NumericalError", "Sources", "VoltageTrace", "earliest_sources", "find_sources",
    "numerical_error", "refuse_reentry",
]  # fmt: skip
