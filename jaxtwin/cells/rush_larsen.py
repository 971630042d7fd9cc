"""Exponential steps of the states beside the voltage."""

from abc import abstractmethod
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Parameter
from .model import AbstractIonicModel
from .removable import expm1_over

States = dict[str, Float[Array, "..."]]


class Gate(NamedTuple):
    """How a gate moves at a fixed voltage: towards its `steady` value, with the time constant `tau` in ms."""

    steady: Float[Array, "..."]
    tau: Float[Array, "..."]


class AbstractRushLarsenModel(AbstractIonicModel):
    """A cell whose states beside u are gates, of known steady value and time constant, and others, of a known
    rate of change, such as concentrations.

    In a step of dt, in which u runs linearly from one value to another, coefficients are those at the middle
    of the step, where all states are known from half a step with those at its beginning. With them frozen,
    gates relax exponentially (Rush, Larsen 1978, doi 10.1109/TBME.1978.326270), and any other state y follows
    its own tangent, y' = f + a (y - y_m) with a = df/dy, by the exact solution. This is of second order, and
    fast gates or buffers do not restrict the step (Sundnes et al. 2009, doi 10.1109/TBME.2009.2014739).
    """

    @abstractmethod
    def gates(self, u: Float[Array, "..."], y: States) -> dict[str, Gate]:
        """Steady value and time constant of each gate."""

    @abstractmethod
    def rates(self, u: Float[Array, "..."], y: States) -> States:
        """The time derivatives of all other states, per ms."""

    def relax(self, gates, before, after, dt):
        half = self._moved(gates, gates, 0.75 * before + 0.25 * after, 0.5 * dt)
        return self._moved(gates, half, 0.5 * (before + after), dt)

    def _moved(self, y: States, at: States, u, dt: Parameter) -> States:
        """y after dt with the coefficients at the states `at` and the voltage u."""
        gates = self.gates(u, at)
        moved = {k: g.steady + (y[k] - g.steady) * jnp.exp(-dt / g.tau) for k, g in gates.items()}
        for name in self.rates(u, at):

            def rate(own, name=name):
                return self.rates(u, at | {name: own})[name]

            slope, tangent = jax.jvp(rate, (at[name],), (jnp.ones_like(at[name]),))
            toward = slope + tangent * (y[name] - at[name])
            moved[name] = y[name] + dt * toward * expm1_over(dt * tangent)
        return moved
