"""Space to operators: P1 elements, sparse products, interpolation."""

from .diffusion import Diffusion
from .p1 import lumped_mass, p1_gradients
from .space import Space

__all__ = ["Diffusion", "Space", "lumped_mass", "p1_gradients"]
