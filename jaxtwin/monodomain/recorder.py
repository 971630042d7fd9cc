"""Recorders: what a solve stores while it runs."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool, Float, PyTree


class Step(eqx.Module):
    """One time step as a recorder sees it: u linear or cubic between two times.

    - `time`: its start, ms; `dt`, ms; u and du/dt at both ends, (nodes,), in the unit of the cell model.
    - `diffusion`: A u, the discrete div(D grad u), at its end, (nodes,), in the unit of u per ms. `gates`:
      the other state variables there. A signal that is linear in A u, such as an electrogram, depends in
      addition on geometry only, and its derivative with respect to the diffusivity passes through A u.
    - `threshold`, `recovery`: u at which a cell of this model counts as activated, and as repolarised.
    """

    time: Float[Array, ""]
    dt: float
    before: Float[Array, " nodes"]
    after: Float[Array, " nodes"]
    slope_before: Float[Array, " nodes"]
    slope_after: Float[Array, " nodes"]
    diffusion: Float[Array, " nodes"]
    gates: PyTree[Float[Array, " nodes"]]
    threshold: float = eqx.field(static=True)
    recovery: float = eqx.field(static=True)


class AbstractRecorder(eqx.Module):
    """A recorder: a streaming fold over the time steps with `init`, one `update` per step, and `read`.

    The recorder memory is carried through the solve, so keep it to a few numbers per node. Emit a value per
    step and point instead: `emit` is called once per step, and its results are stacked and passed to `read`.
    `update` acts node by node on any contiguous range of nodes: all memory arrays have the nodes last, and
    fields with arrays over the nodes are `nodal`. `emit` sees all nodes and may combine them.

    `update` must be idempotent: given the memory at the end of the solve and an earlier step, it reproduces
    the contribution of that step (a slot filled by that step is filled again; a sum must not depend on what
    was summed). The adjoint relies on this, and so does not store the memory of every step.
    """

    @abstractmethod
    def init(self, u: Float[Array, " nodes"]) -> Any:
        """The memory before the first step: a PyTree of floating-point arrays."""

    @abstractmethod
    def update(self, memory: Any, step: Step) -> Any:
        """The memory after this step."""

    @abstractmethod
    def emit(self, step: Step) -> Any:
        """The value that this step adds to the record, or None."""

    def activated(self, record: Any) -> Bool[Array, ""] | None:
        """Whether any node was activated according to its record; None if the record cannot decide."""
        return None

    @abstractmethod
    def read(self, memory: Any, emitted: Any, dt: float) -> Any:
        """The record, from the final memory and the values emitted in steps of `dt` ms."""
