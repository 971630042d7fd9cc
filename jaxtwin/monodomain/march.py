"""One step forward and its transpose: the inner loops of a solve and of its adjoint."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._types import nodal
from ..cells import AbstractIonicModel
from ..fem import EdgeOperator
from .recorder import AbstractRecorder, Step
from .stepper import AbstractStepper, Entry, Reaction, State
from .stimulus import AbstractStimulus

Memory = tuple[Any, ...]


def weighted(weights, terms) -> Array:
    """Weighted sum of terms; terms of weight zero are skipped and may be None."""
    first, *rest = [weight * term for weight, term in zip(weights, terms, strict=True) if weight]
    return sum(rest, first)


def added(first, second):
    """Sum of two PyTrees; None is treated as zero."""

    def add(a, b):
        return b if a is None else a if b is None else a + b

    return jax.tree.map(add, first, second, is_leaf=lambda x: x is None)


class Trail(eqx.Module):
    """Intermediate values of a step that its transpose needs.

    `gates`, `diffusion`: of the state before the step. `drive`: see `March.drive`. `arguments`: u at the
    start of the step, then the arguments of all products except the last, which is the new u.
    """

    gates: PyTree[Float[Array, " nodes"]] = nodal()
    diffusion: Float[Array, " nodes"] = nodal()
    drive: Float[Array, " nodes"] = nodal()
    arguments: tuple[Float[Array, " nodes"], ...] = nodal()

    def before(self) -> State:
        """The state at the start of the step."""
        return State(self.arguments[0], self.gates, self.diffusion)


class March(eqx.Module):
    """Everything a solve needs in addition to the state: operators, cells, recorders and the time grid.

    Step i runs from `start` + i `dt`, ms. `dispersion`: the operator E, the difference between lumped and
    consistent mass, or None. E A u enters each step as a source that is constant within the step. A u is
    extrapolated to the middle of the step from the two preceding times, which keeps the step second order.
    """

    diffusion: EdgeOperator
    dispersion: EdgeOperator | None
    mass: Float[Array, " nodes"]
    reaction: Reaction
    recorders: tuple[AbstractRecorder, ...]
    stepper: AbstractStepper
    start: Float[Array, ""]
    dt: float = eqx.field(static=True)

    def rows(self) -> list[list[float]]:
        """Stage coefficients, constants of the program."""
        return self.stepper.coefficients(self.dt).tolist()

    def time(self, index):
        """Start of step `index`, ms; a product instead of a running sum, so that float32 does not drift."""
        return self.start + index.astype(self.mass.dtype) * self.dt

    def pulse(self, stimulus: AbstractStimulus, index):
        """Mean of the stimulus over step `index`, 1/ms."""
        return stimulus.mean(self.time(index), self.time(index + 1))

    def drive(self, stimulus: AbstractStimulus, state: State, index):
        """Source terms of u other than diffusion and reaction, 1/ms, constant in a step: the stimulus, and E
        A u in the middle of the step."""
        if self.dispersion is None or state.ahead is None:
            return self.diffusion.layout.each(lambda stimulus: self.pulse(stimulus, index), stimulus)
        return self.dispersion.then(
            lambda product, stimulus: product + self.pulse(stimulus, index), state.ahead, stimulus
        )

    def drive_transpose(self, state_bar: State, drive_bar) -> State:
        """The cotangent of the state before a step, with the contribution of `drive` added.

        `drive_bar` is divided by the mass; E is self-adjoint, as A is.
        """
        if self.dispersion is None:
            return state_bar

        def more(product, ahead_bar, mass):
            return ahead_bar + mass * product

        ahead_bar = self.dispersion.then(more, drive_bar, state_bar.ahead, self.mass)
        return eqx.tree_at(lambda s: s.ahead, state_bar, ahead_bar, is_leaf=lambda x: x is None)

    def stage(self, product, ionic: AbstractIonicModel, entry: Entry, drive, y, y_before, row):
        """The argument of the next product, from that of the current one; node-local. See
        `AbstractStepper`."""
        rest = ionic.reaction(y, entry.gates) + drive if row[4] else None
        return weighted(row, (entry.start, y, y_before, product, rest, entry.rate))

    def stage_transpose(self, product, ionic: AbstractIonicModel, gates, y, q, q_later, row, later):
        """Cotangent of the argument y of a product: through the product of q, through y itself in the same
        stage, and, weighted with `later`, through the following stage; node-local."""
        own = row[1] * q
        if row[4]:
            own = own + row[4] * jax.grad(lambda y: jnp.sum(ionic.reaction(y, gates)))(y) * q
        return weighted((later, row[3], 1.0), (q_later, product, own))

    def slopes(self, ionic: AbstractIonicModel, drive, *states: State) -> tuple[Array, ...]:
        """du/dt of the states at both ends of a step; node-local."""
        return tuple(s.diffusion + ionic.reaction(s.u, s.gates) + drive for s in states)

    def ends(self, before: State, after: State, slopes: tuple[Array, ...]) -> tuple[Any, ...]:
        """Both ends of a step as a recorder sees them, see `Step`."""
        return before.u, after.u, *slopes, after.diffusion, after.gates

    def leave(self, ionic: AbstractIonicModel, state: State, drive, y, product, recorders, memory, time):
        """The state at the end of a step and the updated recorder memory; node-local."""
        gates = ionic.relax(state.gates, state.u, y, self.dt)
        ahead = None if self.dispersion is None else 1.5 * product - 0.5 * state.diffusion
        after = State(y, gates, product, ahead)
        step = self.seen(time, *self.ends(state, after, self.slopes(ionic, drive, state, after)))
        return after, tuple(r.update(m, step) for r, m in zip(recorders, memory, strict=True))

    def seen(self, time, *ends) -> Step:
        """The step from `time` as recorders see it; `ends`: see there."""
        ionic = self.reaction.ionic
        return Step(time, self.dt, *ends, threshold=ionic.threshold, recovery=ionic.recovery)

    def emit(self, time, *ends) -> tuple[Any, ...]:
        """Emitted values of the recorders."""
        return tuple(r.emit(self.seen(time, *ends)) for r in self.recorders)

    def forward(self, state: State, memory: Memory, index):
        """One step. Returns the new state and memory, emitted values, and the trail.

        The stages are unrolled, because a loop would copy the values passed from stage to stage.
        """
        ionic, each = self.reaction.ionic, self.diffusion.layout.each
        drive = self.drive(self.reaction.stimulus, state, index)
        entry, y = each(partial(self.stepper.enter, dt=self.dt), ionic, state, drive)
        arguments = [state.u, y]
        for row in self.rows():
            y_before, y = arguments[-2:]
            stage = partial(self.stage, row=row)
            arguments.append(self.diffusion.then(stage, y, ionic, entry, drive, y, y_before))
        *arguments, y, product = arguments
        time = self.time(index)
        after, memory = each(self.leave, ionic, state, drive, y, product, self.recorders, memory, time)
        emitted = self.emit(time, *self.ends(state, after, each(self.slopes, ionic, drive, state, after)))
        return after, memory, emitted, Trail(state.gates, state.diffusion, drive, tuple(arguments))

    def backward(self, wanted, fixed, index, trail: Trail, after, memory, cotangents):
        """The transpose of `forward`, linearised at a known step.

        `wanted`, `fixed`: the leaves of the reaction to differentiate, and the others. `cotangents`: of the
        new state, the new memory, the emitted values, and the drive of the next step (divided by the mass).
        Returns the cotangents of `wanted`, of the edges of the diffusion operator (as
        `EdgeOperator.edge_products`), of the old state, the old memory and the drive of this step. `memory`
        is the memory at the end of the solve, which suffices because recorder updates are idempotent.

        A = M^-1 K is self-adjoint in the inner product of M, so for cotangents divided by the mass the
        backward product equals the forward product; q below is such a scaled cotangent.
        """
        each, rows = self.diffusion.layout.each, self.rows()
        state, ys = trail.before(), [*trail.arguments[1:], after.u]
        after_bar, memory_bar, emitted_bar, next_drive_bar = cotangents
        after_bar = self.drive_transpose(after_bar, next_drive_bar)

        def ionic(wanted, fixed) -> AbstractIonicModel:
            return eqx.combine(wanted, fixed).ionic

        time, drive, ends_bar = self.time(index), trail.drive, None
        if jax.tree.leaves(emitted_bar):
            ends = self.ends(state, after, each(self.slopes, self.reaction.ionic, drive, state, after))
            ends_bar = jax.vjp(partial(self.emit, time), *ends)[1](emitted_bar)

        def leave_transpose(wanted, fixed, state, drive, y, product, recorders, memory, bars, mass):
            def leave(wanted, state, drive, y, product, memory):
                cell = ionic(wanted, fixed)
                after, memory = self.leave(cell, state, drive, y, product, recorders, memory, time)
                ends = None
                if ends_bar is not None:
                    ends = self.ends(state, after, self.slopes(cell, drive, state, after))
                return after, memory, ends

            _, transpose = jax.vjp(leave, wanted, state, drive, y, product, memory)
            *others, y_bar, product_bar, memory_bar = transpose(bars)
            return *others, y_bar / mass, product_bar / mass, memory_bar

        w_bar, state_bar, drive_seen, q_second, q, memory_bar = each(
            leave_transpose, wanted, fixed, state, drive, after.u, after.diffusion, self.recorders, memory,
            (after_bar, memory_bar, ends_bar), self.mass,
        )  # fmt: skip

        def enter(wanted, fixed, state, drive):
            return self.stepper.enter(ionic(wanted, fixed), state, drive, self.dt)

        gates = each(lambda *known: enter(*known)[0].gates, wanted, fixed, state, drive)
        # the argument of a stage also feeds the stage after the next one, and the last is the new u itself
        chain, laters = [q_second, q], [*(row[2] for row in rows[1:]), 1.0]
        for row, later, y in zip(rows[::-1], laters[::-1], ys[::-1], strict=True):
            q_later, q = chain[-2:]
            stage = partial(self.stage_transpose, row=row, later=later)
            chain.append(self.diffusion.then(stage, q, self.reaction.ionic, gates, y, q, q_later))
        *qs, q_first = chain[1:]
        qs = qs[::-1]
        # terms that do not feed the next stage are summed over the stages in one pass over memory; without
        # the barrier XLA would merge the identical gathers and keep each of them in memory
        qs, ys = jax.lax.optimization_barrier((qs, ys))
        edges_bar = self.diffusion.edge_products([-row[3] for row in rows], qs, ys)

        def entry_bar(wanted, fixed, gates, ys, qs, mass):
            """Cotangents of the entry of a step and of the drive in its stages."""
            parts = [(row[4], y, q) for row, y, q in zip(rows, ys, qs, strict=True) if row[4]]
            _, transpose = jax.vjp(
                lambda w, gates: [ionic(w, fixed).reaction(y, gates) for _, y, _ in parts], wanted, gates
            )
            w_more, gates_bar = transpose([weight * mass * q for weight, _, q in parts])
            start, drive, rate = (mass * weighted([row[k] for row in rows], qs) for k in (0, 4, 5))
            return w_more, Entry(start, rate, gates_bar), drive

        w_stages, into_entry, drive_bar = each(entry_bar, wanted, fixed, gates, ys, qs, self.mass)

        def enter_transpose(
            wanted, fixed, state, drive, into, q_first, q_second, mass, state_bar, drives_bar
        ):
            _, transpose = jax.vjp(lambda w, *known: enter(w, fixed, *known), wanted, state, drive)
            w_bar, state_more, drive_more = transpose((into, mass * q_first))
            state_bar = added(state_bar, state_more)
            state_bar = eqx.tree_at(lambda s: s.u, state_bar, state_bar.u + mass * (rows[0][2] * q_second))
            drive_bar = sum(drives_bar, drive_more)
            _, transpose = jax.vjp(lambda w: self.pulse(eqx.combine(w, fixed).stimulus, index), wanted)
            return added(w_bar, *transpose(drive_bar)), state_bar, drive_bar / mass

        w_more, state_bar, drive_bar = each(
            enter_transpose, wanted, fixed, state, drive, into_entry, q_first, qs[0], self.mass,
            state_bar, [drive_seen, drive_bar],
        )  # fmt: skip
        if self.dispersion is not None:
            none_yet = jnp.zeros_like(self.mass)
            state_bar = eqx.tree_at(lambda s: s.ahead, state_bar, none_yet, is_leaf=lambda x: x is None)
        return added(added(w_bar, w_stages), w_more), edges_bar, state_bar, memory_bar, drive_bar
