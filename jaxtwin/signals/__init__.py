"""Signals of the model: what a solve is asked to record, and how far the mesh moves it."""

from .activation import ActivationTimes
from .mesh_error import NumericalError, numerical_error
from .trace import VoltageTrace

__all__ = ["ActivationTimes", "NumericalError", "VoltageTrace", "numerical_error"]
