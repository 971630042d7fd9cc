"""Measurements to parameters: parameterisation, prior, likelihood, and the most probable theta."""

from .likelihood import StudentT
from .matern import MaternModes, matern_modes
from .optimise import Assessment, Fit, minimise
from .parameterisation import AbstractParameterisation, LogConductivity, Theta, field, per_region, uniform

__all__ = [
    "AbstractParameterisation", "Assessment", "Fit", "LogConductivity", "MaternModes", "StudentT", "Theta",
    "field", "matern_modes", "minimise", "per_region", "uniform",
]  # fmt: skip
