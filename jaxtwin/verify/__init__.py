"""Verification: what the solver must reproduce, computed so that tests and reports use the same figures.

`jaxtwin verify` runs all of it. Double precision is assumed (`jax.config.update("jax_enable_x64", True)`).
"""

from .coverage import Coverage, coverage, small_sheet
from .derivative import DERIVATIVE_MESHES, derivative_errors, transpose_error
from .exact import STEADY
from .order import Order, spatial_order, temporal_order
from .precision import PRECISION_MESHES, Difference, precision_difference
from .slab import CONVERGED, Limit, SlabWave, richardson_limit, slab_closed_form, slab_wave
from .taylor import taylor_remainders
from .wave import rotation_difference, speed_order, total_drift

__all__ = [
    "CONVERGED", "DERIVATIVE_MESHES", "PRECISION_MESHES", "STEADY", "Coverage", "Difference", "Limit",
    "Order", "SlabWave", "coverage", "derivative_errors", "precision_difference",
    "richardson_limit", "rotation_difference", "slab_closed_form", "slab_wave", "small_sheet",
    "spatial_order", "speed_order", "taylor_remainders", "temporal_order", "total_drift",
    "transpose_error",
]  # fmt: skip
