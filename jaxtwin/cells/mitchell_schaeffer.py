"""The Mitchell-Schaeffer cell."""

import equinox as eqx
import jax.numpy as jnp

from .._types import Parameter, nodal
from .gate import relax_gate
from .two_variable import AbstractTwoVariableModel, positive_root


class MitchellSchaeffer(AbstractTwoVariableModel):
    """u' = h u^2 (1 - u)/tau_in - u/tau_out;  h' = (1 - h)/tau_open below u_gate, -h/tau_close above.

    Times in ms, above 0; `u_gate` in the unit of u; `v_min`, `v_max`: mV at u = 0 and 1. Raises `InputError`
    for other times and for cells that no stimulus excites. Mitchell and Schaeffer 2003, doi
    10.1016/S0092-8240(03)00041-7.
    """

    tau_in: Parameter = nodal(default=0.3)
    tau_out: Parameter = nodal(default=6.0)
    tau_open: Parameter = nodal(default=120.0)
    tau_close: Parameter = nodal(default=150.0)
    u_gate: Parameter = nodal(default=0.13)
    v_min: float = eqx.field(static=True, default=-80.0)
    v_max: float = eqx.field(static=True, default=20.0)

    def excitability(self):
        return "tau_in/tau_out", self.tau_in / self.tau_out, 2.0 / 9.0  # 3 s > 1, see `speed`

    def reaction(self, u, gates):
        return (1.0 / self.tau_in) * gates * u * u * (1.0 - u) - (1.0 / self.tau_out) * u

    def relax(self, gates, before, after, dt):
        return relax_gate(
            gates, before, after, dt,
            threshold=self.u_gate, tau_open=self.tau_open, tau_close=self.tau_close,
        )  # fmt: skip

    def speed(self, diffusivity, h: Parameter = 1.0):
        """sqrt(D h/(8 tau_in)) (3 s - 1), s = sqrt(1 - 4 tau_in/(h tau_out)): the front with the gate
        frozen at h. Zero where the tissue blocks, h <= 4.5 tau_in/tau_out."""
        s = positive_root(1.0 - 4.0 * self.tau_in / (h * self.tau_out))
        return jnp.sqrt(diffusivity * h / (8.0 * self.tau_in)) * jnp.maximum(3.0 * s - 1.0, 0.0)
