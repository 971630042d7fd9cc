"""A cell in millivolts with four states besides the voltage: the squid axon and a concentration."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxtwin._types import Parameter, nodal
from jaxtwin.cells import AbstractIonicModel

REST = (-65.0, {"m": 0.0529325, "h": 0.5961208, "n": 0.3176769, "calcium": 0.0})


def ratio(x):
    """x/(exp(x) - 1), smooth through 0."""
    small = jnp.abs(x) < 1e-4
    return jnp.where(small, 1.0 - 0.5 * x, x / jnp.expm1(jnp.where(small, 1.0, x)))


class Squid(AbstractIonicModel):
    """Hodgkin and Huxley 1952 (doi 10.1113/jphysiol.1952.sp004764), and a concentration that the sodium
    current fills and that lowers it."""

    threshold: ClassVar[float] = -20.0
    recovery: ClassVar[float] = -60.0
    bounds: ClassVar[tuple[float, float]] = (-200.0, 200.0)
    strength: ClassVar[float] = 30.0

    sodium: Parameter = nodal(default=120.0)
    potassium: Parameter = nodal(default=36.0)
    leak: Parameter = nodal(default=0.3)

    def resting(self):
        return REST

    def reaction(self, u, gates):
        of_sodium = self.sodium * gates["m"] ** 3 * gates["h"] * (1.0 - 0.2 * gates["calcium"])
        return (
            of_sodium * (50.0 - u) + self.potassium * gates["n"] ** 4 * (-77.0 - u) + self.leak * (-54.4 - u)
        )

    def relax(self, gates, before, after, dt):
        u = 0.5 * (before + after)
        rates = {
            "m": (ratio(-(u + 40.0) / 10.0), 4.0 * jnp.exp(-(u + 65.0) / 18.0)),
            "h": (0.07 * jnp.exp(-(u + 65.0) / 20.0), 1.0 / (1.0 + jnp.exp(-(u + 35.0) / 10.0))),
            "n": (0.1 * ratio(-(u + 55.0) / 10.0), 0.125 * jnp.exp(-(u + 65.0) / 80.0)),
        }
        new = {}
        for name, (opening, closing) in rates.items():
            both = opening + closing
            new[name] = gates[name] + (opening / both - gates[name]) * -jnp.expm1(-dt * both)
        filled = jax.nn.sigmoid((u + 20.0) / 5.0)
        return new | {"calcium": gates["calcium"] + (filled - gates["calcium"]) * -jnp.expm1(-dt / 20.0)}

    def stiffness(self):
        return jnp.max(jnp.asarray(0.4 * self.sodium + self.potassium))

    def closed_form_speed(self, diffusivity):
        return None

    def millivolts(self, u):
        return u
