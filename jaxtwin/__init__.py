"""Differentiable cardiac electrophysiology twins in JAX.

mesh + fibres -> monodomain with Mitchell-Schaeffer cells -> activation times -> fitted conductivity.
Units: mm, ms, mV, mS, uF throughout.
"""

from ._results import InputError, SilentWarning, SolveError
from .anatomy import Mesh, atrial_shell, cable, read_mesh, refine, reorder, repair, sheet, slab, write_mesh
from .fem import Space, split
from .ionic import MitchellSchaeffer, ModifiedMitchellSchaeffer
from .mapping import MappingData, Study, read_csv, read_mapping, read_study, write_csv, write_study
from .monodomain import (
    Checkpointed,
    ForwardMode,
    RungeKuttaChebyshev,
    Stimulus,
    Times,
    Tissue,
    burst,
    decremental,
    diffusion_tensor,
    in_regions,
    in_sphere,
    pulse,
    s1s2,
    simulate,
    simulate_batch,
    simulate_split,
    train,
)
from .observe import (
    ActivationTimes,
    VoltageTrace,
    earliest_sources,
    numerical_error,
)
from .posterior import LogConductivity, StudentT, Voltage, field, matern_modes, per_region, uniform
from .twin import Twin

__all__ = [
    "ActivationTimes", "Checkpointed", "ForwardMode", "InputError", "LogConductivity", "MappingData",
    "Mesh", "MitchellSchaeffer", "ModifiedMitchellSchaeffer", "RungeKuttaChebyshev", "SilentWarning",
    "SolveError", "Space", "Stimulus", "StudentT", "Study", "Times", "Tissue", "Twin", "Voltage",
    "VoltageTrace", "atrial_shell", "burst", "cable", "decremental", "diffusion_tensor",
    "earliest_sources", "field", "in_regions", "in_sphere", "matern_modes", "numerical_error",
    "per_region", "pulse", "read_csv", "read_mapping", "read_mesh", "read_study", "refine", "reorder",
    "repair", "s1s2", "sheet", "simulate", "simulate_batch", "simulate_split", "slab", "split", "train",
    "uniform", "write_csv", "write_mesh", "write_study",
]  # fmt: skip
