"""Activation and repolarisation times."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..monodomain import AbstractRecorder, Step


class Crossing(eqx.Module):
    """The step in which u crossed the threshold: its start (ms), u and du/dt at both ends, (nodes,).

    `time` is infinite where there was no crossing.
    """

    time: Float[Array, " nodes"]
    before: Float[Array, " nodes"]
    after: Float[Array, " nodes"]
    slope_before: Float[Array, " nodes"]
    slope_after: Float[Array, " nodes"]

    def instant(self, dt: float, threshold: float) -> Float[Array, " nodes"]:
        """When u, as the cubic Hermite polynomial through both ends, meets the threshold, ms.

        Three Newton steps from the linear estimate. Linear interpolation alone has a kink whenever the
        crossing passes a step boundary, which an optimiser feels.
        """
        crossed = jnp.isfinite(self.time)
        # double `where`: nodes without a crossing must not divide by zero, in the value or the derivative
        a = jnp.where(crossed, self.before - threshold, -0.5)
        b = jnp.where(crossed, self.after - threshold, 0.5)
        p = jnp.where(crossed, dt * self.slope_before, 1.0)
        q = jnp.where(crossed, dt * self.slope_after, 1.0)
        s = -a / (b - a)
        c2, c3 = 3.0 * (b - a) - 2.0 * p - q, p + q - 2.0 * (b - a)
        for _ in range(3):
            ahead = a + s * (p + s * (c2 + s * c3))
            slope = p + s * (2.0 * c2 + 3.0 * s * c3)
            # where the cubic is nearly flat the secant is the safe slope
            safe = jnp.where(slope / (b - a) > 0.2, slope, b - a)
            s = jnp.clip(s - ahead / safe, 0.0, 1.0)
        return jnp.where(crossed, self.time + s * dt, jnp.nan)


class ActivationTimes(AbstractRecorder):
    """The first `count` times, ms, at which u rises through `threshold` at each node.

    With `upward=False` the times at which it falls through it: repolarisation. `read` gives (nodes,) for
    one activation and (count, nodes) for more; NaN where there was none, with a derivative of zero there.

    During the solve only the crossing step itself is noted; the interpolation inside it is done once, in
    `read`.
    """

    threshold: float = eqx.field(static=True, default=0.5)
    count: int = eqx.field(static=True, default=1)
    upward: bool = eqx.field(static=True, default=True)

    def init(self, u: Float[Array, " nodes"]) -> tuple[Crossing, ...]:
        zero, never = jnp.zeros_like(u), jnp.full_like(u, jnp.inf)
        return tuple(Crossing(never, zero, zero, zero, zero) for _ in range(self.count))

    def update(self, memory: tuple[Crossing, ...], step: Step) -> tuple[Crossing, ...]:
        sign = 1.0 if self.upward else -1.0
        crossed = (sign * (step.before - self.threshold) < 0.0) & (
            sign * (step.after - self.threshold) >= 0.0
        )
        now = Crossing(
            jnp.broadcast_to(step.time, step.before.shape),
            step.before, step.after, step.slope_before, step.slope_after,
        )  # fmt: skip
        rows = []
        for k, row in enumerate(memory):
            # a place already taken by this very step is taken again: the update is idempotent
            take = crossed & (jnp.isinf(row.time) | (row.time == step.time))
            if k:
                take = take & (memory[k - 1].time < step.time)
            rows.append(jax.tree.map(lambda new, old, take=take: jnp.where(take, new, old), now, row))
        return tuple(rows)

    def emit(self, step: Step) -> None:
        return None

    def read(self, memory: tuple[Crossing, ...], emitted, dt: float):
        times = [row.instant(dt, self.threshold) for row in memory]
        return times[0] if self.count == 1 else jnp.stack(times)
