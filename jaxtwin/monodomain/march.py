"""One step forward, one step backward: the inner loops of a solve and of its adjoint."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..fem import EdgeOperator
from ..ionic import AbstractIonicModel
from .recorder import AbstractRecorder, Step
from .stepper import AbstractStepper, Entry, Reaction, State

Memory = tuple[Any, ...]


class Trail(eqx.Module):
    """What the transpose of a step needs of it. `arguments`: (stages, nodes); `source`: (nodes,) or 0."""

    gate: Float[Array, " nodes"]
    diffusion: Float[Array, " nodes"]
    source: Float[Array, " nodes"] | float
    arguments: Float[Array, "stages nodes"]

    def before(self) -> State:
        """The state at the start of the step."""
        return State(self.arguments[0], self.gate, self.diffusion)


class March(eqx.Module):
    """What a solve needs besides the state: operators, cells, recorders, and the grid in time.

    Step i runs from `start` + i `dt`, ms. `dispersion`: E, what lumping took from the mass matrix, or None.
    E A u enters each step as a source that is constant in it, with A u extrapolated to its middle from the
    two times before, so that the step stays of second order.
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
        return jnp.asarray(self.stepper.coefficients(self.dt), self.mass.dtype)

    def time(self, index):
        """Start of step `index`, ms; a product, not a sum, so that float32 does not drift."""
        return self.start + index.astype(self.mass.dtype) * self.dt

    def source(self, state: State):
        """E A u in the middle of a step, gathered from a loop-carried buffer."""
        if self.dispersion is None or state.ahead is None:
            return 0.0
        return self.dispersion(state.ahead)

    def no_source(self):
        """The cotangent of the source after the last step."""
        return None if self.dispersion is None else jnp.zeros_like(self.mass)

    def source_transpose(self, state_bar: State, source_bar) -> State:
        """The cotangent of a state with what flows into it through `source` of the next step.

        `source_bar`: that of the next step, divided by the mass; E is self-adjoint as A is.
        """
        if self.dispersion is None or state_bar.ahead is None:
            return state_bar
        more = self.mass * self.dispersion(source_bar)
        return eqx.tree_at(lambda s: s.ahead, state_bar, state_bar.ahead + more)

    def leave(self, reaction: Reaction, state: State, drive, y, product, memory: Memory, time):
        """The state at the end of a step, what the recorders remember, and what they emit."""
        gate = reaction.ionic.relax(state.gate, state.u, y, self.dt)
        ahead = None if self.dispersion is None else 1.5 * product - 0.5 * state.diffusion
        after = State(y, gate, product, ahead)
        slope_before = state.diffusion + reaction.ionic.reaction(state.u, state.gate) + drive
        slope_after = product + reaction.ionic.reaction(y, gate) + drive
        step = Step(time, self.dt, state.u, y, slope_before, slope_after)
        memory = tuple(r.update(m, step) for r, m in zip(self.recorders, memory, strict=True))
        return after, memory, tuple(r.emit(step) for r in self.recorders)

    def stage(self, product, ionic: AbstractIonicModel, entry: Entry, y, y_before, row):
        """The argument of the next product, from this one's; node by node. See `AbstractStepper`."""
        rest = ionic.reaction(y, entry.gate) + entry.drive
        return (
            row[0] * entry.start + row[1] * y + row[2] * y_before
            + row[3] * product + row[4] * rest + row[5] * entry.rate
        )  # fmt: skip

    def forward(self, state: State, memory: Memory, index):
        """One step. Returns the new state and memory, what was emitted, and the trail: what `backward`
        needs of the old state, the source, and u at the start of the step followed by the arguments of all
        products but the last, which is the new u.

        The products stand at the head of the loop over stages so that each gathers from a loop-carried
        buffer: XLA would otherwise fuse the stage before into every neighbour's gather.
        """
        time, ionic = self.time(index), self.reaction.ionic
        source = self.source(state)
        entry, y = self.stepper.enter(self.reaction, state, source, time, self.dt)

        def stage(carry, row):
            y, y_before = carry
            y_next = self.diffusion.then(partial(self.stage, row=row), y, ionic, entry, y, y_before)
            return (y_next, y), y_before

        (product, y), arguments = jax.lax.scan(stage, (y, state.u), self.rows())
        after, memory, emitted = self.leave(self.reaction, state, entry.drive, y, product, memory, time)
        return after, memory, emitted, Trail(state.gate, state.diffusion, source, arguments)

    def backward(self, wanted, fixed, index, trail: Trail, after, memory, source_bar, cotangents):
        """The transpose of `forward` at a known step.

        `wanted`, `fixed`: the leaves of the reaction to differentiate, and the others. `cotangents`: of the
        new state, the new memory and what was emitted; `source_bar`: of the source of the next step. Returns
        those of `wanted`, of the edges of the diffusion (as `EdgeOperator.edge_products`), of the old state,
        the old memory and the source of this step. `memory` is that at the end of the solve: the updates of
        recorders are idempotent.

        A = M^-1 K is self-adjoint in the inner product of M, so with cotangents divided by the mass the
        backward product is the forward product; q below is such a scaled cotangent.
        """
        time, mass, arguments = self.time(index), self.mass, trail.arguments
        state = trail.before()

        def reaction(w):
            return eqx.combine(w, fixed)

        (entry, _), enter_transpose = jax.vjp(
            lambda w, s, c: self.stepper.enter(reaction(w), s, c, time, self.dt),
            wanted, state, trail.source,
        )  # fmt: skip
        _, leave_transpose = jax.vjp(
            lambda w, s, j, y, p, m: self.leave(reaction(w), s, j, y, p, m, time),
            wanted, state, entry.drive, after.u, after.diffusion, memory,
        )  # fmt: skip
        after_bar, *rest = cotangents
        cotangents = (self.source_transpose(after_bar, source_bar), *rest)
        w_bar, state_bar, drive_bar, y_bar, product_bar, memory_bar = leave_transpose(cotangents)

        def rate(wanted, gate, y):
            return reaction(wanted).ionic.reaction(y, gate)

        def stage(carry, scanned):
            row, later, y_earlier = scanned
            q, q_later, y, gate_bar, w_bar = carry

            def transpose(product, ionic, gate, y, q, q_later):
                slope = jax.grad(lambda y: jnp.sum(ionic.reaction(y, gate)))(y)
                return later * q_later + row[3] * product + (row[1] + row[4] * slope) * q

            ionic = reaction(wanted).ionic
            q_next = self.diffusion.then(transpose, q, ionic, entry.gate, y, q, q_later)
            w_more, gate_more = jax.vjp(lambda w, g: rate(w, g, y), wanted, entry.gate)[1](row[4] * mass * q)
            w_bar = jax.tree.map(jnp.add, w_bar, w_more)
            # the next argument is carried: read from the stack it would be sliced at every node
            return (q_next, q, y_earlier, gate_bar + gate_more, w_bar), q

        rows = self.rows()
        # the argument of a stage also feeds the stage after the next one, and the last is the new u itself
        later = jnp.append(rows[1:, 2], 1.0)
        init = product_bar / mass, y_bar / mass, after.u, jnp.zeros_like(mass), w_bar
        (q_first, q_second, _, gate_bar, w_bar), qs = jax.lax.scan(
            stage, init, (rows, later, arguments), reverse=True
        )
        # what does not feed the loop is summed over the stages in one pass over memory
        weights = (-self.stepper.coefficients(self.dt)[:, 3]).tolist()
        edges_bar = self.diffusion.edge_products(weights, qs, [*arguments[1:], after.u])
        start_bar, linear_drive_bar, rate_bar = mass[None] * jnp.matmul(
            rows[:, jnp.asarray([0, 4, 5])].T, qs, precision="highest"
        )
        entry_bar = Entry(start_bar, rate_bar, gate_bar, linear_drive_bar + drive_bar)
        w_more, state_more, source_bar = enter_transpose((entry_bar, mass * q_first))
        w_bar, state_bar = jax.tree.map(jnp.add, (w_bar, state_bar), (w_more, state_more))
        state_bar = eqx.tree_at(lambda s: s.u, state_bar, state_bar.u + mass * (rows[0, 2] * q_second))
        if self.dispersion is None:
            source_bar = None
        else:
            source_bar = source_bar / mass
            state_bar = eqx.tree_at(
                lambda s: s.ahead, state_bar, jnp.zeros_like(mass), is_leaf=lambda x: x is None
            )
        return w_bar, edges_bar, state_bar, memory_bar, source_bar
