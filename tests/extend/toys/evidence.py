"""Toy evidence: the peak-to-peak voltage at the points of a map, from a record of its own."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from ...monodomain import AbstractRecorder
from .abstract import AbstractEvidence


class HighestVoltage(AbstractRecorder):
    """The highest u at each node."""

    def init(self, u):
        return u

    def update(self, memory, step):
        return jnp.maximum(memory, step.after)

    def emit(self, step):
        return None

    def read(self, memory, emitted, dt):
        return memory


class ToyPeak(AbstractEvidence):
    """Unipolar voltages over their maximum, as the height of the action potential, with Gaussian errors."""

    sd: float = 0.05
    name: ClassVar[str] = "toy_peak"

    def nuisance(self, dtype):
        return {"gain": jnp.zeros((), dtype)}

    def recorder(self, twin, placed):
        return HighestVoltage()

    def measured(self, twin, data, rows):
        height = np.where(rows >= 0, data.unipolar_mv[rows] / np.nanmax(data.unipolar_mv), np.nan)
        return jnp.asarray(height, twin.space.mass.dtype)

    def predict(self, theta, twin, placed, arrival, record):
        return jnp.exp(0.1 * theta["evidence"][self.name]["gain"]) * placed.place(record)

    def loss(self, theta, placed, predicted):
        seen = placed.measured[self.name]
        known = jnp.isfinite(seen)
        return 0.5 * jnp.sum((jnp.where(known, predicted - jnp.where(known, seen, 0.0), 0.0) / self.sd) ** 2)

    def information(self, theta, placed, predicted):
        return jnp.where(jnp.isfinite(placed.measured[self.name]), self.sd**-2, 0.0), {}
