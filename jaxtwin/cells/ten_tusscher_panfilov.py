"""The ten Tusscher-Panfilov cell of the human ventricle."""

from collections.abc import Mapping
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from .._types import Parameter, nodal
from .detailed import AbstractDetailedModel
from .removable import over_expm1
from .rush_larsen import Gate

R, T, F = 8314.472, 310.0, 96485.3415  # mJ/(mol K), K, C/mol
RT_F = R * T / F  # mV
CM, V_C, V_SR, V_SS = 0.185, 0.016404, 0.001094, 0.00005468  # uF (per cell), 1e6 um3
CHARGE = CM / (V_C * F)  # mM per ms of 1 A/F of a monovalent ion

NAMES = (
    "V", "xr1", "xr2", "xs", "m", "h", "j", "d", "f", "f2", "f_cass", "s", "r",
    "Ca_i", "Ca_SR", "Ca_ss", "R_prime", "Na_i", "K_i",
)  # fmt: skip
LAYERS: dict[str, Mapping[str, float]] = {
    layer: dict(zip(NAMES, values, strict=True)) for layer, values in {
        "epi": (
            -85.23, 0.00621, 0.4712, 0.0095, 0.00172, 0.7444, 0.7045, 3.373e-5, 0.7888, 0.9755, 0.9953,
            0.999998, 2.42e-8, 0.000126, 3.64, 0.00036, 0.9073, 8.604, 136.89,
        ),
        "endo": (
            -86.709, 0.00448, 0.476, 0.0087, 0.00155, 0.7573, 0.7225, 3.164e-5, 0.8009, 0.9778, 0.9953,
            0.3212, 2.235e-8, 0.00013, 3.715, 0.00036, 0.9068, 10.355, 138.4,
        ),
        "mid": (
            -85.423, 0.0165, 0.473, 0.0174, 0.00165, 0.749, 0.6788, 3.288e-5, 0.7026, 0.9526, 0.9942,
            0.999998, 2.347e-8, 0.000153, 4.272, 0.00042, 0.8978, 10.132, 138.52,
        ),
    }.items()
}  # fmt: skip


