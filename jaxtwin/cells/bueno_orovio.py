"""The minimal cell of the human ventricle by Bueno-Orovio, Cherry and Fenton."""

from typing import ClassVar

import jax.numpy as jnp

from .._types import Parameter, nodal
from .gate import fraction_below
from .model import AbstractIonicModel
from .removable import expm1_over


class BuenoOrovio(AbstractIonicModel):
    """Human ventricular cell of four states; epicardial by default, `endo()`, `mid()` and `tnnp()` beside it.

    Times in ms, u and its thresholds without unit; V = 85.7 u - 84 in mV. The gates v, w and s switch between
    their times in the moment u passes a threshold, within a step too. The outward current jumps where u
    passes `theta_w`, as published; derivatives do not contain that jump. Bueno-Orovio, Cherry, Fenton 2008,
    doi 10.1016/j.jtbi.2008.03.029.
    """

    u_u: Parameter = nodal(default=1.55)
    theta_v: Parameter = nodal(default=0.3)
    theta_w: Parameter = nodal(default=0.13)
    theta_v_minus: Parameter = nodal(default=0.006)
    theta_o: Parameter = nodal(default=0.006)
    tau_v1_minus: Parameter = nodal(default=60.0)
    tau_v2_minus: Parameter = nodal(default=1150.0)
    tau_v_plus: Parameter = nodal(default=1.4506)
    tau_w1_minus: Parameter = nodal(default=60.0)
    tau_w2_minus: Parameter = nodal(default=15.0)
    k_w_minus: Parameter = nodal(default=65.0)
    u_w_minus: Parameter = nodal(default=0.03)
    tau_w_plus: Parameter = nodal(default=200.0)
    tau_fi: Parameter = nodal(default=0.11)
    tau_o1: Parameter = nodal(default=400.0)
    tau_o2: Parameter = nodal(default=6.0)
    tau_so1: Parameter = nodal(default=30.0181)
    tau_so2: Parameter = nodal(default=0.9957)
    k_so: Parameter = nodal(default=2.0458)
    u_so: Parameter = nodal(default=0.65)
    tau_s1: Parameter = nodal(default=2.7342)
    tau_s2: Parameter = nodal(default=16.0)
    k_s: Parameter = nodal(default=2.0994)
    u_s: Parameter = nodal(default=0.9087)
    tau_si: Parameter = nodal(default=1.8875)
    tau_w_inf: Parameter = nodal(default=0.07)
    w_inf: Parameter = nodal(default=0.94)

    threshold: ClassVar[float] = 0.5
    recovery: ClassVar[float] = 0.1
    bounds: ClassVar[tuple[float, float]] = (-2.0, 5.0)
    strength: ClassVar[float] = 0.4
    step_ms: ClassVar[float] = 0.05

    @classmethod
    def endo(cls) -> "BuenoOrovio":
        """Endocardium."""
        return cls(
            u_u=1.56, theta_v_minus=0.2, tau_v1_minus=75.0, tau_v2_minus=10.0, tau_w1_minus=6.0,
            tau_w2_minus=140.0, k_w_minus=200.0, u_w_minus=0.016, tau_w_plus=280.0, tau_fi=0.1, tau_o1=470.0,
            tau_so1=40.0, tau_so2=1.2, k_so=2.0, tau_s2=2.0, tau_si=2.9013, tau_w_inf=0.0273, w_inf=0.78,
        )  # fmt: skip

    @classmethod
    def mid(cls) -> "BuenoOrovio":
        """Midmyocardium."""
        return cls(
            u_u=1.61, theta_v_minus=0.1, theta_o=0.005, tau_v1_minus=80.0, tau_v2_minus=1.4506,
            tau_w1_minus=70.0, tau_w2_minus=8.0, k_w_minus=200.0, u_w_minus=0.016, tau_w_plus=280.0,
            tau_fi=0.078, tau_o1=410.0, tau_o2=7.0, tau_so1=91.0, tau_so2=0.8, k_so=2.1, u_so=0.6, tau_s2=4.0,
            tau_si=3.3849, tau_w_inf=0.01, w_inf=0.5,
        )  # fmt: skip

    @classmethod
    def tnnp(cls) -> "BuenoOrovio":
        """As the ten Tusscher-Noble-Noble-Panfilov cell."""
        return cls(
            u_u=1.58, theta_w=0.015, theta_v_minus=0.015, tau_w1_minus=70.0, tau_w2_minus=20.0,
            tau_w_plus=280.0, tau_o1=6.0, tau_so1=43.0, tau_so2=0.2, k_so=2.0, tau_s2=3.0, tau_si=2.8723,
        )  # fmt: skip

    def resting(self):
        return 0.0, {"v": 1.0, "w": 1.0, "s": 0.0}

    def reaction(self, u, gates):
        excited = u > self.theta_w
        fast = -gates["v"] * jnp.maximum(u - self.theta_v, 0.0) * (self.u_u - u) / self.tau_fi
        tau_so = self.tau_so1 + (self.tau_so2 - self.tau_so1) * _step(self.k_so * (u - self.u_so))
        out = jnp.where(excited, 1.0 / tau_so, u / jnp.where(u > self.theta_o, self.tau_o2, self.tau_o1))
        slow = jnp.where(excited, -gates["w"] * gates["s"] / self.tau_si, 0.0)
        return -(fast + out + slow)

    def relax(self, gates, before, after, dt):
        u = 0.5 * (before + after)
        # parts of the step spent below each threshold
        v_low, v_below, w_below, o_below = (
            fraction_below(before, after, threshold)
            for threshold in (self.theta_v_minus, self.theta_v, self.theta_w, self.theta_o)
        )
        v_low, o_below = jnp.minimum(v_low, v_below), jnp.minimum(o_below, w_below)
        opening = v_low / self.tau_v1_minus
        v = _toward(
            gates["v"], opening,
            opening + (v_below - v_low) / self.tau_v2_minus + (1.0 - v_below) / self.tau_v_plus, dt,
        )  # fmt: skip
        steep = _step(self.k_w_minus * (u - self.u_w_minus))
        tau_w = self.tau_w1_minus + (self.tau_w2_minus - self.tau_w1_minus) * steep
        low = 1.0 - jnp.minimum(u, self.theta_o) / self.tau_w_inf
        w = _toward(
            gates["w"], (o_below * low + (w_below - o_below) * self.w_inf) / tau_w,
            w_below / tau_w + (1.0 - w_below) / self.tau_w_plus, dt,
        )  # fmt: skip
        rate = w_below / self.tau_s1 + (1.0 - w_below) / self.tau_s2
        s = _toward(gates["s"], rate * _step(self.k_s * (u - self.u_s)), rate, dt)
        return {"v": v, "w": w, "s": s}

    def stiffness(self):
        # of the fast current at u = u_u or theta_v, and of the outward current at its steepest
        fast = (self.u_u - self.theta_v) / self.tau_fi
        return jnp.max(jnp.asarray(fast + 1.0 / self.tau_o2 + 0.5 * self.k_so / self.tau_so2))

    def closed_form_speed(self, diffusivity):
        return None

    def millivolts(self, u):
        return 85.7 * u - 84.0


def _step(x):
    """From 0 to 1 around 0."""
    return 0.5 * (1.0 + jnp.tanh(x))


def _toward(gate, opening, rate, dt: Parameter):
    """The gate after dt of gate' = opening - rate gate."""
    return gate + (opening - rate * gate) * dt * expm1_over(-rate * dt)
