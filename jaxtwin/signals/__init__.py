"""Signals of the model: activation times, voltage traces, wave speed and discretisation error."""

from .activation import ActivationTimes
from .beats import Beats, beat_recorders, beats_of
from .mesh_error import NumericalError, numerical_error
from .speed import critical_coupling, diffusivity_for, plane_wave_speed, wave_speed
from .trace import VoltageTrace

__all__ = [
    "ActivationTimes", "Beats", "NumericalError", "VoltageTrace", "beat_recorders", "beats_of",
    "critical_coupling", "diffusivity_for", "numerical_error", "plane_wave_speed", "wave_speed",
]  # fmt: skip
