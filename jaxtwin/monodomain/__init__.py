"""Cells, space and time: the monodomain equation, forward and backward."""

from .adjoint import AbstractAdjoint, Checkpointed, ForwardMode
from .conductivity import diffusion_tensor, magnitude, turned_tensor
from .eikonal import Rays, eikonal, rays
from .parallel import simulate_batch, simulate_split
from .recorder import AbstractRecorder, Step
from .simulate import Solution, Times, simulate, simulate_in_parts, spectral_bound
from .stepper import AbstractStepper, RungeKuttaChebyshev, State
from .stimulus import AbstractStimulus, Stimulus, in_regions, in_sphere, pulse
from .tissue import Tissue

__all__ = [
    "AbstractAdjoint", "AbstractRecorder", "AbstractStepper", "AbstractStimulus", "Checkpointed",
    "ForwardMode", "Rays", "RungeKuttaChebyshev", "Solution", "State", "Step", "Stimulus", "Times",
    "Tissue", "diffusion_tensor", "eikonal", "in_regions", "in_sphere", "magnitude", "pulse", "rays",
    "simulate", "simulate_batch", "simulate_in_parts", "simulate_split", "spectral_bound", "turned_tensor",
]  # fmt: skip
