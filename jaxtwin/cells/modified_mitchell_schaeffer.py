"""The modified Mitchell-Schaeffer cell."""

import equinox as eqx
import jax.numpy as jnp

from .._types import Parameter, nodal
from .gate import relax_gate
from .two_variable import AbstractTwoVariableModel, positive_root


class ModifiedMitchellSchaeffer(AbstractTwoVariableModel):
    """u' = h u (u - a)(1 - u)/tau_in - (1 - h) u/tau_out;  h as in Mitchell-Schaeffer with u_gate = a.

    Excitable for every choice of times, never a pacemaker. Times in ms.
    Corrado and Niederer 2016, doi 10.1016/j.mbs.2016.08.010.
    """

    tau_in: Parameter = nodal(default=0.3)
    tau_out: Parameter = nodal(default=5.0)
    tau_open: Parameter = nodal(default=120.0)
    tau_close: Parameter = nodal(default=150.0)
    a: Parameter = nodal(default=0.13)
    v_min: float = eqx.field(static=True, default=-80.0)
    v_max: float = eqx.field(static=True, default=20.0)

    @classmethod
    def atrial(cls) -> "ModifiedMitchellSchaeffer":
        """The left-atrial set of the paper."""
        return cls(tau_in=0.15, tau_out=1.5, tau_open=105.0, tau_close=185.0, a=0.1)

    def excitability(self):
        return "a", self.a, 0.5

    def reaction(self, u, gates):
        excitation = gates * (u - self.a) * (1.0 - u)
        return u * ((1.0 / self.tau_in) * excitation - (1.0 / self.tau_out) * (1.0 - gates))

    def relax(self, gates, before, after, dt):
        return relax_gate(
            gates, before, after, dt,
            threshold=self.a, tau_open=self.tau_open, tau_close=self.tau_close,
        )  # fmt: skip

    def speed(self, diffusivity, h: Parameter = 1.0):
        """sqrt(D h/(2 tau_in)) (3 s - 1 - a)/2, s = sqrt((1-a)^2 - 4 (1-h) tau_in/(h tau_out)): the
        front with the gate frozen at h; (1 - 2 a) sqrt(D/(2 tau_in)) from rest. Zero where it blocks."""
        s = positive_root((1.0 - self.a) ** 2 - 4.0 * (1.0 - h) * self.tau_in / (h * self.tau_out))
        front = 0.5 * (3.0 * s - 1.0 - self.a)
        return jnp.sqrt(diffusivity * h / (2.0 * self.tau_in)) * jnp.maximum(front, 0.0)
