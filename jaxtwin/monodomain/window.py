"""The travelling window: a solve that only steps the nodes near a front."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._results import InputError
from .._types import nodal_leaves
from ..fem import EdgeOperator, Layout, Restriction, restrict
from .adjoint import AbstractAdjoint, divisors
from .march import March, Memory
from .stepper import State
from .times import Times

BEHIND, AHEAD = 5.0, 10.0  # ms, see `travelling_window`
PART = 2.0  # ms between two moves of the window
LENGTHS = 32  # parts; their number is a multiple of it, so that few programs are compiled
REST = 1e-2  # of the way from rest to threshold, below which a node counts as at rest


class Window(eqx.Module):
    """The nodes that each part of a solve steps; see `travelling_window`.

    - `parts`: the nodes of each part and the edges between them. `steps`: number of steps in a part.
    - `share`: node-steps, including padding, relative to a solve that steps all nodes.
    """

    parts: Restriction
    share: Float[np.ndarray, ""]
    steps: int = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of parts and the widths of their arrays: windows of one shape share compiled programs."""
        return len(self.parts.nodes), *self.parts.widths


def travelling_window(
    layout: Layout,
    arrival: Float[np.ndarray, " nodes"],
    times: Times,
    *,
    behind: float = BEHIND,
    ahead: float = AHEAD,
) -> Window:
    """Returns the window of one wave for `simulate`, since first activation times depend only on a narrow
    front.

    A node is stepped from `ahead` ms before to `behind` ms after its predicted arrival. Before, it is at
    rest; afterwards it keeps its state. Edges that leave the window are cut. The window moves about every
    2 ms. A solve whose front reaches an edge of the window ends with `Result.ESCAPED`: the prediction was
    wrong, or there is more than one wave. Widen the window then, or leave it out.

    **Arguments:**

    - `layout`: of the space. `arrival`: (nodes,), predicted activation times, ms on the clock of the solve,
      NaN where none is expected. `times`: of the solve.
    - `behind`, `ahead`: ms. With 5 and 10 ms the activation times on a sheet with scar and fibres changed by
      less than 1e-4 ms rms.

    **Returns:** a `Window`.

    **Raises:** `InputError` if no activation is expected.

    **Example:**

    ```python
    speed = float(jt.wave_speed(tissue.ionic, 1.0))  # mm/ms at D = 1 mm2/ms
    arrival, _ = jt.eikonal(mesh, np.asarray(tissue.diffusivity), speed, *paced.starts())
    window = jt.travelling_window(tissue.space.layout, arrival, times)
    solution = jt.simulate(tissue, times, recorders=(jt.ActivationTimes(),), window=window)
    ```
    """
    return travelling_windows(layout, [arrival], times, behind=behind, ahead=ahead)[0]


def travelling_windows(
    layout: Layout,
    arrivals: Sequence[Float[np.ndarray, " nodes"]],
    times: Times,
    *,
    behind: float = BEHIND,
    ahead: float = AHEAD,
    least: tuple[int, ...] = (),
) -> list[Window]:
    """The windows of several waves on one mesh, see `travelling_window`. They have one shape, so that one
    compiled program serves all. `least`: the `shape` of earlier windows, which they keep where it suffices.
    """
    expected = [np.isfinite(arrival) for arrival in arrivals]
    if not all(reached.any() for reached in expected):
        raise InputError(
            "a travelling window around a wave that reaches no node", "predicted activation times",
            "Solve without a window",
        )  # fmt: skip
    steps = min(divisors(times.steps), key=lambda k: abs(np.log(k * times.dt / PART)))
    most, part = times.steps // steps, steps * times.dt
    last = max(float(arrival[reached].max()) for arrival, reached in zip(arrivals, expected, strict=True))
    needed = (last + behind - times.start) / part
    count = max(int(np.clip(LENGTHS * np.ceil(needed / LENGTHS), 1, most)), least[0] if least else 0)
    sets = [
        (arrival >= start - behind) & (arrival <= start + part + ahead)
        for arrival in (np.where(r, a, np.inf) for a, r in zip(arrivals, expected, strict=True))
        for start in times.start + part * np.arange(count)
    ]
    parts = jax.tree.map(np.asarray, restrict(layout, sets, least[1:]))
    windows = []
    for k in range(len(arrivals)):
        own = jax.tree.map(lambda leaf, k=k: jnp.asarray(leaf[k * count : (k + 1) * count]), parts)
        stepped = sum(mask.any() for mask in sets[k * count : (k + 1) * count])
        share = np.asarray(stepped * parts.nodes.shape[1] / (layout.rows * most))
        windows.append(Window(own, share, steps))
    return windows


