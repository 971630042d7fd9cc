"""Adjoints: how a solve is differentiated."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp

from .._results import InputError
from .march import March, Memory, Trail
from .stepper import State


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def nbytes(tree) -> int:
    """Bytes of all arrays in a PyTree, concrete or abstract."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype"))


def plain(march: March, state: State, memory: Memory, first, steps: int):
    """All steps in one scan; emitted values are stacked over the steps."""

    def step(carry, index):
        state, memory = carry
        state, memory, emitted, _ = march.forward(state, memory, index)
        return (state, memory), emitted

    (state, memory), emitted = jax.lax.scan(step, (state, memory), first + jnp.arange(steps))
    return state, memory, emitted


class AbstractAdjoint(eqx.Module):
    """An adjoint: a way to run the steps of a solve so that it can be differentiated."""

    @abstractmethod
    def run(
        self, march: March, state: State, memory: Memory, first, steps: int
    ) -> tuple[State, Memory, tuple]:
        """The state and memory after `steps` steps from step `first`, and the emitted values of each."""

    def each_of(self, parts: int) -> "AbstractAdjoint":
        """The adjoint of one of several parts of a solve, which are differentiated together."""
        return self


class ForwardMode(AbstractAdjoint):
    """Forward-mode differentiation, for `jax.jvp` and `jax.jacfwd`: few parameters, many outputs.

    Reverse mode through it is correct too, but stores every step and is many times slower.
    """

    def run(self, march, state, memory, first, steps):
        return plain(march, state, memory, first, steps)


