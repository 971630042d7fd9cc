"""What a cell model must offer to the solver."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Parameter


def positive_root(x: Parameter) -> Float[Array, "..."]:
    """sqrt(x), and 0 with a derivative of 0 where x is not positive."""
    x = jnp.asarray(x)
    inside = x > 0.0
    return jnp.where(inside, jnp.sqrt(jnp.where(inside, x, 1.0)), 0.0)


class AbstractIonicModel(eqx.Module):
    """A cell with a voltage u, scaled to rest at 0 and peak near 1, and gates.

    Parameters are scalars or fields over the nodes. V = V_min + (V_max - V_min) u in mV.
    """

    @abstractmethod
    def resting(self) -> tuple[float, float]:
        """u and the gate at rest."""

    @abstractmethod
    def reaction(self, u: Float[Array, " nodes"], gate: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """The ionic part of du/dt, 1/ms."""

    @abstractmethod
    def relax(
        self,
        gate: Float[Array, " nodes"],
        before: Float[Array, " nodes"],
        after: Float[Array, " nodes"],
        dt: float,
    ) -> Float[Array, " nodes"]:
        """The gate after dt ms in which u runs linearly from `before` to `after`."""

    @abstractmethod
    def stiffness(self) -> Parameter:
        """A bound of |d reaction / du| for u in [0, 1], 1/ms; the stepper adds it to the spectrum."""

    @abstractmethod
    def speed(self, diffusivity: Parameter) -> Float[Array, "..."]:
        """Speed of a plane wave into resting tissue, mm/ms, in closed form."""

    def diffusivity(self, speed: Parameter) -> Float[Array, "..."]:
        """The diffusivity, mm2/ms, at which a plane wave has this speed, mm/ms: CV grows with sqrt(D)."""
        return jnp.asarray(speed / self.speed(1.0 + 0.0 * speed)) ** 2

    def millivolts(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """Membrane voltage in mV."""
        return self.v_min + (self.v_max - self.v_min) * u

    v_min: eqx.AbstractVar[float]
    v_max: eqx.AbstractVar[float]