def taken(fields, nodes):
    """PyTrees with their nodal arrays at some nodes; padding takes those of the last node."""
    leaves = [
        leaf.at[..., nodes].get(mode="clip") if at_nodes else leaf
        for _, leaf, at_nodes in nodal_leaves(fields)
    ]
    return jax.tree.unflatten(jax.tree.structure(fields), leaves)


def put(fields, nodes, values):
    """The inverse of `taken`: nodal arrays with new values at some nodes; padding is dropped."""

    def one(whole, part):
        return whole.at[..., nodes].set(part, mode="drop")

    return jax.tree.map(one, fields, values)


def run_window(
    march: March, state: State, memory: Memory, window: Window, adjoint: AbstractAdjoint
) -> tuple[State, Memory, Bool[Array, ""]]:
    """Runs the parts of a window one after another. Returns the state and the memory at the end, and whether
    a front escaped."""
    parts, padded = window.parts, jnp.append(march.diffusion.of_edges, 0.0)
    dispersion = None if march.dispersion is None else jnp.append(march.dispersion.of_edges, 0.0)
    rest, _ = march.reaction.ionic.resting()
    least = REST * (march.reaction.ionic.threshold - rest)
    count = parts.nodes.shape[0]
    of_part = adjoint.each_of(count)

    def step_part(carry, scanned):
        state, memory, escaped = carry
        k, nodes, layout, edges, inside, outside = scanned
        inverse = taken(march.diffusion.inverse_mass, nodes)
        local = March(
            EdgeOperator(padded[edges], inverse, layout),
            None if dispersion is None else EdgeOperator(dispersion[edges], inverse, layout),
            taken(march.mass, nodes), taken(march.reaction, nodes), taken(march.recorders, nodes),
            march.stepper, march.start, march.dt,
        )  # fmt: skip
        found = of_part.run(local, taken(state, nodes), taken(memory, nodes), k * window.steps, window.steps)
        own, remembered, emitted = found
        if jax.tree.leaves(emitted):
            raise InputError(
                "a travelling window with a recorder that emits values", "activation times, node by node",
                "Solve without a window: signals depend on all nodes",
            )  # fmt: skip
        state, memory = put(state, nodes, own), put(memory, nodes, remembered)
        u = jax.lax.stop_gradient(state.u)
        near = own.u[inside] - rest > least
        beyond = u.at[outside].get(mode="fill", fill_value=jnp.inf) - rest <= least
        return state, memory, escaped | (near & beyond).any()

    def part(carry, scanned):
        # a part without nodes is there for the shape
        filled, *scanned = scanned
        return jax.lax.cond(filled, step_part, lambda carry, _: carry, carry, tuple(scanned)), None

    filled = (parts.nodes < march.mass.shape[0]).any(axis=1)
    scanned = filled, jnp.arange(count), parts.nodes, parts.layout, parts.edges, parts.inside, parts.outside
    (state, memory, escaped), _ = jax.lax.scan(part, (state, memory, jnp.asarray(False)), scanned)
    # behind the window a front that stopped halfway was lost
    u = jax.lax.stop_gradient(state.u) - rest
    lost = (
        ((u > least) & (u < march.reaction.ionic.threshold - rest))
        .at[parts.nodes[-1]]
        .set(False, mode="drop")
    )
    return state, memory, escaped | lost.any()
