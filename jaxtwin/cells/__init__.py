"""One cell: what the membrane does at a point."""

import re
from collections.abc import Callable

from .mitchell_schaeffer import MitchellSchaeffer
from .model import AbstractIonicModel, known, parameter_names
from .modified_mitchell_schaeffer import ModifiedMitchellSchaeffer
from .two_variable import AbstractTwoVariableModel

MODELS: dict[str, Callable[..., AbstractIonicModel]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): kind
    for name, kind in tuple(globals().items())
    if isinstance(kind, type) and issubclass(kind, AbstractIonicModel) and not name.startswith("Abstract")
}
"""The cell models that a case can name: all that are imported above."""

__all__ = [
    "MODELS", "AbstractIonicModel", "AbstractTwoVariableModel", "MitchellSchaeffer",
    "ModifiedMitchellSchaeffer", "known", "parameter_names",
]  # fmt: skip
