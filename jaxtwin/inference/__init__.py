"""From measurements to parameters: evidence, fit, posterior, prediction, design."""

from .design import design_next
from .evidence import AbstractEvidence, Arrival, StudentT, Voltage
from .fit import EIKONAL_ROUNDS, Fit, fit
from .identify import Combination, IdentifiabilityWarning, cramer_rao, identifiability, identifiable
from .laplace import Laplace
from .left_out import left_out
from .nuts import Draws
from .optimise import Assessment
from .posterior import posterior
from .predict import predict
from .prior import Prior
from .problem import Problem
from .sampling import sample
from .scales import DISCREPANCY, TISSUE
from .spread import Spread, spread
from .storage import FittedTwin, read_twin, write_twin

__all__ = [
    "DISCREPANCY", "EIKONAL_ROUNDS", "TISSUE", "AbstractEvidence", "Arrival", "Assessment", "Combination",
    "Draws", "Fit",
    "FittedTwin", "IdentifiabilityWarning", "Laplace", "Prior", "Problem", "Spread", "StudentT", "Voltage",
    "cramer_rao", "design_next", "fit", "identifiability", "identifiable", "left_out", "posterior", "predict",
    "read_twin", "sample", "spread", "write_twin",
]  # fmt: skip
