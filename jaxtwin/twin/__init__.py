"""The forward model: from parameters to waves and predictions."""

from .beat import Beat, Departure, beat
from .cores import at_once, of_each
from .discretisation import MeshError
from .parameters import OFFSET_SD, CellParameters, Theta, offset_ms, scaled
from .placed import PlacedMap, additive_terms, place_maps, place_unmeasured, with_errors_of
from .sources import Sources, earliest_sources, find_sources
from .tissue_map import AbstractTissueMap, LogDiffusivity, field, per_region, uniform
from .twin import Solved, Twin, simulate_beat
from .wave import Wave
from .waves import diffusivity_error, simulated_waves

__all__ = [
    "OFFSET_SD", "AbstractTissueMap", "Beat", "CellParameters", "Departure", "LogDiffusivity", "MeshError",
    "PlacedMap", "Solved", "Sources", "Theta", "Twin", "Wave", "additive_terms", "at_once", "beat",
    "diffusivity_error", "earliest_sources", "field", "find_sources", "of_each", "offset_ms", "per_region",
    "place_maps", "place_unmeasured", "scaled", "simulate_beat", "simulated_waves", "uniform",
    "with_errors_of",
]  # fmt: skip
