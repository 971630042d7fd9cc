"""One cell: what the membrane does at a point."""

from .mitchell_schaeffer import MitchellSchaeffer
from .model import AbstractIonicModel, known, parameter_names
from .modified_mitchell_schaeffer import ModifiedMitchellSchaeffer
from .two_variable import AbstractTwoVariableModel

__all__ = [
    "AbstractIonicModel", "AbstractTwoVariableModel", "MitchellSchaeffer", "ModifiedMitchellSchaeffer",
    "known", "parameter_names",
]  # fmt: skip
