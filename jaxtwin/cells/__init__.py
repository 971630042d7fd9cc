"""One cell: what the membrane does at a point."""

import re
from collections.abc import Callable

from .action_potential import ActionPotential, Restitution, action_potentials, restitution
from .aliev_panfilov import AlievPanfilov
from .bueno_orovio import BuenoOrovio
from .courtemanche import Courtemanche
from .detailed import AbstractDetailedModel
from .drug import DRUGS, Drug, with_drugs
from .mitchell_schaeffer import MitchellSchaeffer
from .model import STANDARD_STEP_MS, AbstractIonicModel, known, parameter_names, variants
from .modified_mitchell_schaeffer import ModifiedMitchellSchaeffer
from .pacing import Paced, pace
from .ten_tusscher_panfilov import TenTusscherPanfilov
from .two_variable import AbstractTwoVariableModel

_kinds = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): kind
    for name, kind in tuple(globals().items())
    if isinstance(kind, type) and issubclass(kind, AbstractIonicModel) and not name.startswith("Abstract")
}
MODELS: dict[str, Callable[..., AbstractIonicModel]] = {**_kinds}
"""All cell models that are imported above."""

OF_CASES: dict[str, Callable[..., AbstractIonicModel]] = {
    name: kind for name, kind in _kinds.items() if kind.step_ms >= STANDARD_STEP_MS
}
"""Those that a case can name: its time step and stimulus are made for such an upstroke."""

__all__ = [
    "DRUGS", "MODELS", "OF_CASES", "AbstractDetailedModel", "AbstractIonicModel",
    "AbstractTwoVariableModel", "ActionPotential", "AlievPanfilov", "BuenoOrovio", "Courtemanche", "Drug",
    "MitchellSchaeffer", "ModifiedMitchellSchaeffer", "Paced", "Restitution", "TenTusscherPanfilov",
    "action_potentials", "known", "pace", "parameter_names", "restitution", "variants", "with_drugs",
]  # fmt: skip
