"""One cell: what the membrane does at a point."""

from .mitchell_schaeffer import MitchellSchaeffer
from .model import AbstractIonicModel
from .modified_mitchell_schaeffer import ModifiedMitchellSchaeffer

__all__ = ["AbstractIonicModel", "MitchellSchaeffer", "ModifiedMitchellSchaeffer"]
