"""The twin: what maps a heart gives, the search for the heart that gave the maps, and how sure that is."""

from .cores import at_once
from .discretisation import MeshError
from .twin import EIKONAL_ROUNDS, OFFSET_SD, Twin
from .uncertainty import IdentifiabilityWarning
from .wave import Wave

__all__ = [
    "EIKONAL_ROUNDS", "OFFSET_SD", "IdentifiabilityWarning", "MeshError", "Twin", "Wave", "at_once",
]  # fmt: skip
