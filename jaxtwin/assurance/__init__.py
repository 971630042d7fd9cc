"""Whether a fit can be believed: held-out data, baselines, calibrated intervals, contradictions."""

from .baselines import IsotropicSpeed, gaussian_process, isotropic_speed, radial_basis
from .blend import Blend
from .conformal import Recalibration, recalibrate
from .doubts import PARTS, fit_doubts, likely_causes, verdict
from .holdout import HoldOut, hold_out
from .sites import site_problems, source_problems

__all__ = [
    "PARTS", "Blend", "HoldOut", "IsotropicSpeed", "Recalibration", "fit_doubts",
    "gaussian_process", "hold_out", "isotropic_speed", "likely_causes", "radial_basis", "recalibrate",
    "site_problems", "source_problems", "verdict",
]  # fmt: skip
