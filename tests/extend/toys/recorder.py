"""A toy recorder: the unipolar potential at a few electrodes, linear in A u."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import nodal
from ..monodomain import AbstractRecorder, Step


class ToyElectrogram(AbstractRecorder):
    """phi_e = sum_i (m_i/r_i) (A u)_i/(4 pi) at the end of each step: (steps, electrodes).

    - `weights`: (electrodes, nodes), mass over distance.
    """

    weights: Float[Array, "electrodes nodes"] = nodal()

    def init(self, u):
        return ()

    def update(self, memory, step: Step):
        return ()

    def emit(self, step: Step):
        return self.weights @ step.diffusion / (4.0 * jnp.pi)

    def read(self, memory, emitted, dt: float):
        return emitted
