"""The Aliev-Panfilov cell."""

from typing import ClassVar

import jax.numpy as jnp

from .._types import Parameter, nodal
from .rush_larsen import AbstractRushLarsenModel

UNIT_MS = 12.9  # of the time of the paper


class AlievPanfilov(AbstractRushLarsenModel):
    """u' = -k u (u - a)(u - 1) - u v;  v' = (e0 + mu1 v/(u + mu2)) (-v - k u (u - a - 1)), per 12.9 ms.

    V = 100 u - 80 in mV. Aliev, Panfilov 1996, doi 10.1016/0960-0779(95)00089-5.
    """

    k: Parameter = nodal(default=8.0)
    a: Parameter = nodal(default=0.15)
    e0: Parameter = nodal(default=0.002)
    mu1: Parameter = nodal(default=0.2)
    mu2: Parameter = nodal(default=0.3)

    threshold: ClassVar[float] = 0.5
    recovery: ClassVar[float] = 0.1
    bounds: ClassVar[tuple[float, float]] = (-2.0, 3.0)
    strength: ClassVar[float] = 0.3

    def resting(self):
        return 0.0, {"v": 0.0}

    def reaction(self, u, gates):
        return (-self.k * u * (u - self.a) * (u - 1.0) - u * gates["v"]) / UNIT_MS

    def gates(self, u, y):
        return {}

    def rates(self, u, y):
        slowness = self.e0 + self.mu1 * y["v"] / (u + self.mu2)
        return {"v": slowness * (-y["v"] - self.k * u * (u - self.a - 1.0)) / UNIT_MS}

    def stiffness(self):
        # of -k (3 u^2 - 2 (1 + a) u + a) - v for u from 0 to 1, with v up to 2.5
        return jnp.max(jnp.asarray((self.k * (1.0 - self.a) + 2.5) / UNIT_MS))

    def closed_form_speed(self, diffusivity):
        """sqrt(k D/2) (1 - 2 a), per 12.9 ms: of the cubic with v at rest."""
        return jnp.sqrt(0.5 * self.k * diffusivity / UNIT_MS) * jnp.maximum(1.0 - 2.0 * self.a, 0.0)

    def millivolts(self, u):
        return 100.0 * u - 80.0
