"""Solving the monodomain equation on one device."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .._results import InputError, SilentWarning, SolveError
from .._types import nodal_leaves
from ..fem import diffusion_operator, dispersion_operator
from .adjoint import AbstractAdjoint, Checkpointed, ForwardMode
from .cause import why_diverged, why_silent
from .conductivity import check_diffusivity
from .march import March
from .recorder import AbstractRecorder
from .result import MESSAGES, Result, result_of
from .stepper import AbstractStepper, Reaction, RungeKuttaChebyshev, State, initial_state
from .times import Times
from .tissue import Tissue, spectral_bound
from .window import Window, run_window


class Solution(eqx.Module):
    """Result of a solve.

    - `state`: the state at the end, see `State`. `records`: one for each recorder.
    - `result`: how the solve ended, see `Result`.
    """

    state: State
    records: tuple[Any, ...]
    result: Int[Array, ""]


def with_stages(stepper: AbstractStepper, tissue: Tissue, dt: float) -> AbstractStepper:
    """Returns the stepper with the number of stages that the tissue requires, unless it already has one.

    **Raises:** `InputError` for a diffusivity that is not positive semidefinite.
    """
    check_diffusivity(tissue.diffusivity)
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
    return stepper.with_stages(bound, dt)


def march_of(tissue: Tissue, stepper: AbstractStepper, times: Times, recorders) -> March:
    """Operators and cell model of a tissue on the time grid."""
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
    """Raises `InputError` if a nodal field has another number of nodes."""
    for place, leaf, at_nodes in nodal_leaves(what):
        if at_nodes and leaf.shape[-1] != nodes:
            raise InputError(
                f"{type(what).__name__}{place} of shape {leaf.shape} on a mesh of {nodes} nodes",
                "a number, or one value for each node", "Make the field for this mesh",
            )  # fmt: skip


def begin(march: March, state: State | None):
    """The state and the recorder memory before the first step."""
    if state is None:
        state = initial_state(march.reaction.ionic, march.mass.shape[0], march.mass.dtype)
    # the state may come from a solve with another blend of mass matrices
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
def solution_of(
    march: March, state: State, memory, emitted, escaped: Bool[Array, ""] | bool = False
) -> Solution:
    """The final state, the records, and how the solve ended."""
    each = zip(march.recorders, memory, emitted, strict=True)
    records = tuple(recorder.read(m, e, march.dt) for recorder, m, e in each)
    result = result_of(march.reaction.ionic, march.recorders, state.u, records, escaped)
    return Solution(state, records, result)


@eqx.filter_jit
def _simulate(
    tissue, stepper, times: Times, recorders, state, adjoint: AbstractAdjoint, window: Window | None
) -> Solution:
    march = march_of(tissue, stepper, times, recorders)
    state, memory = begin(march, state)
    if window is not None:
        state, memory, escaped = run_window(march, state, memory, window, adjoint)
        return solution_of(march, state, memory, (None,) * len(recorders), escaped)
    state, memory, emitted = adjoint.run(march, state, memory, jnp.asarray(0), times.steps)
    return solution_of(march, state, memory, emitted)


def simulate(
    tissue: Tissue,
    times: Times,
    *,
    stepper: AbstractStepper | None = None,
    recorders: tuple[AbstractRecorder, ...] = (),
    state: State | None = None,
    adjoint: AbstractAdjoint | None = None,
    window: Window | None = None,
    throw: bool = True,
) -> Solution:
    """Solves the monodomain equation u' = div(D grad u) + reaction(u, h) + J, from rest or from `state`.

    **Arguments:**

    - `tissue`: space, cell model, diffusivity and stimulus. `times`: the time grid, ms.
    - `stepper`: `RungeKuttaChebyshev()` if omitted. Inside a traced function give it its number of stages
      first (`with_stages`).
    - `recorders`: what the solve stores, such as `ActivationTimes()`.
    - `state`: initial state, from `Solution.state` or `read_state`; rest if omitted.
    - `adjoint`: how the solve is differentiated: `Checkpointed()` (default, reverse mode) or `ForwardMode()`.
    - `window`: a `travelling_window`, outside of which nothing is stepped, for first activation times.
    - `throw`: if False, a failed solve raises nothing; check `Solution.result`. The same holds inside traced
      functions.

    **Returns:** a `Solution`.

    **Raises:** `InputError` for a diffusivity that is not positive semidefinite, and for a window with
    recorders that emit values; `SolveError` if the solve diverged or a front left its window. Warns
    (`SilentWarning`) if activation was recorded and no node activated. Each message names the likely cause.

    **Example:**

    ```python
    mesh = jt.sheet(20.0, 20.0, 0.5)
    paced = jt.pulse(jt.in_sphere(mesh, (0.0, 0.0), 2.0), len(mesh.points))
    tissue = jt.Tissue(
        jt.Space(mesh), jt.MitchellSchaeffer(), jt.diffusion_tensor(mesh.fibres, 0.1, ratio=2.0), paced
    )
    solution = jt.simulate(tissue, jt.Times(90.0), recorders=(jt.ActivationTimes(),))
    (lat_ms,) = solution.records  # (nodes,), NaN where not activated
    ```
    """
    stepper = with_stages(stepper or RungeKuttaChebyshev(), tissue, times.dt)
    solution = _simulate(tissue, stepper, times, recorders, state, adjoint or Checkpointed(), window)
    if throw and not isinstance(solution.result, jax.core.Tracer):
        if solution.result == Result.DIVERGED:
            raise SolveError(why_diverged(tissue, stepper, times, solution.state.u, times.stop))
        if solution.result == Result.ESCAPED:
            raise SolveError(MESSAGES[Result.ESCAPED])
        if solution.result == Result.SILENT:
            warnings.warn(why_silent(tissue, times), SilentWarning, stacklevel=2)
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
    """Runs the same solve and yields (time in ms, solution so far) every `every` steps.

    Use it for progress bars and for frames of u. Emitted records contain the last part only. A diverging
    solve raises `SolveError` in the part where it diverges.
    """
    march = march_of(
        tissue, with_stages(stepper or RungeKuttaChebyshev(), tissue, times.dt), times, recorders
    )
    state, memory = begin(march, None)
    for first in range(0, times.steps, every):
        steps = min(every, times.steps - first)
        state, memory, emitted = _advance(march, state, memory, jnp.asarray(first), steps)
        time = times.start + (first + steps) * times.dt
        solution = solution_of(march, state, memory, emitted)
        if solution.result == Result.DIVERGED:
            raise SolveError(why_diverged(tissue, march.stepper, times, state.u, time))
        yield time, solution
