"""Evidence: measured values, their prediction, and the likelihood. One file for each kind."""

from .abstract import AbstractEvidence
from .arrival import Arrival
from .student_t import StudentT
from .voltage import Voltage

__all__ = ["AbstractEvidence", "Arrival", "StudentT", "Voltage"]
