"""The twin: what maps a heart gives, the search for the heart that gave the maps, and how sure that is."""

from .design import far_apart
from .search import at_once
from .twin import EIKONAL_ROUNDS, OFFSET_SD, Twin
from .uncertainty import IdentifiabilityWarning

__all__ = ["EIKONAL_ROUNDS", "OFFSET_SD", "IdentifiabilityWarning", "Twin", "at_once", "far_apart"]
