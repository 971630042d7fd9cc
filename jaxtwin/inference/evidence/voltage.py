"""Bipolar voltages as evidence for scar."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...mapping import MappingData
from ...twin import PlacedMap, Theta, Twin
from .abstract import AbstractEvidence


class Voltage(AbstractEvidence):
    """Bipolar peak-to-peak voltages as evidence for scar.

    log V = (1 - S) log h + S log s + e, with S the scar fraction, h and s the voltage levels of healthy
    tissue and of scar (mV, estimated: `level_sd` is the prior standard deviation of their logarithms), and
    independent Student-t errors e of scale `spread`. Electrodes, contact and wave direction change voltages
    several-fold; `spread` accounts for this. The usual levels are 0.5 mV and below in scar and 1.5 mV and
    above in healthy ventricles (Marchlinski et al. 2000, doi 10.1161/01.CIR.101.11.1288), a third of that in
    atria: give the levels of the chamber.

    **Example:** `jt.fit(twin, data, evidence=(jt.Voltage(),))`
    """

    healthy_mv: float = eqx.field(static=True, default=2.0)
    scar_mv: float = eqx.field(static=True, default=0.3)
    level_sd: float = eqx.field(static=True, default=0.5)
    spread: float = eqx.field(static=True, default=0.6)
    degrees: float = eqx.field(static=True, default=4.0)
    name: ClassVar[str] = "voltage"

    def expected(
        self, scar: Float[Array, " points"], levels: Float[Array, " two"]
    ) -> Float[Array, " points"]:
        """Logarithm of the voltage (mV) for this scar fraction; `levels`: a priori standard normal."""
        healthy = jnp.log(self.healthy_mv) + self.level_sd * levels[0]
        of_scar = jnp.log(self.scar_mv) + self.level_sd * levels[1]
        return healthy + scar * (of_scar - healthy)

    def nuisance(self, dtype) -> dict[str, Float[Array, " two"]]:
        return {"levels": jnp.zeros(2, dtype)}

    def recorder(self, twin: Twin, placed: PlacedMap) -> None:
        return None

    def measured(self, twin: Twin, data: MappingData, rows) -> Float[Array, " points"]:
        """Logarithm of the voltage (mV), NaN if unknown."""
        known = (rows >= 0) & (data.bipolar_mv[rows] > 0.0)
        log_mv = np.where(known, np.log(np.where(known, data.bipolar_mv[rows], 1.0)), np.nan)
        return jnp.asarray(log_mv, twin.space.mass.dtype)

    def predict(self, theta: Theta, twin: Twin, placed: PlacedMap, arrival, record: Any):
        scar = placed.place(twin.tissue_map.scar(theta["tissue"]))
        return self.expected(scar, theta["evidence"][self.name]["levels"])

    def loss(self, theta: Theta, placed: PlacedMap, predicted) -> Float[Array, ""]:
        log_mv = placed.measured[self.name]
        known = jnp.isfinite(log_mv)
        r = jnp.where(known, predicted - jnp.where(known, log_mv, 0.0), 0.0) / self.spread
        return jnp.sum(0.5 * (self.degrees + 1.0) * jnp.log1p(r**2 / self.degrees))

    def information(self, theta: Theta, placed: PlacedMap, predicted):
        each = (self.degrees + 1.0) / (self.degrees + 3.0) / self.spread**2
        return jnp.where(jnp.isfinite(placed.measured[self.name]), each, 0.0), {}
