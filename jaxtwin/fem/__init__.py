"""Finite elements: P1 operators, sparse products, interpolation, distances, random fields, partition."""

from .diffusion import EdgeOperator, diffusion_operator, dispersion_operator
from .geodesic import geodesic
from .layout import Layout
from .locate import Interpolation, locate
from .matern import MaternModes, laplace_modes, matern_modes, spectrum
from .p1 import lumped_mass, p1_gradients
from .partition import Partition, partition
from .restriction import Restriction, restrict
from .space import Space

__all__ = [
    "EdgeOperator",
    "Interpolation",
    "Layout",
    "MaternModes",
    "Partition",
    "Restriction",
    "Space",
    "diffusion_operator",
    "dispersion_operator",
    "geodesic",
    "laplace_modes",
    "locate",
    "lumped_mass",
    "matern_modes",
    "p1_gradients",
    "partition",
    "restrict",
    "spectrum",
]
