"""A toy cell of three gates: excitation m, inactivation h, recovery w, all on a scaled voltage."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from .._types import Parameter, nodal
from .model import AbstractIonicModel


class ToyThreeGates(AbstractIonicModel):
    """u' = g m h (1 - u) - (1 + w) u/tau_out, with each gate x relaxing to x_inf(u) in its own time."""

    threshold: ClassVar[float] = 0.4
    recovery: ClassVar[float] = 0.1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 2.0)
    strength: ClassVar[float] = 0.5

    g: Parameter = nodal(default=4.0)
    tau_out: Parameter = nodal(default=8.0)
    tau_h: Parameter = nodal(default=60.0)
    tau_w: Parameter = nodal(default=100.0)
    tau_m: float = eqx.field(static=True, default=0.3)

    def resting(self):
        return 0.0, {"m": 0.0, "h": 1.0, "w": 0.0}

    def reaction(self, u, gates):
        return self.g * gates["m"] * gates["h"] * (1.0 - u) - (1.0 + gates["w"]) * u / self.tau_out

    def relax(self, gates, before, after, dt):
        above = 1.0 / (1.0 + jnp.exp(-40.0 * (0.5 * (before + after) - 0.2)))

        def towards(x, goal, tau):
            return goal + (x - goal) * jnp.exp(-dt / tau)

        return {
            "m": towards(gates["m"], above, self.tau_m),
            "h": towards(gates["h"], 1.0 - above, self.tau_h),
            "w": towards(gates["w"], above, self.tau_w),
        }

    def stiffness(self):
        return jnp.max(jnp.asarray(self.g + 2.0 / self.tau_out))

    def closed_form_speed(self, diffusivity):
        return None

    def millivolts(self, u):
        return -85.0 + 120.0 * u
