"""The solve."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import InputError, SolveError
from .._types import nodal_leaves
from ..fem import diffusion_operator, dispersion_operator
from ..ionic import AbstractIonicModel
from .adjoint import AbstractAdjoint, Checkpointed, ForwardMode
from .march import March
from .recorder import AbstractRecorder
from .stepper import AbstractStepper, Reaction, RungeKuttaChebyshev, State, initial_state
from .tissue import Tissue


class Times(eqx.Module):
    """The grid in time: from `start` to `stop` in steps of `dt`, ms; static, because it is the program."""

    stop: float = eqx.field(static=True)
    dt: float = eqx.field(static=True, default=0.2)
    start: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        if not (
            np.isfinite([self.start, self.stop, self.dt]).all() and self.dt > 0 and self.stop > self.start
        ):
            raise InputError(
                f"times from {self.start} to {self.stop} ms in steps of {self.dt} ms",
                "a positive step and an end after the start", "Correct the times",
            )  # fmt: skip

    @property
    def steps(self) -> int:
        """Number of steps; the last one may end after `stop` by less than a step."""
        return max(1, int(np.ceil((self.stop - self.start) / self.dt - 1e-6)))


class Solution(eqx.Module):
    """The state at the end, the records, and the largest |u| there (NaN or huge: the solve diverged)."""

    state: State
    records: tuple[Any, ...]
    peak: Float[Array, ""]


@eqx.filter_jit
def spectral_bound(tissue: Tissue) -> Float[Array, ""]:
    """Bound of the spectrum of diffusion and reaction together, 1/ms: what limits an explicit step."""
    return diffusion_operator(tissue.space, tissue.diffusivity).spectral_bound() + tissue.ionic.stiffness()


def with_stages(stepper: AbstractStepper, tissue: Tissue, dt: float) -> AbstractStepper:
    """The stepper with the number of stages that the tissue needs, where it has none."""
    if stepper.stages is not None:
        return stepper
    try:
        bound = float(spectral_bound(tissue))
    except jax.errors.ConcretizationTypeError:
        raise InputError(
            "a stepper without a number of stages inside a traced function",
            "a number chosen for the fastest tissue that can occur",
            "Call `stepper.with_stages(spectral_bound(fastest_tissue), dt)` before `jax.jit` or `jax.grad`",
        ) from None
    if not np.isfinite(bound):
        raise InputError(
            "a diffusivity that is not finite", "finite values in mm2/ms", "Check the conductivity"
        )
    return stepper.with_stages(bound, dt)


def march_of(tissue: Tissue, stepper: AbstractStepper, times: Times, recorders) -> March:
    """Operators and cells of a tissue, on the grid in time."""
    space = tissue.space
    for what in (tissue.ionic, tissue.stimulus, *recorders):
        check_nodal(what, space.nodes)
    share = space.consistent_mass
    return March(
        diffusion_operator(space, tissue.diffusivity),
        dispersion_operator(space, share) if share > 0 else None, space.mass,
        Reaction(tissue.ionic, tissue.stimulus), recorders, stepper,
        jnp.asarray(times.start, tissue.space.mass.dtype), times.dt,
    )  # fmt: skip


def check_nodal(what: eqx.Module, nodes: int) -> None:
    """Raises `InputError` where a field over the nodes is one over another number of them."""
    for place, leaf, at_nodes in nodal_leaves(what):
        if at_nodes and leaf.shape[-1] != nodes:
            raise InputError(
                f"{type(what).__name__}{place} of shape {leaf.shape} on a mesh of {nodes} nodes",
                "a number, or one value for each node", "Make the field for this mesh",
            )  # fmt: skip


def begin(march: March, state: State | None):
    """The state and memory before the first step."""
    if state is None:
        state = initial_state(march.reaction.ionic, march.mass.shape[0], march.mass.dtype)
    # a state may come from a solve on another blend
    if march.dispersion is None:
        state = replace(state, ahead=None)
    elif state.ahead is None:
        state = replace(state, ahead=state.diffusion)
    memory = tuple(r.init(state.u) for r in march.recorders)
    for recorder, remembered in zip(march.recorders, memory, strict=True):
        for _, leaf, at_nodes in nodal_leaves(remembered):
            if not at_nodes or leaf.shape[-1:] != state.u.shape:
                raise InputError(
                    f"{type(recorder).__name__}, which remembers an array of shape {jnp.shape(leaf)}",
                    f"memory with the {state.u.size} nodes as the last axis",
                    "Return a number that belongs to no node from `emit`, and add it up in `read`",
                )  # fmt: skip
    return state, memory


@eqx.filter_jit
def solution_of(recorders, state, memory, emitted, dt: float) -> Solution:
    """What the recorders read, and the state."""
    records = tuple(r.read(m, e, dt) for r, m, e in zip(recorders, memory, emitted, strict=True))
    return Solution(state, records, jnp.max(jnp.abs(jax.lax.stop_gradient(state.u))))


@eqx.filter_jit
def _simulate(tissue, stepper, times: Times, recorders, state, adjoint: AbstractAdjoint) -> Solution:
    march = march_of(tissue, stepper, times, recorders)
    state, memory = begin(march, state)
    state, memory, emitted = adjoint.run(march, state, memory, jnp.asarray(0), times.steps)
    return solution_of(recorders, state, memory, emitted, times.dt)


def simulate(
    tissue: Tissue,
    times: Times,
    *,
    stepper: AbstractStepper | None = None,
    recorders: tuple[AbstractRecorder, ...] = (),
    state: State | None = None,
    adjoint: AbstractAdjoint | None = None,
    throw: bool = True,
) -> Solution:
    """Solve the monodomain equation u' = div(D grad u) + reaction(u, h) + J from rest or from `state`.

    `recorders` say what is kept. `adjoint` says how the solve is differentiated: `Checkpointed()`
    (default; reverse mode) or `ForwardMode()`. Inside a traced function give `stepper` its number of
    stages first. Raises `SolveError` if the solve diverged (not inside traced functions, and not with
    `throw=False`: look at `Solution.peak`).
    """
    stepper = with_stages(stepper or RungeKuttaChebyshev(), tissue, times.dt)
    solution = _simulate(tissue, stepper, times, recorders, state, adjoint or Checkpointed())
    if throw and not isinstance(solution.state.u, jax.core.Tracer):
        _check(solution.state, tissue.ionic, times.stop)
    return solution


@eqx.filter_jit
def _advance(march: March, state, memory, first, steps: int):
    return ForwardMode().run(march, state, memory, first, steps)


def simulate_in_parts(
    tissue: Tissue,
    times: Times,
    *,
    every: int,
    stepper: AbstractStepper | None = None,
    recorders: tuple[AbstractRecorder, ...] = (),
) -> Iterator[tuple[float, Solution]]:
    """The same solve, handed over every `every` steps: (time in ms, solution so far).

    For progress bars and for frames of u. What recorders emit is kept for the last part only. A solve
    that diverges raises `SolveError` at the part in which it does.
    """
    march = march_of(
        tissue, with_stages(stepper or RungeKuttaChebyshev(), tissue, times.dt), times, recorders
    )
    state, memory = begin(march, None)
    for first in range(0, times.steps, every):
        steps = min(every, times.steps - first)
        state, memory, emitted = _advance(march, state, memory, jnp.asarray(first), steps)
        time = times.start + (first + steps) * times.dt
        _check(state, tissue.ionic, time)
        yield time, solution_of(recorders, state, memory, emitted, times.dt)


def _check(state: State, ionic: AbstractIonicModel, time: float) -> None:
    u, (low, high) = np.asarray(state.u), ionic.bounds
    beyond = np.where(np.isfinite(u), np.maximum(u - high, low - u), np.inf)
    if beyond.max() > 0.0:
        bad = int(beyond.argmax())
        raise SolveError(
            f"The solve diverged before {time:g} ms: u = {u[bad]:.3g} at node {bad} where values between "
            f"{low:g} and {high:g} are possible ({(beyond > 0.0).sum()} nodes in all). The step is too long "
            "for this mesh and conductivity, or a parameter is out of range: shorten the step, or leave the "
            "number of stages to be chosen."
        )