class TenTusscherPanfilov(AbstractDetailedModel):
    """Human ventricular cell of 19 states; epicardial by default, `endo()` and `mid()` beside it.

    Conductances in nS/pF, `g_CaL` in L/(F ms), times in ms, concentrations in mM. `endocardial`: 1 where the
    transient outward current inactivates as in endocardium, 0 elsewhere; a field for a wall.
    Ten Tusscher, Panfilov 2006, doi 10.1152/ajpheart.00109.2006.
    """

    g_Na: Parameter = nodal(default=14.838)
    g_CaL: Parameter = nodal(default=3.98e-5)
    g_to: Parameter = nodal(default=0.294)
    g_Kr: Parameter = nodal(default=0.153)
    g_Ks: Parameter = nodal(default=0.392)
    g_K1: Parameter = nodal(default=5.405)
    g_pK: Parameter = nodal(default=0.0146)
    g_pCa: Parameter = nodal(default=0.1238)
    g_bNa: Parameter = nodal(default=0.00029)
    g_bCa: Parameter = nodal(default=0.000592)
    P_NaK: Parameter = nodal(default=2.724)
    K_NaCa: Parameter = nodal(default=1000.0)
    V_rel: Parameter = nodal(default=0.102)
    V_up: Parameter = nodal(default=0.006375)
    V_leak: Parameter = nodal(default=0.00036)
    V_xfer: Parameter = nodal(default=0.0038)
    K_o: Parameter = nodal(default=5.4)
    Na_o: Parameter = nodal(default=140.0)
    Ca_o: Parameter = nodal(default=2.0)
    endocardial: Parameter = nodal(default=0.0)
    layer: str = eqx.field(static=True, default="epi")

    steepest: ClassVar[float] = 60.0
    stimulated: ClassVar[tuple[str, float]] = ("K_i", CHARGE)

    @classmethod
    def endo(cls, **parameters) -> "TenTusscherPanfilov":
        """Endocardium."""
        return cls(**{"g_to": 0.073, "endocardial": 1.0, "layer": "endo"} | parameters)

    @classmethod
    def mid(cls, **parameters) -> "TenTusscherPanfilov":
        """Midmyocardium."""
        return cls(**{"g_Ks": 0.098, "layer": "mid"} | parameters)

    def initial(self):
        return LAYERS[self.layer]

    def currents(self, v, y):
        E_Na = RT_F * jnp.log(self.Na_o / y["Na_i"])
        E_K = RT_F * jnp.log(self.K_o / y["K_i"])
        E_Ks = RT_F * jnp.log((self.K_o + 0.03 * self.Na_o) / (y["K_i"] + 0.03 * y["Na_i"]))
        E_Ca = 0.5 * RT_F * jnp.log(self.Ca_o / y["Ca_i"])
        root = jnp.sqrt(self.K_o / 5.4)
        a_K1 = 0.1 / (1.0 + jnp.exp(0.06 * (v - E_K - 200.0)))
        b_K1 = 3.0 * jnp.exp(0.0002 * (v - E_K + 100.0)) + jnp.exp(0.1 * (v - E_K - 10.0))
        b_K1 = b_K1 / (1.0 + jnp.exp(-0.5 * (v - E_K)))
        # 4 (V - 15) F^2/RT (Ca_ss e^x/4 - Ca_o)/(e^x - 1), with x = 2 (V - 15) F/RT
        x = 2.0 * (v - 15.0) / RT_F
        flux = 2.0 * F * over_expm1(x) * (0.25 * y["Ca_ss"] * jnp.exp(x) - self.Ca_o)
        e = v / RT_F
        out, into = jnp.exp(0.35 * e), jnp.exp(-0.65 * e)
        exchange = out * y["Na_i"] ** 3 * self.Ca_o - into * self.Na_o**3 * y["Ca_i"] * 2.5
        exchange = exchange / ((87.5**3 + self.Na_o**3) * (1.38 + self.Ca_o) * (1.0 + 0.1 * into))
        pump = self.K_o / (self.K_o + 1.0) * y["Na_i"] / (y["Na_i"] + 40.0)
        return {
            "Na": self.g_Na * y["m"] ** 3 * y["h"] * y["j"] * (v - E_Na),
            "CaL": self.g_CaL * y["d"] * y["f"] * y["f2"] * y["f_cass"] * flux,
            "to": self.g_to * y["r"] * y["s"] * (v - E_K),
            "Kr": self.g_Kr * root * y["xr1"] * y["xr2"] * (v - E_K),
            "Ks": self.g_Ks * y["xs"] ** 2 * (v - E_Ks),
            "K1": self.g_K1 * root * a_K1 / (a_K1 + b_K1) * (v - E_K),
            "NaCa": self.K_NaCa * exchange,
            "NaK": self.P_NaK * pump / (1.0 + 0.1245 * jnp.exp(-0.1 * e) + 0.0353 * jnp.exp(-e)),
            "pCa": self.g_pCa * y["Ca_i"] / (y["Ca_i"] + 0.0005),
            "pK": self.g_pK * (v - E_K) / (1.0 + jnp.exp((25.0 - v) / 5.98)),
            "bNa": self.g_bNa * (v - E_Na),
            "bCa": self.g_bCa * (v - E_Ca),
        }

    def gates(self, v, y):
        low = v < -40.0
        cold = jnp.minimum(v, -40.0)  # an exponential of the other side must not overflow
        a_h = jnp.where(low, 0.057 * jnp.exp(-(cold + 80.0) / 6.8), 0.0)
        b_h = jnp.where(
            low, 2.7 * jnp.exp(0.079 * cold) + 3.1e5 * jnp.exp(0.3485 * cold),
            0.77 / (0.13 * (1.0 + jnp.exp(-(v + 10.66) / 11.1))),
        )  # fmt: skip
        a_j = (-25428.0 * jnp.exp(0.2444 * cold) - 6.948e-6 * jnp.exp(-0.04391 * cold)) * (cold + 37.78)
        a_j = jnp.where(low, a_j / (1.0 + jnp.exp(0.311 * (cold + 79.23))), 0.0)
        b_j = jnp.where(
            low, 0.02424 * jnp.exp(-0.01052 * cold) / (1.0 + jnp.exp(-0.1378 * (cold + 40.14))),
            0.6 * jnp.exp(0.057 * v) / (1.0 + jnp.exp(-0.1 * (v + 32.0))),
        )  # fmt: skip
        inactive = 1.0 / (1.0 + jnp.exp((v + 71.55) / 7.43)) ** 2
        bound = 1.0 / (1.0 + (y["Ca_ss"] / 0.05) ** 2)
        a_m = 1.0 / (1.0 + jnp.exp((-60.0 - v) / 5.0))
        b_m = 0.1 / (1.0 + jnp.exp((v + 35.0) / 5.0)) + 0.1 / (1.0 + jnp.exp((v - 50.0) / 200.0))
        a_d = 1.4 / (1.0 + jnp.exp((-35.0 - v) / 13.0)) + 0.25
        b_d = 1.4 / (1.0 + jnp.exp((v + 5.0) / 5.0))
        s_outer = Gate(
            1.0 / (1.0 + jnp.exp((v + 20.0) / 5.0)),
            85.0 * jnp.exp(-((v + 45.0) ** 2) / 320.0) + 5.0 / (1.0 + jnp.exp((v - 20.0) / 5.0)) + 3.0,
        )
        s_inner = Gate(
            1.0 / (1.0 + jnp.exp((v + 28.0) / 5.0)), 1000.0 * jnp.exp(-((v + 67.0) ** 2) / 1000.0) + 8.0
        )
        inner = jnp.asarray(self.endocardial)
        opening = 0.005  # per ms
        closing = 0.045 * self._filling(y) * y["Ca_ss"]
        return {
            "m": Gate(1.0 / (1.0 + jnp.exp((-56.86 - v) / 9.03)) ** 2, a_m * b_m),
            "h": Gate(inactive, 1.0 / (a_h + b_h)),
            "j": Gate(inactive, 1.0 / (a_j + b_j)),
            "d": Gate(
                1.0 / (1.0 + jnp.exp((-8.0 - v) / 7.5)),
                a_d * b_d + 1.0 / (1.0 + jnp.exp((50.0 - v) / 20.0)),
            ),
            "f": Gate(
                1.0 / (1.0 + jnp.exp((v + 20.0) / 7.0)),
                1102.5 * jnp.exp(-((v + 27.0) ** 2) / 225.0) + 200.0 / (1.0 + jnp.exp((13.0 - v) / 10.0))
                + 180.0 / (1.0 + jnp.exp((v + 30.0) / 10.0)) + 20.0,
            ),
            "f2": Gate(
                0.67 / (1.0 + jnp.exp((v + 35.0) / 7.0)) + 0.33,
                562.0 * jnp.exp(-((v + 27.0) ** 2) / 240.0) + 31.0 / (1.0 + jnp.exp((25.0 - v) / 10.0))
                + 80.0 / (1.0 + jnp.exp((v + 30.0) / 10.0)),
            ),
            "f_cass": Gate(0.6 * bound + 0.4, 80.0 * bound + 2.0),
            "r": Gate(
                1.0 / (1.0 + jnp.exp((20.0 - v) / 6.0)), 9.5 * jnp.exp(-((v + 40.0) ** 2) / 1800.0) + 0.8
            ),
            "s": Gate(
                inner * s_inner.steady + (1.0 - inner) * s_outer.steady,
                inner * s_inner.tau + (1.0 - inner) * s_outer.tau,
            ),
            "xr1": Gate(
                1.0 / (1.0 + jnp.exp((-26.0 - v) / 7.0)),
                450.0 / (1.0 + jnp.exp((-45.0 - v) / 10.0)) * 6.0 / (1.0 + jnp.exp((v + 30.0) / 11.5)),
            ),
            "xr2": Gate(
                1.0 / (1.0 + jnp.exp((v + 88.0) / 24.0)),
                3.0 / (1.0 + jnp.exp((-60.0 - v) / 20.0)) * 1.12 / (1.0 + jnp.exp((v - 60.0) / 20.0)),
            ),
            "xs": Gate(
                1.0 / (1.0 + jnp.exp((-5.0 - v) / 14.0)),
                1400.0 / jnp.sqrt(1.0 + jnp.exp((5.0 - v) / 6.0)) / (1.0 + jnp.exp((v - 35.0) / 15.0)) + 80.0,
            ),
            "R_prime": Gate(opening / (opening + closing), 1.0 / (opening + closing)),
        }  # fmt: skip

    def rates(self, v, y):
        i = self.currents(v, y)
        k1 = 0.15 / self._filling(y)
        open_ = k1 * y["Ca_ss"] ** 2 * y["R_prime"] / (0.06 + k1 * y["Ca_ss"] ** 2)
        rel = self.V_rel * open_ * (y["Ca_SR"] - y["Ca_ss"])
        up = self.V_up / (1.0 + (0.00025 / y["Ca_i"]) ** 2)
        leak = self.V_leak * (y["Ca_SR"] - y["Ca_i"])
        xfer = self.V_xfer * (y["Ca_ss"] - y["Ca_i"])
        through = 0.5 * CHARGE * (i["bCa"] + i["pCa"] - 2.0 * i["NaCa"])
        into_space = -0.5 * CHARGE * V_C / V_SS * i["CaL"]
        return {
            "Ca_i": _free(y["Ca_i"], 0.2, 0.001) * ((leak - up) * V_SR / V_C + xfer - through),
            "Ca_SR": _free(y["Ca_SR"], 10.0, 0.3) * (up - rel - leak),
            "Ca_ss": _free(y["Ca_ss"], 0.4, 0.00025) * (into_space + rel * V_SR / V_SS - xfer * V_C / V_SS),
            "Na_i": -CHARGE * (i["Na"] + i["bNa"] + 3.0 * i["NaK"] + 3.0 * i["NaCa"]),
            "K_i": -CHARGE * (i["K1"] + i["to"] + i["Kr"] + i["Ks"] + i["pK"] - 2.0 * i["NaK"]),
        }

    @staticmethod
    def _filling(y):
        """k_casr: how the release depends on the calcium of the sarcoplasmic reticulum."""
        return 2.5 - 1.5 / (1.0 + (1.5 / y["Ca_SR"]) ** 2)


def _free(calcium, buffer: float, half: float):
    """The share of a change of total calcium that stays free."""
    return 1.0 / (1.0 + buffer * half / (calcium + half) ** 2)
