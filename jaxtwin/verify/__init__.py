"""Claims to evidence: what the solver must reproduce, computed so that tests and reports read one number.

All of it assumes double precision (`jax.config.update("jax_enable_x64", True)`).
"""

from .derivative import DERIVATIVE_MESHES, derivative_errors, transpose_error
from .order import Order, spatial_order, temporal_order
from .wave import plane_wave_speed, rotation_difference, total_drift

__all__ = [
    "DERIVATIVE_MESHES", "Order", "derivative_errors", "plane_wave_speed", "rotation_difference",
    "spatial_order", "temporal_order", "total_drift", "transpose_error",
]  # fmt: skip
