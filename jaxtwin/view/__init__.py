"""Figures drawn with matplotlib only, and files for ParaView."""

from .figures import (
    activation_map,
    conductivity_map,
    convergence,
    fit_summary,
    information_map,
    quality_map,
    residual_map,
    restitution_curve,
    save_figure,
    scar_map,
    speed_map,
    trace,
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
