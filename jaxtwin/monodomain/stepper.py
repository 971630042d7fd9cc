"""Time steppers: stabilised explicit Runge-Kutta."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._results import InputError
from .._types import nodal
from ..cells import AbstractIonicModel
from .stimulus import AbstractStimulus

MAX_STAGES = 100  # each is compiled on its own


class State(eqx.Module):
    """The state of the tissue, all of it at the nodes.

    - `u`: in the unit of the cell model. `gates`: its other states, a PyTree of (nodes,) arrays as the model
      has it: one array, forty, or none.
    - `diffusion`: A u, which the next step needs first.
    - `ahead`: A u extrapolated to the middle of the next step, where the space blends mass matrices, or None.
    """

    u: Float[Array, " nodes"] = nodal()
    gates: PyTree[Float[Array, " nodes"]] = nodal()
    diffusion: Float[Array, " nodes"] = nodal()
    ahead: Float[Array, " nodes"] | None = nodal(default=None)


class Reaction(eqx.Module):
    """Everything that acts node by node."""

    ionic: AbstractIonicModel
    stimulus: AbstractStimulus


class Entry(eqx.Module):
    """What a step fixes before its first stage."""

    start: Float[Array, " nodes"] = nodal()
    rate: Float[Array, " nodes"] = nodal()
    gates: PyTree[Float[Array, " nodes"]] = nodal()


class AbstractStepper(eqx.Module):
    """A step as a chain of stages with one diffusion product in each.

    The drive J is constant in the step. `enter` fixes Y_0, the rate F_0 there and the gates h of the step,
    and returns Y_1; then, with a row r of coefficients for each,

        Y_j = r_0 Y_0 + r_1 Y_j-1 + r_2 Y_j-2 + r_3 A Y_j-1 + r_4 (reaction(Y_j-1, h) + J) + r_5 F_0,

    and the last row is that of the product alone, A u at the end of the step. In this form the adjoint
    transposes the products by hand, and sums what does not feed the next stage once a step.
    """

    order: ClassVar[int]
    stages: eqx.AbstractVar[int | None]

    @abstractmethod
    def with_stages(self, spectral_bound: float, dt: float) -> "AbstractStepper":
        """This stepper with the number of stages that a spectrum up to `spectral_bound` (1/ms) needs."""

    @abstractmethod
    def reach(self) -> float:
        """The largest dt times spectral bound at which the step is stable."""

    @abstractmethod
    def coefficients(self, dt: float) -> Float[np.ndarray, "stages columns"]:
        """The rows r."""

    @abstractmethod
    def enter(self, ionic: AbstractIonicModel, state: State, drive, dt: float) -> tuple[Entry, Array]:
        """The entry of the step and Y_1; node by node. `drive`: J, 1/ms."""


class RungeKuttaChebyshev(AbstractStepper):
    """Runge-Kutta-Chebyshev of second order with centred gates.

    u runs through s stages of the damped Chebyshev recursion (Sommeijer, Shampine, Verwer 1997,
    doi 10.1016/S0377-0427(97)00219-7; damping 2/13), stable for dt lambda <= 0.65 (s^2 - 1) or so, with
    the gates frozen at the middle of the step; those at the middle come from u continued with its
    present slope, those at the end from u at both ends. No inner product, no data-dependent loop: the
    program is fixed and its transpose exact.

    `stages` None: chosen from the spectrum of the tissue when a solve starts.
    """

    order: ClassVar[int] = 2
    stages: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.stages is not None and self.stages < 2:
            raise InputError(f"{self.stages} stages", "2 or more", "Leave `stages` out to have it chosen")

    def with_stages(self, spectral_bound: float, dt: float) -> "RungeKuttaChebyshev":
        for stages in range(2, MAX_STAGES + 1):
            if RungeKuttaChebyshev(stages).reach() >= dt * spectral_bound:
                return RungeKuttaChebyshev(stages)
        raise InputError(
            f"a step of {dt:g} ms on a mesh whose fastest mode decays at {spectral_bound:.3g} /ms",
            f"a step below {RungeKuttaChebyshev(MAX_STAGES).reach() / spectral_bound:.2g} ms",
            "Shorten the step, or repair the slivers of the mesh (`jaxtwin check` shows them)",
        )

    def _chebyshev(self):
        """T_j, T'_j and T''_j at w0 for j = 0..s."""
        s = self.stages
        assert s is not None
        w0 = 1.0 + 2.0 / 13.0 / s**2
        j = np.arange(s + 1)
        angle, root = np.arccosh(w0), np.sqrt(w0**2 - 1.0)
        first = np.cosh(j * angle)
        second = j * np.sinh(j * angle) / root
        third = (j**2 * first - w0 * second) / root**2
        return w0, first, second, third

    def reach(self) -> float:
        w0, _, second, third = self._chebyshev()
        # 2 % short of the end of the interval: eigenvalues of A plus reaction are not quite real
        return 0.98 * float((w0 + 1.0) * third[-1] / second[-1])

    def first_weight(self) -> float:
        """mu~_1: the length of the first stage in units of dt."""
        _, _, second, third = self._chebyshev()
        w1 = second[-1] / third[-1]
        return float(third[2] / second[2] ** 2 * w1)

    def coefficients(self, dt: float) -> Float[np.ndarray, "stages columns"]:
        w0, first, second, third = self._chebyshev()
        w1 = second[-1] / third[-1]
        b = np.empty_like(w0 * first)
        b[2:] = third[2:] / second[2:] ** 2
        b[:2] = b[2]
        a = 1.0 - b * first
        j = np.arange(2, len(b))
        mu, nu, step = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], 2 * b[j] * w1 / b[j - 1]
        stages = np.stack([1.0 - mu - nu, mu, nu, dt * step, dt * step, -a[j - 1] * dt * step], 1)
        return np.concatenate([stages, [[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]]])

    def enter(self, ionic, state, drive, dt):
        slope = state.diffusion + ionic.reaction(state.u, state.gates) + drive
        middle = ionic.relax(state.gates, state.u, state.u + 0.5 * dt * slope, 0.5 * dt)
        rate = state.diffusion + ionic.reaction(state.u, middle) + drive
        return Entry(state.u, rate, middle), state.u + self.first_weight() * dt * rate


def initial_state(ionic: AbstractIonicModel, nodes: int, dtype) -> State:
    """Resting tissue."""
    u, gates = ionic.resting()
    fill = jnp.zeros((nodes,), dtype)

    def everywhere(value):
        return fill + jnp.asarray(value, dtype)

    return State(everywhere(u), jax.tree.map(everywhere, gates), fill)
