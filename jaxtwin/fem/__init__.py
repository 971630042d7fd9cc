"""Space to operators: P1 elements, sparse products, interpolation."""

from .diffusion import EdgeOperator, diffusion_operator, dispersion_operator
from .locate import Interpolation, locate
from .p1 import lumped_mass, p1_gradients
from .space import Space

__all__ = [
    "EdgeOperator", "Interpolation", "Space", "diffusion_operator", "dispersion_operator", "locate",
    "lumped_mass", "p1_gradients",
]  # fmt: skip
