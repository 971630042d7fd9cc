"""What is kept of a solve while it runs."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool, Float, PyTree


class Step(eqx.Module):
    """One step of the solver as a recorder sees it: u linear or cubic between two times.

    - `time`: its start, ms; `dt`, ms; u and du/dt at both ends, (nodes,), in the unit of the cell model.
    - `diffusion`: A u, the discrete div(D grad u), at its end, (nodes,), in the unit of u per ms. `gates`:
      the other states of the cells there. A signal that is linear in A u, as an electrogram is, needs
      geometry alone, and its derivative by the diffusivity flows through A u.
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
    """A streaming fold over the steps: `init`, then `update` once a step, then `read`.

    What a recorder remembers is carried through the solve: keep it to a few numbers per node. A value
    per step and point is better emitted: `emit` is called once a step and its results are stacked and
    handed to `read`. `update` acts node by node, on any run of the nodes: all that it remembers
    are arrays with the nodes last, and its own fields with arrays over the nodes are `nodal`. `emit` gets all
    nodes and may mix them.

    `update` must be idempotent: given the memory at the end of the solve and an earlier step, it does to
    that step's contribution what it did then (a place taken by that step is taken again, a sum does not
    depend on what was summed). The adjoint relies on it, and so need not store the memory of every step.
    """

    @abstractmethod
    def init(self, u: Float[Array, " nodes"]) -> Any:
        """The memory before the first step: a PyTree of floating-point arrays."""

    @abstractmethod
    def update(self, memory: Any, step: Step) -> Any:
        """The memory after this step."""

    @abstractmethod
    def emit(self, step: Step) -> Any:
        """What this step adds to the record, or None."""

    def activated(self, record: Any) -> Bool[Array, ""] | None:
        """Whether any node was activated, by its record; None where that does not tell."""
        return None

    @abstractmethod
    def read(self, memory: Any, emitted: Any, dt: float) -> Any:
        """The record, from the memory at the end and what the steps of `dt` ms emitted."""
