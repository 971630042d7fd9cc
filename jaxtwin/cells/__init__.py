"""One cell: what the membrane does at a point."""

from collections.abc import Callable

from .mitchell_schaeffer import MitchellSchaeffer
from .model import AbstractIonicModel, known, parameter_names
from .modified_mitchell_schaeffer import ModifiedMitchellSchaeffer
from .two_variable import AbstractTwoVariableModel

MODELS: dict[str, Callable[..., AbstractIonicModel]] = {
    "mitchell_schaeffer": MitchellSchaeffer,
    "modified_mitchell_schaeffer": ModifiedMitchellSchaeffer,
}
"""The cell models that a case can name: one line each."""

__all__ = [
    "MODELS", "AbstractIonicModel", "AbstractTwoVariableModel", "MitchellSchaeffer",
    "ModifiedMitchellSchaeffer", "known", "parameter_names",
]  # fmt: skip
