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
from .model import AbstractIonicModel, known, parameter_names, variants
from .modified_mitchell_schaeffer import ModifiedMitchellSchaeffer
from .pacing import Paced, pace
from .ten_tusscher_panfilov import TenTusscherPanfilov
from .two_variable import AbstractTwoVariableModel

MODELS: dict[str, Callable[..., AbstractIonicModel]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): kind
    for name, kind in tuple(globals().items())
    if isinstance(kind, type) and issubclass(kind, AbstractIonicModel) and not name.startswith("Abstract")
}
"""All cell models that are imported above."""

CONDUCTING = {name: kind for name, kind in MODELS.items() if kind().closed_form_speed(1.0) is not None}
"""Those that a case can name. The others have a speed only by cables, minutes of compiling for a detailed
cell, and stimulus and step of a case are made for u from 0 to 1."""

__all__ = [
    "CONDUCTING", "DRUGS", "MODELS", "AbstractDetailedModel", "AbstractIonicModel",
    "AbstractTwoVariableModel", "ActionPotential", "AlievPanfilov", "BuenoOrovio", "Courtemanche", "Drug",
    "MitchellSchaeffer", "ModifiedMitchellSchaeffer", "Paced", "Restitution", "TenTusscherPanfilov",
    "action_potentials", "known", "pace", "parameter_names", "restitution", "variants", "with_drugs",
]  # fmt: skip
