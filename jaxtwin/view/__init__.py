"""Figures drawn with matplotlib only, and files for ParaView."""

from .canvas import save_figure
from .curves import convergence, fit_summary, restitution_curve, trace
from .maps import (
    activation_map,
    conductivity_map,
    information_map,
    quality_map,
    residual_map,
    scar_map,
    speed_map,
)
from .vtkhdf import Result, read_vtkhdf, write_vtkhdf

__all__ = [
    "Result",
    "activation_map",
    "conductivity_map",
    "convergence",
    "fit_summary",
    "information_map",
    "quality_map",
    "read_vtkhdf",
    "residual_map",
    "restitution_curve",
    "save_figure",
    "scar_map",
    "speed_map",
    "trace",
    "write_vtkhdf",
]
