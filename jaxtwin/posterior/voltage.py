"""How probable measured voltages are, given the scar."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Voltage(eqx.Module):
    """Bipolar peak-to-peak voltages as evidence for scar beside the times of activation.

    log V = (1 - S) log h + S log s + e, with S the share of scar, the levels h and s of healthy tissue and of
    scar (mV, estimated: `level_sd` is the prior standard deviation of their logarithms) and independent
    Student-t errors of scale `spread`. Electrodes, contact and the direction of the wave move voltages by
    factors, which is what `spread` stands for. The usual levels are 0.5 mV and below in scar and 1.5 mV and
    more in healthy ventricles (Marchlinski et al. 2000, doi 10.1161/01.CIR.101.11.1288), a third of that in
    atria: give the levels of the chamber.
    """

    healthy_mv: float = eqx.field(static=True, default=2.0)
    scar_mv: float = eqx.field(static=True, default=0.3)
    level_sd: float = eqx.field(static=True, default=0.5)
    spread: float = eqx.field(static=True, default=0.6)
    degrees: float = eqx.field(static=True, default=4.0)

    def expected(
        self, share: Float[Array, " points"], levels: Float[Array, " two"]
    ) -> Float[Array, " points"]:
        """The logarithm of the voltage, mV, where scar has this share; `levels`: a priori standard normal."""
        healthy = jnp.log(self.healthy_mv) + self.level_sd * levels[0]
        scar = jnp.log(self.scar_mv) + self.level_sd * levels[1]
        return healthy + share * (scar - healthy)

    def __call__(
        self, expected: Float[Array, " points"], log_mv: Float[Array, " points"]
    ) -> Float[Array, ""]:
        """The negative logarithm of the likelihood; NaN in `log_mv`: not measured."""
        known = jnp.isfinite(log_mv)
        r = jnp.where(known, expected - jnp.where(known, log_mv, 0.0), 0.0) / self.spread
        return jnp.sum(0.5 * (self.degrees + 1.0) * jnp.log1p(r**2 / self.degrees))

    def information(self, log_mv: Float[Array, " points"]) -> Float[Array, " points"]:
        """What each point tells of the expected logarithm."""
        each = (self.degrees + 1.0) / (self.degrees + 3.0) / self.spread**2
        return jnp.where(jnp.isfinite(log_mv), each, 0.0)
