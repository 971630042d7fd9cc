"""The voltage at a few points, in every step."""

from jaxtyping import Array, Float, Int

from ..monodomain import AbstractRecorder, Step


class VoltageTrace(AbstractRecorder):
    """u at the given nodes at the end of each step: (steps, points)."""

    nodes: Int[Array, " points"]

    def init(self, u: Float[Array, " nodes"]) -> tuple:
        return ()

    def update(self, memory: tuple, step: Step) -> tuple:
        return ()

    def emit(self, step: Step) -> Float[Array, " points"]:
        return step.after[self.nodes]

    def read(self, memory, emitted: Float[Array, "steps points"], dt: float) -> Float[Array, "steps points"]:
        return emitted
