"""One step forward, one step backward: the inner loops of a solve and of its adjoint."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..fem import EdgeOperator
from .recorder import AbstractRecorder, Step
from .stepper import AbstractStepper, Reaction, State

Memory = tuple[Any, ...]


class March(eqx.Module):
    """What a solve needs besides the state: operators, cells, recorders, and the grid in time.

    Step i runs from `start` + i `dt`, ms. `dispersion`: E, what lumping took from the mass matrix, or None.
    E A u enters each step as a source, from A u at its start: the error of that, first order in dt, is one
    of a term that is itself of second order in the edge.
    """

    diffusion: EdgeOperator
    dispersion: EdgeOperator | None
    mass: Float[Array, " nodes"]
    reaction: Reaction
    recorders: tuple[AbstractRecorder, ...]
    stepper: AbstractStepper
    start: Float[Array, ""]
    dt: float = eqx.field(static=True)

    def rows(self):
        """Stage coefficients on the device."""
        return jnp.asarray(self.stepper.coefficients(), self.mass.dtype)

    def time(self, index):
        """Start of step `index`, ms; a product, not a sum, so that float32 does not drift."""
        return self.start + index.astype(self.mass.dtype) * self.dt

    def flat_differences(self, u) -> list:
        """u at the neighbour less u at the node, one array per slot of each slice."""
        return [d for piece in self.diffusion.differences(u) for d in piece]

    def per_slot(self, values) -> list:
        """The values of the nodes behind each slot of each slice."""
        pieces, start = [], 0
        for piece in self.diffusion.slices:
            slots, run = piece.neighbours.shape
            pieces += [values[start : start + run]] * slots
            start += run
        return pieces

    def no_slots(self) -> list:
        """Zero for each slot of each slice: the start of the cotangent of the conductances."""
        return [jnp.zeros_like(row) for row in self.per_slot(self.mass)]

    def stack_slots(self, rows: list) -> tuple:
        """The arrays of all slots in the shape of the conductances."""
        stacked, start = [], 0
        for piece in self.diffusion.slices:
            slots = piece.neighbours.shape[0]
            stacked.append(jnp.stack(rows[start : start + slots]))
            start += slots
        return tuple(stacked)

    def source(self, state: State):
        """E A u at the start of a step, gathered from a loop-carried buffer."""
        return 0.0 if self.dispersion is None else self.dispersion(state.diffusion)

    def no_source(self):
        """The cotangent of the source after the last step."""
        return None if self.dispersion is None else jnp.zeros_like(self.mass)

    def source_transpose(self, state_bar: State, source_bar) -> State:
        """The cotangent of a state with what flows into it through `source` of the next step.

        `source_bar`: that of the next step, divided by the mass; E is self-adjoint as A is.
        """
        if self.dispersion is None:
            return state_bar
        more = self.mass * self.dispersion(source_bar)
        return eqx.tree_at(lambda s: s.diffusion, state_bar, state_bar.diffusion + more)

    def leave(self, reaction: Reaction, state: State, drive, y, product, memory: Memory, time):
        """The state at the end of a step, what the recorders remember, and what they emit."""
        gate = reaction.ionic.relax(state.gate, state.u, y, self.dt)
        after = State(y, gate, product)
        slope_before = state.diffusion + reaction.ionic.reaction(state.u, state.gate) + drive
        slope_after = product + reaction.ionic.reaction(y, gate) + drive
        step = Step(time, self.dt, state.u, y, slope_before, slope_after)
        memory = tuple(r.update(m, step) for r, m in zip(self.recorders, memory, strict=True))
        return after, memory, tuple(r.emit(step) for r in self.recorders)

    def forward(self, state: State, memory: Memory, index):
        """One step. Returns the new state and memory, what was emitted, and the arguments of all products.

        The products stand at the head of the loop over stages so that each gathers from a loop-carried
        buffer: XLA would otherwise fuse the stage before into every neighbour's gather.
        """
        stepper, time = self.stepper, self.time(index)
        entry, y = stepper.enter(self.reaction, state, self.source(state), time, self.dt)

        def stage(carry, row):
            y, y_before, _ = carry
            product = self.diffusion(y)
            y_next = stepper.stage(self.reaction, entry, y, y_before, product, row, self.dt)
            return (y_next, y, product), y

        (y, _, product), arguments = jax.lax.scan(stage, (y, state.u, state.diffusion), self.rows())
        after, memory, emitted = self.leave(self.reaction, state, entry.drive, y, product, memory, time)
        return after, memory, emitted, arguments

    def backward(self, wanted, fixed, state, index, arguments, after, memory, source_bar, cotangents):
        """The transpose of `forward` at a known step.

        `wanted`, `fixed`: the leaves of the reaction to differentiate, and the others. `cotangents`: of
        the new state, the new memory and what was emitted; `source_bar`: of the source of the next step.
        Returns those of `wanted`, of the conductances (one array a slot, so that each is written once and in
        place), of the old state, the old memory and the source of this step.
        `memory` is that at the end of the solve: the updates of recorders are idempotent.

        A = M^-1 K is self-adjoint in the inner product of M, so with cotangents divided by the mass the
        backward product is the forward product; q below is such a scaled cotangent.
        """
        stepper, time, mass, dt = self.stepper, self.time(index), self.mass, self.dt

        def reaction(w):
            return eqx.combine(w, fixed)

        (entry, _), enter_transpose = jax.vjp(
            lambda w, s, c: stepper.enter(reaction(w), s, c, time, dt), wanted, state, self.source(state)
        )
        _, leave_transpose = jax.vjp(
            lambda w, s, j, y, p, m: self.leave(reaction(w), s, j, y, p, m, time),
            wanted, state, entry.drive, after.u, after.diffusion, memory,
        )  # fmt: skip
        after_bar, *rest = cotangents
        cotangents = (self.source_transpose(after_bar, source_bar), *rest)
        w_bar, state_bar, drive_bar, y_bar, product_bar, memory_bar = leave_transpose(cotangents)

        rows = self.rows()
        # the last row's product is the diffusion at the end of the step; its cotangent is known already
        weights = (dt * rows[:, 3]).at[-1].set(1.0)
        zero = jnp.zeros_like(mass)

        def stage(carry, scanned):
            row, weight, y = scanned
            gathered, q, q_before, entry_bar, w_bar, slots_bar = carry
            flux = weight * self.diffusion(gathered)
            slots_bar = [
                bar + scaled * difference
                for bar, scaled, difference in zip(
                    slots_bar, self.per_slot(weight * gathered), self.flat_differences(y), strict=True
                )
            ]
            _, local = jax.vjp(
                lambda w, e, y, b: stepper.stage(reaction(w), e, y, b, zero, row, dt), wanted, entry, y, y
            )
            _, entry_more, y_more, before_more = local(q)
            w_more, *_ = local(mass * q)
            add = jax.tree.map(jnp.add, (entry_bar, w_bar), (entry_more, w_more))
            q_next = q_before + y_more + flux
            return (q_next, q_next, before_more, *add, slots_bar), None

        init = (
            product_bar / mass, y_bar / mass, zero,
            jax.tree.map(jnp.zeros_like, entry), w_bar, self.no_slots(),
        )  # fmt: skip
        (_, q, q_before, entry_bar, w_bar, slots_bar), _ = jax.lax.scan(
            stage, init, (rows, weights, arguments), reverse=True
        )
        entry_bar = jax.tree.map(lambda e: mass * e, entry_bar)
        entry_bar = eqx.tree_at(lambda e: e.drive, entry_bar, entry_bar.drive + drive_bar)
        w_more, state_more, source_bar = enter_transpose((entry_bar, mass * q))
        w_bar, state_bar = jax.tree.map(jnp.add, (w_bar, state_bar), (w_more, state_more))
        state_bar = eqx.tree_at(lambda s: s.u, state_bar, state_bar.u + mass * q_before)
        source_bar = None if self.dispersion is None else source_bar / mass
        return w_bar, slots_bar, state_bar, memory_bar, source_bar
