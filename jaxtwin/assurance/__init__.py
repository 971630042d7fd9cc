"""Whether a fit can be believed: held-out data, baselines, calibrated intervals."""

from .baselines import IsotropicSpeed, gaussian_process, isotropic_speed, radial_basis
from .conformal import Recalibration, recalibrate
from .holdout import HoldOut, hold_out

__all__ = [
    "HoldOut",
    "IsotropicSpeed",
    "Recalibration",
    "gaussian_process",
    "hold_out",
    "isotropic_speed",
    "radial_basis",
    "recalibrate",
]
