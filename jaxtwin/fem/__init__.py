"""Space to operators: P1 elements, sparse products, interpolation."""

from .diffusion import Diffusion
from .locate import Interpolation, locate
from .p1 import lumped_mass, p1_gradients
from .space import Space

__all__ = ["Diffusion", "Interpolation", "Space", "locate", "lumped_mass", "p1_gradients"]
