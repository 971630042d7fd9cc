"""Evidence: what was measured, what the model says of it, and how probable that makes it. One file each."""

from .abstract import AbstractEvidence
from .arrival import Arrival
from .student_t import StudentT
from .voltage import Voltage

__all__ = ["AbstractEvidence", "Arrival", "StudentT", "Voltage"]
