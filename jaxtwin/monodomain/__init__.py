"""The monodomain equation: tissue, stimuli, time stepping, recorders and adjoint."""

from .adjoint import AbstractAdjoint, Checkpointed, ForwardMode
from .cause import why_silent
from .conductivity import diffusion_tensor, magnitude, turned_tensor
from .eikonal import eikonal
from .parallel import simulate_batch, simulate_split
from .protocol import beats, burst, decremental, s1s2, train
from .rays import Rays, rays
from .recorder import AbstractRecorder, Step
from .result import MESSAGES, Result
from .simulate import Solution, simulate, simulate_in_parts
from .stepper import AbstractStepper, RungeKuttaChebyshev, State
from .stimulus import AbstractStimulus, Stimulus, in_regions, in_sphere, pulse
from .storage import read_state, write_state
from .times import Times
from .tissue import Tissue, spectral_bound
from .window import AHEAD, BEHIND, Window, travelling_window, travelling_windows

__all__ = [
    "AHEAD", "BEHIND", "MESSAGES", "AbstractAdjoint", "AbstractRecorder", "AbstractStepper",
    "AbstractStimulus", "Checkpointed", "ForwardMode", "Rays", "Result", "RungeKuttaChebyshev",
    "Solution", "State", "Step", "Stimulus", "Times", "Tissue", "Window", "beats", "burst", "decremental",
    "diffusion_tensor", "eikonal", "in_regions", "in_sphere", "magnitude", "pulse", "rays", "read_state",
    "s1s2", "simulate", "simulate_batch", "simulate_in_parts", "simulate_split", "spectral_bound",
    "train", "travelling_window", "travelling_windows", "turned_tensor", "why_silent", "write_state",
]  # fmt: skip
