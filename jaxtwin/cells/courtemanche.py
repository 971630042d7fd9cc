"""The Courtemanche-Ramirez-Nattel cell of the human atrium."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from .._types import Parameter, nodal
from .detailed import AbstractDetailedModel
from .removable import expm1_over, over_expm1
from .rush_larsen import Gate

R, T, F = 8.3143, 310.0, 96.4867  # J/(mol K), K, C/mmol
RT_F = R * T / F  # mV
CM, V_CELL = 100.0, 20100.0  # pF, um3
V_I, V_REL, V_UP = 0.68 * V_CELL, 0.0048 * V_CELL, 0.0552 * V_CELL
CHARGE = CM / (V_I * F)  # mM per ms of 1 A/F of a monovalent ion
K_Q10 = 3.0

INITIAL = {
    "V": -81.18, "m": 2.908e-3, "h": 9.649e-1, "j": 9.775e-1, "oa": 3.043e-2, "oi": 9.992e-1,
    "ua": 4.966e-3, "ui": 9.986e-1, "xr": 3.296e-5, "xs": 1.869e-2, "d": 1.367e-4, "f": 9.996e-1,
    "f_Ca": 7.755e-1, "u": 0.0, "v": 1.0, "w": 9.992e-1,
    "Na_i": 11.17, "K_i": 139.0, "Ca_i": 1.013e-4, "Ca_up": 1.488, "Ca_rel": 1.488,
}  # fmt: skip


class Courtemanche(AbstractDetailedModel):
    """Human atrial cell of 21 states.

    Conductances in nS/pF, currents in pA/pF, times in ms, concentrations in mM.
    Courtemanche, Ramirez, Nattel 1998, doi 10.1152/ajpheart.1998.275.1.H301.
    """

    g_Na: Parameter = nodal(default=7.8)
    g_CaL: Parameter = nodal(default=0.12375)
    g_to: Parameter = nodal(default=0.1652)
    g_Kur: Parameter = nodal(default=1.0)
    g_Kr: Parameter = nodal(default=0.029411765)
    g_Ks: Parameter = nodal(default=0.12941176)
    g_K1: Parameter = nodal(default=0.09)
    g_bNa: Parameter = nodal(default=0.0006744375)
    g_bCa: Parameter = nodal(default=0.001131)
    I_NaK: Parameter = nodal(default=0.59933874)
    I_NaCa: Parameter = nodal(default=1600.0)
    I_pCa: Parameter = nodal(default=0.275)
    I_up: Parameter = nodal(default=0.005)
    k_rel: Parameter = nodal(default=30.0)
    K_o: Parameter = nodal(default=5.4)
    Na_o: Parameter = nodal(default=140.0)
    Ca_o: Parameter = nodal(default=1.8)

    recovery: ClassVar[float] = -65.0
    strength: ClassVar[float] = 20.0
    steepest: ClassVar[float] = 40.0

    @classmethod
    def atrial_fibrillation(cls) -> "Courtemanche":
        """Remodelled by atrial fibrillation: I_to and I_CaL, I_Kur reduced by 50, 70 and 50 % (Courtemanche,
        Ramirez, Nattel 1999, doi 10.1016/S0008-6363(99)00034-6)."""
        return cls(g_to=0.0826, g_CaL=0.037125, g_Kur=0.5)

    def initial(self):
        return INITIAL

    def currents(self, v, y):
        E_Na = RT_F * jnp.log(self.Na_o / y["Na_i"])
        E_K = RT_F * jnp.log(self.K_o / y["K_i"])
        E_Ca = 0.5 * RT_F * jnp.log(self.Ca_o / y["Ca_i"])
        e = v / RT_F
        out, into = jnp.exp(0.35 * e), jnp.exp(-0.65 * e)
        exchange = out * y["Na_i"] ** 3 * self.Ca_o - into * self.Na_o**3 * y["Ca_i"]
        exchange = exchange / ((87.5**3 + self.Na_o**3) * (1.38 + self.Ca_o) * (1.0 + 0.1 * into))
        sigma = (jnp.exp(self.Na_o / 67.3) - 1.0) / 7.0
        f_NaK = 1.0 / (1.0 + 0.1245 * jnp.exp(-0.1 * e) + 0.0365 * sigma * jnp.exp(-e))
        pump = f_NaK / (1.0 + (10.0 / y["Na_i"]) ** 1.5) * self.K_o / (self.K_o + 1.5)
        g_Kur = self.g_Kur * (0.005 + 0.05 / (1.0 + jnp.exp((v - 15.0) / -13.0)))
        return {
            "Na": self.g_Na * y["m"] ** 3 * y["h"] * y["j"] * (v - E_Na),
            "K1": self.g_K1 * (v - E_K) / (1.0 + jnp.exp(0.07 * (v + 80.0))),
            "to": self.g_to * y["oa"] ** 3 * y["oi"] * (v - E_K),
            "Kur": g_Kur * y["ua"] ** 3 * y["ui"] * (v - E_K),
            "Kr": self.g_Kr * y["xr"] * (v - E_K) / (1.0 + jnp.exp((v + 15.0) / 22.4)),
            "Ks": self.g_Ks * y["xs"] ** 2 * (v - E_K),
            "CaL": self.g_CaL * y["d"] * y["f"] * y["f_Ca"] * (v - 65.0),
            "NaK": self.I_NaK * pump,
            "NaCa": self.I_NaCa * exchange,
            "pCa": self.I_pCa * y["Ca_i"] / (0.0005 + y["Ca_i"]),
            "bNa": self.g_bNa * (v - E_Na),
            "bCa": self.g_bCa * (v - E_Ca),
        }

    def gates(self, v, y):
        low = v < -40.0
        cold = jnp.minimum(v, -40.0)  # an exponential of the other side must not overflow
        a_m = 3.2 * over_expm1(-0.1 * (v + 47.13))
        b_m = 0.08 * jnp.exp(-v / 11.0)
        a_h = jnp.where(low, 0.135 * jnp.exp((cold + 80.0) / -6.8), 0.0)
        b_h = jnp.where(
            low, 3.56 * jnp.exp(0.079 * cold) + 3.1e5 * jnp.exp(0.35 * cold),
            1.0 / (0.13 * (1.0 + jnp.exp((v + 10.66) / -11.1))),
        )  # fmt: skip
        a_j = (-127140.0 * jnp.exp(0.2444 * cold) - 3.474e-5 * jnp.exp(-0.04391 * cold)) * (cold + 37.78)
        a_j = jnp.where(low, a_j / (1.0 + jnp.exp(0.311 * (cold + 79.23))), 0.0)
        b_j = jnp.where(
            low, 0.1212 * jnp.exp(-0.01052 * cold) / (1.0 + jnp.exp(-0.1378 * (cold + 40.14))),
            0.3 * jnp.exp(-2.535e-7 * v) / (1.0 + jnp.exp(-0.1 * (v + 32.0))),
        )  # fmt: skip
        a_o = 0.65 / (jnp.exp((v + 10.0) / -8.5) + jnp.exp((v - 30.0) / -59.0))  # of oa and ua
        b_o = 0.65 / (2.5 + jnp.exp((v + 82.0) / 17.0))
        a_oi = 1.0 / (18.53 + jnp.exp((v + 113.7) / 10.95))
        b_oi = 1.0 / (35.56 + jnp.exp((v + 1.26) / -7.44))
        a_ui = 1.0 / (21.0 + jnp.exp((v - 185.0) / -28.0))
        b_ui = jnp.exp((v - 158.0) / 16.0)
        a_xr = 0.0015 * over_expm1((v + 14.1) / -5.0)
        b_xr = 7.3898e-5 * 5.1237 * over_expm1((v - 3.3328) / 5.1237)
        a_xs = 4e-5 * 17.0 * over_expm1((v - 19.9) / -17.0)
        b_xs = 3.5e-5 * 9.0 * over_expm1((v - 19.9) / 9.0)
        x_d, x_w = (v + 10.0) / -6.24, -(v - 7.9) / 5.0
        tau_d = expm1_over(x_d) / (0.035 * 6.24 * (1.0 + jnp.exp(x_d)))
        tau_w = 1.2 * expm1_over(x_w) / (1.0 + 0.3 * jnp.exp(x_w))
        released = self._flux(v, y)
        open_u = jax.nn.sigmoid((released - 341.75) / 1.367)
        shut_v = jax.nn.sigmoid((released - 68.35) / 1.367)
        return {
            "m": _opening(a_m, b_m), "h": _opening(a_h, b_h), "j": _opening(a_j, b_j),
            "oa": Gate(1.0 / (1.0 + jnp.exp((v + 20.47) / -17.54)), 1.0 / (a_o + b_o) / K_Q10),
            "oi": Gate(1.0 / (1.0 + jnp.exp((v + 43.1) / 5.3)), 1.0 / (a_oi + b_oi) / K_Q10),
            "ua": Gate(1.0 / (1.0 + jnp.exp((v + 30.3) / -9.6)), 1.0 / (a_o + b_o) / K_Q10),
            "ui": Gate(1.0 / (1.0 + jnp.exp((v - 99.45) / 27.48)), 1.0 / (a_ui + b_ui) / K_Q10),
            "xr": Gate(1.0 / (1.0 + jnp.exp((v + 14.1) / -6.5)), 1.0 / (a_xr + b_xr)),
            "xs": Gate(1.0 / jnp.sqrt(1.0 + jnp.exp((v - 19.9) / -12.7)), 0.5 / (a_xs + b_xs)),
            "d": Gate(1.0 / (1.0 + jnp.exp((v + 10.0) / -8.0)), tau_d),
            "f": Gate(
                1.0 / (1.0 + jnp.exp((v + 28.0) / 6.9)),
                9.0 / (0.0197 * jnp.exp(-((0.0337 * (v + 10.0)) ** 2)) + 0.02),
            ),
            "f_Ca": Gate(1.0 / (1.0 + y["Ca_i"] / 0.00035), 2.0 * jnp.ones_like(v)),
            "u": Gate(open_u, 8.0 * jnp.ones_like(v)),
            "v": Gate(1.0 - shut_v, 1.91 + 2.09 * open_u),
            "w": Gate(1.0 - 1.0 / (1.0 + jnp.exp(-(v - 40.0) / 17.0)), tau_w),
        }  # fmt: skip

    def rates(self, v, y):
        i = self.currents(v, y)
        rel = self._release(y)
        leak = self.I_up * y["Ca_up"] / 15.0
        up = self.I_up / (1.0 + 0.00092 / y["Ca_i"])
        transfer = (y["Ca_up"] - y["Ca_rel"]) / 180.0
        entering = 0.5 * CHARGE * (2.0 * i["NaCa"] - i["pCa"] - i["CaL"] - i["bCa"])
        bound = 0.07 * 0.0005 / (y["Ca_i"] + 0.0005) ** 2 + 0.05 * 0.00238 / (y["Ca_i"] + 0.00238) ** 2
        return {
            "Na_i": -CHARGE * (3.0 * i["NaK"] + 3.0 * i["NaCa"] + i["bNa"] + i["Na"]),
            "K_i": CHARGE * (2.0 * i["NaK"] - i["K1"] - i["to"] - i["Kur"] - i["Kr"] - i["Ks"]),
            "Ca_i": (entering + (V_UP * (leak - up) + V_REL * rel) / V_I) / (1.0 + bound),
            "Ca_up": up - leak - transfer * V_REL / V_UP,
            "Ca_rel": (transfer - rel) / (1.0 + 10.0 * 0.8 / (y["Ca_rel"] + 0.8) ** 2),
        }

    def _release(self, y):
        """I_rel, mM/ms."""
        return self.k_rel * y["u"] ** 2 * y["v"] * y["w"] * (y["Ca_rel"] - y["Ca_i"])

    def _flux(self, v, y):
        """F_n, in units of 1e-15."""
        i = self.currents(v, y)
        # 1e-12 V_rel I_rel - 5e-13/F (I_CaL/2 - I_NaCa/5), currents in pA
        return 1e3 * (V_REL * self._release(y) - CM / (2.0 * F) * (0.5 * i["CaL"] - 0.2 * i["NaCa"]))


def _opening(alpha, beta) -> Gate:
    """A gate that opens at the rate alpha and shuts at beta, 1/ms."""
    return Gate(alpha / (alpha + beta), 1.0 / (alpha + beta))
