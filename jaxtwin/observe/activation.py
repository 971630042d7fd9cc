"""Activation and repolarisation times."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..monodomain import AbstractRecorder, Step


def crossing(step: Step, threshold: float, upward: bool) -> tuple[Array, Array]:
    """Which nodes cross the threshold in this step, and when, ms.

    u is the cubic Hermite polynomial through both ends and their slopes; three Newton steps from the
    linear estimate find the root. Linear interpolation alone has a kink whenever the crossing passes a
    step boundary, which an optimiser feels.
    """
    sign = 1.0 if upward else -1.0
    before, after = sign * (step.before - threshold), sign * (step.after - threshold)
    crossed = (before < 0.0) & (after >= 0.0)
    # double `where`: nodes that do not cross must not divide by zero, in the value or in the derivative
    a = jnp.where(crossed, before, -0.5)
    b = jnp.where(crossed, after, 0.5)
    p = jnp.where(crossed, sign * step.dt * step.slope_before, 1.0)
    q = jnp.where(crossed, sign * step.dt * step.slope_after, 1.0)
    s = -a / (b - a)
    c2, c3 = 3.0 * (b - a) - 2.0 * p - q, p + q - 2.0 * (b - a)
    for _ in range(3):
        value, slope = a + s * (p + s * (c2 + s * c3)), p + s * (2.0 * c2 + 3.0 * s * c3)
        # where the cubic is not steep enough the secant is the safe slope
        s = jnp.clip(s - value / jnp.maximum(slope, 0.2 * (b - a)), 0.0, 1.0)
    return crossed, step.time + s * step.dt


class ActivationTimes(AbstractRecorder):
    """The first `count` times, ms, at which u rises through `threshold` at each node.

    With `upward=False` the times at which it falls through it: repolarisation. `read` gives (nodes,) for
    one activation and (count, nodes) for more; NaN where there was none, with a derivative of zero there.
    """

    threshold: float = eqx.field(static=True, default=0.5)
    count: int = eqx.field(static=True, default=1)
    upward: bool = eqx.field(static=True, default=True)

    def init(self, u: Float[Array, " nodes"]) -> Float[Array, "count nodes"]:
        return jnp.full((self.count, *u.shape), jnp.inf, u.dtype)

    def update(self, memory: Float[Array, "count nodes"], step: Step) -> Float[Array, "count nodes"]:
        crossed, time = crossing(step, self.threshold, self.upward)
        rows = []
        for k in range(self.count):
            free = jnp.isinf(memory[k])
            if k:
                free = free & ~jnp.isinf(memory[k - 1])
            rows.append(jnp.where(crossed & free, time, memory[k]))
        return jnp.stack(rows)

    def emit(self, step: Step) -> None:
        return None

    def read(self, memory, emitted):
        times = jnp.where(jnp.isinf(memory), jnp.nan, memory)
        return times[0] if self.count == 1 else times