class Checkpointed(AbstractAdjoint):
    """Reverse mode with a hand-written transpose of the step, within a memory bound.

    The steps run in blocks. The state at the start of each block is stored, and the backward pass recomputes
    one block at a time with its intermediate values. The block length is the longest divisor of the number of
    steps that fits `memory` (bytes). If all steps fit at once, nothing is recomputed.

    **Example:** `jt.simulate(tissue, times, adjoint=jt.Checkpointed(memory=1e9))`
    """

    memory: float = eqx.field(static=True, default=2e9)

    def each_of(self, parts: int) -> "Checkpointed":
        return Checkpointed(self.memory / parts)

    def block(self, march: March, state: State, memory: Memory, steps: int) -> int:
        """Number of steps per block."""
        start = nbytes(state)
        # see `Trail`: the gates, diffusion and drive, and the argument of each product
        inside = nbytes(state.gates) + (2 + len(march.rows())) * nbytes(state.u)
        lengths = divisors(steps)
        need = {k: k * inside + (steps // k if k < steps else 0) * start for k in lengths}
        fitting = [k for k in lengths if need[k] <= self.memory]
        if not fitting:
            least = min(need.values())
            raise InputError(
                f"a gradient over {steps} steps that needs at least {least / 1e9:.2g} GB",
                f"one that fits the {self.memory / 1e9:.2g} GB allowed for it",
                "Allow more memory, or choose a number of steps with more divisors (a multiple of 100)",
            )
        return max(fitting)

    def run(self, march, state, memory, first, steps):
        varied = march.diffusion.of_edges, march.reaction, state, memory
        where = lambda m: (m.diffusion.of_edges, m.diffusion.weights, m.reaction)  # noqa: E731
        rest = eqx.tree_at(where, march, (None, None, None))
        return _solve(varied, rest, first, steps, self.block(march, state, memory, steps))


def _whole(varied, rest: March) -> tuple[March, State, Memory]:
    of_edges, reaction, state, memory = varied
    where = lambda m: (m.diffusion, m.reaction)  # noqa: E731
    whole = rest.diffusion.with_edges(of_edges), reaction
    return eqx.tree_at(where, rest, whole, is_leaf=lambda x: x is None), state, memory


@eqx.filter_custom_vjp
def _solve(varied, rest, first, steps, block):
    march, state, memory = _whole(varied, rest)
    return plain(march, state, memory, first, steps)


def _room(march: March, state, memory, steps: int) -> Trail:
    """Buffer for the trail of this many steps."""
    *_, trail = jax.eval_shape(lambda: march.forward(state, memory, jnp.asarray(0)))
    return jax.tree.map(lambda x: jnp.zeros((steps, *x.shape), x.dtype), trail)


def _store(march: March, state, memory, first, trails: Trail):
    """The steps of one block; the intermediate values of each are written into `trails`."""

    def step(carry, place):
        before, memory, trails = carry
        after, memory, emitted, trail = march.forward(before, memory, first + place)
        trails = jax.tree.map(
            lambda rows, row: jax.lax.dynamic_update_index_in_dim(rows, row, place, 0), trails, trail
        )
        return (after, memory, trails), emitted

    places = jnp.arange(trails.drive.shape[0])
    (state, memory, trails), emitted = jax.lax.scan(step, (state, memory, trails), places)
    return state, memory, emitted, trails


@_solve.def_fwd
def _solve_forward(perturbed, varied, rest, first, steps, block):
    march, state, memory = _whole(varied, rest)
    if block == steps:
        room = _room(march, state, memory, steps)
        after, memory, emitted, trail = _store(march, state, memory, first, room)
        return (after, memory, emitted), (trail, after, memory)

    def run_block(carry, start):
        before, memory = carry
        after, memory, emitted = plain(march, before, memory, start, block)
        return (after, memory), (emitted, (start, before))

    starts = first + block * jnp.arange(steps // block)
    (after, memory), (emitted, trail) = jax.lax.scan(run_block, (state, memory), starts)
    emitted = jax.tree.map(lambda e: e.reshape(steps, *e.shape[2:]), emitted)
    return (after, memory, emitted), (trail, after, memory)


@_solve.def_bwd
def _solve_backward(residuals, cotangents, perturbed, varied, rest, first, steps, block):
    march, state, memory = _whole(varied, rest)
    wanted, fixed = eqx.partition(march.reaction, perturbed[1])
    trail, after, end_memory = residuals

    def back(carry, trails, emitted_bar, start):
        """Transposes of the steps of a block from step `start`, the last one first."""
        places = jnp.arange(trails.drive.shape[0])

        def step(carry, scanned):
            after, state_bar, memory_bar, drive_bar, w_bar, edges_bar = carry
            place, emitted_bar = scanned

            def at_place(trails):
                return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, place, keepdims=False), trails)

            # taken out in one go: where a reader has to find its row, it does so at each node
            trail = march.diffusion.layout.each(at_place, trails)
            w_more, edges_more, state_bar, memory_bar, drive_bar = march.backward(
                wanted, fixed, start + place, trail, after, end_memory,
                (state_bar, memory_bar, emitted_bar, drive_bar),
            )  # fmt: skip
            w_bar, edges_bar = jax.tree.map(jnp.add, (w_bar, edges_bar), (w_more, edges_more))
            return (trail.before(), state_bar, memory_bar, drive_bar, w_bar, edges_bar), None

        return jax.lax.scan(step, carry, (places, emitted_bar), reverse=True)[0]

    def run_block(carry, scanned):
        # one buffer for the trails of all blocks: new memory would be cleared for each
        trails, *carry = carry
        (start, before), emitted_bar = scanned
        *_, trails = _store(march, before, memory, start, trails)
        return (trails, *back(tuple(carry), trails, emitted_bar, start)), None

    shapes = jax.eval_shape(lambda: plain(march, state, memory, first, steps))
    # equinox passes None if an output has no influence
    state_bar, memory_bar, emitted_bar = jax.tree.map(
        lambda shape, bar: jnp.zeros(shape.shape, shape.dtype) if bar is None else bar, shapes, cotangents
    )
    # a halo node has the cotangent of its owner on the other device
    state_bar, memory_bar = jax.tree.map(march.diffusion.layout.shared, (state_bar, memory_bar))
    zeros = jax.tree.map(jnp.zeros_like, wanted)
    last = State(after.u, after.gates, after.diffusion)
    carry = last, state_bar, memory_bar, jnp.zeros_like(march.mass), zeros, march.diffusion.no_products()
    if block == steps:
        carry = back(carry, trail, emitted_bar, first)
    else:
        emitted_bar = jax.tree.map(lambda e: e.reshape(-1, block, *e.shape[1:]), emitted_bar)
        room = _room(march, state, memory, block)
        (_, *carry), _ = jax.lax.scan(run_block, (room, *carry), (trail, emitted_bar), reverse=True)
    _, state_bar, memory_bar, drive_bar, w_bar, edges_bar = carry
    state_bar = march.drive_transpose(state_bar, drive_bar)
    return march.diffusion.to_edges(edges_bar), w_bar, state_bar, memory_bar
