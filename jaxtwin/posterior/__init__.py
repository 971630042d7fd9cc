"""Measurements to parameters: parameterisation, prior, likelihood, optimiser, and the rivals to beat."""

from .baseline import IsotropicSpeed, gaussian_process, isotropic_speed, radial_basis
from .conformal import Recalibration, recalibrate
from .holdout import Split, split
from .laplace import Combination, Laplace, Spread, combinations, laplace, spread
from .likelihood import StudentT
from .matern import MaternModes, matern_modes
from .nuts import Draws, nuts
from .observation import Clock, Observation, clock
from .optimise import Assessment, Fit, history_row, minimise
from .parameterisation import AbstractParameterisation, LogConductivity, Theta, field, per_region, uniform
from .trust_region import Model, Progress, trust_region
from .voltage import Voltage

__all__ = [
    "AbstractParameterisation", "Assessment", "Clock", "Combination", "Draws", "Fit",
    "IsotropicSpeed", "Laplace", "LogConductivity", "MaternModes", "Model", "Observation", "Progress",
    "Recalibration", "Split", "Spread", "StudentT", "Theta", "Voltage", "clock", "combinations", "field",
    "gaussian_process", "history_row", "isotropic_speed", "laplace", "matern_modes", "minimise", "nuts",
    "per_region", "radial_basis", "recalibrate", "split", "spread", "trust_region", "uniform",
]  # fmt: skip
