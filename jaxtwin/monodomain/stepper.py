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

MAX_STAGES = 100  # each is compiled separately


class State(eqx.Module):
    """The state of the tissue at the nodes.

    - `u`: in the unit of the cell model. `gates`: the other state variables, a PyTree of (nodes,) arrays as
      defined by the model; it may have one array, forty, or none.
    - `diffusion`: A u, the first input of the next step.
    - `ahead`: A u extrapolated to the middle of the next step if the space blends mass matrices, otherwise
      None.
    """

    u: Float[Array, " nodes"] = nodal()
    gates: PyTree[Float[Array, " nodes"]] = nodal()
    diffusion: Float[Array, " nodes"] = nodal()
    ahead: Float[Array, " nodes"] | None = nodal(default=None)


class Reaction(eqx.Module):
    """Node-local terms: ionic model and stimulus."""

    ionic: AbstractIonicModel
    stimulus: AbstractStimulus


class Entry(eqx.Module):
    """Quantities that a step fixes before its first stage."""

    start: Float[Array, " nodes"] = nodal()
    rate: Float[Array, " nodes"] = nodal()
    gates: PyTree[Float[Array, " nodes"]] = nodal()


class AbstractStepper(eqx.Module):
    """A time stepper: each step is a chain of stages with one diffusion product each.

    The drive J is constant in the step. `enter` fixes Y_0, its rate F_0 and the gates h of the step, and
    returns Y_1. Then, with a row r of coefficients for each stage,

        Y_j = r_0 Y_0 + r_1 Y_j-1 + r_2 Y_j-2 + r_3 A Y_j-1 + r_4 (reaction(Y_j-1, h) + J) + r_5 F_0,

    and the last row only evaluates the product, A u at the end of the step. In this form the adjoint can use
    hand-written transposes of the products, and sum once per step everything that does not feed the next
    stage.
    """

    order: ClassVar[int]
    stages: eqx.AbstractVar[int | None]

    @abstractmethod
    def with_stages(self, spectral_bound: float, dt: float) -> "AbstractStepper":
        """This stepper with the number of stages required by a spectral radius of `spectral_bound` (1/ms)."""

    @abstractmethod
    def reach(self) -> float:
        """Largest dt times spectral bound for which the step is stable."""

    @abstractmethod
    def coefficients(self, dt: float) -> Float[np.ndarray, "stages columns"]:
        """The coefficient rows r."""

    @abstractmethod
    def enter(self, ionic: AbstractIonicModel, state: State, drive, dt: float) -> tuple[Entry, Array]:
        """Entry of the step and Y_1; node-local. `drive`: J, 1/ms."""


class RungeKuttaChebyshev(AbstractStepper):
    """Second-order Runge-Kutta-Chebyshev stepper with centred gates.

    u runs through s stages of the damped Chebyshev recursion (Sommeijer, Shampine, Verwer 1997, doi
    10.1016/S0377-0427(97)00219-7; damping 2/13), stable for dt lambda <= 0.65 (s^2 - 1) approximately. The
    gates are frozen at the middle of the step. Gates at the middle follow from u extrapolated with its
    current slope, those at the end from u at both ends. There is no inner product and no data-dependent loop:
    the program is fixed and its transpose is exact.

    `stages`: None chooses it from the spectrum of the tissue when a solve starts.
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
        # 2 % less than the stability interval: eigenvalues of A plus reaction are not exactly real
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
    """Tissue at rest."""
    u, gates = ionic.resting()
    fill = jnp.zeros((nodes,), dtype)

    def everywhere(value):
        return fill + jnp.asarray(value, dtype)

    return State(everywhere(u), jax.tree.map(everywhere, gates), fill)
