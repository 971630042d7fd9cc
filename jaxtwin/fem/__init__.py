"""Space to operators: P1 elements, sparse products, interpolation."""

from .diffusion import EdgeOperator, diffusion_operator, dispersion_operator
from .locate import Interpolation, locate
from .p1 import lumped_mass, p1_gradients
from .space import Space
from .split import Split, split

__all__ = [
    "EdgeOperator", "Interpolation", "Space", "Split", "diffusion_operator", "dispersion_operator", "locate",
    "lumped_mass", "p1_gradients", "split",
]  # fmt: skip
