"""The forward model: from parameters to waves and predictions."""

from .beat import Beat, Departure, beat
from .cores import at_once, compiled_once, of_each
from .discrepancy import Discrepancy, discrepancy
from .discretisation import MeshError
from .parameters import OFFSET_SD, CellParameters, Theta, offset_ms, scaled
from .placed import PlacedMap, additive_terms, place_maps, place_unmeasured, with_errors_of
from .sources import Sources, earliest_sources, find_sources
from .tissue_map import (
    AbstractTissueMap,
    LogDiffusivity,
    field,
    per_region,
    scar_field,
    tissue_prior,
    uniform,
)
from .twin import Solved, Twin, simulate_beat
from .variation import Variation
from .wave import Wave
from .waves import diffusivity_error, simulated_waves

__all__ = [
    "OFFSET_SD", "AbstractTissueMap", "Beat", "CellParameters", "Departure", "Discrepancy",
    "LogDiffusivity", "MeshError", "PlacedMap", "Solved", "Sources", "Theta", "Twin", "Variation", "Wave",
    "additive_terms", "at_once", "beat", "compiled_once", "diffusivity_error", "discrepancy",
    "earliest_sources", "field", "find_sources", "of_each", "offset_ms", "per_region", "place_maps",
    "place_unmeasured", "scaled", "scar_field", "simulate_beat", "simulated_waves", "tissue_prior",
    "uniform", "with_errors_of",
]  # fmt: skip
