"""What a solve is measured by: recorders, and what links them to measured maps."""

from .activation import ActivationTimes
from .reentry import refuse_reentry
from .resolution import NumericalError, numerical_error
from .sources import earliest_sources
from .trace import VoltageTrace

__all__ = [
    "ActivationTimes", "NumericalError", "VoltageTrace", "earliest_sources", "numerical_error",
    "refuse_reentry",
]  # fmt: skip
