"""Voltage traces at selected nodes."""

from jaxtyping import Array, Float, Int

from ..monodomain import AbstractRecorder, Step


class VoltageTrace(AbstractRecorder):
    """Records u at the given nodes at the end of each step: (steps, points).

    **Example:** `jt.simulate(tissue, times, recorders=(jt.VoltageTrace(jnp.array([0, 17])),))`
    """

    nodes: Int[Array, " points"]

    def init(self, u: Float[Array, " nodes"]) -> tuple:
        return ()

    def update(self, memory: tuple, step: Step) -> tuple:
        return ()

    def emit(self, step: Step) -> Float[Array, " points"]:
        return step.after[self.nodes]

    def read(self, memory, emitted: Float[Array, "steps points"], dt: float) -> Float[Array, "steps points"]:
        return emitted
