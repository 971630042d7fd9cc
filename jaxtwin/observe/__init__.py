"""What a solve is measured by: recorders, and what links them to measured maps."""

from .activation import ActivationTimes
from .beats import Beats, beat_recorders, beats_of
from .reentry import refuse_reentry
from .resolution import NumericalError, numerical_error
from .sources import earliest_sources
from .speed import diffusivity_for, plane_wave_speed, wave_speed
from .trace import VoltageTrace

__all__ = [
    "ActivationTimes", "Beats", "NumericalError", "VoltageTrace", "beat_recorders", "beats_of",
    "diffusivity_for", "earliest_sources", "numerical_error", "plane_wave_speed", "refuse_reentry",
    "wave_speed",
]  # fmt: skip
