"""Activation and repolarisation times."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Parameter, nodal
from ..monodomain import AbstractRecorder, Step


@jax.custom_jvp
def fraction_until(
    level: Float[Array, ""],
    before: Float[Array, "..."],
    rise: Float[Array, "..."],
    slope_before: Float[Array, "..."],
    slope_after: Float[Array, "..."],
) -> Float[Array, "..."]:
    """The fraction of a step, 0 to 1, after which u crosses `level`, which lies between the values at its two
    ends.

    Time is a cubic Hermite polynomial of u through both ends, with the slopes there (per step) bounded below
    by a third of the mean slope, so that the polynomial is monotone (Fritsch and Carlson 1980, doi
    10.1137/0717021). As a function of u it needs no iteration, and it is smooth where the crossing moves from
    one step to the next, which an optimiser requires.
    """
    s = (level - before) / rise
    start = 1.0 / jnp.maximum(slope_before / rise, 1.0 / 3.0)
    end = 1.0 / jnp.maximum(slope_after / rise, 1.0 / 3.0)
    return s * ((1.0 - s) ** 2 * start + s * (3.0 - 2.0 * s - (1.0 - s) * end))


@fraction_until.defjvp
def _(primals, tangents):
    """Analytic derivative, with one division for each slope and one for the rise."""
    level, before, rise, slope_before, slope_after = primals
    d_level, d_before, d_rise, d_slope_before, d_slope_after = tangents
    per_rise = 1.0 / rise
    s, p, q = (level - before) * per_rise, slope_before * per_rise, slope_after * per_rise
    start, end = 1.0 / jnp.maximum(p, 1.0 / 3.0), 1.0 / jnp.maximum(q, 1.0 / 3.0)
    t, rest = s * (1.0 - s), 3.0 - 2.0 * s - (1.0 - s) * end
    by_s = (1.0 - s) * (1.0 - 3.0 * s) * start + 6.0 * t + s * (3.0 * s - 2.0) * end
    by_p = jnp.where(p > 1.0 / 3.0, -t * (1.0 - s) * start * start, 0.0)
    by_q = jnp.where(q > 1.0 / 3.0, t * s * end * end, 0.0)
    along = (
        by_s * (d_level - d_before) + by_p * d_slope_before + by_q * d_slope_after
        - (by_s * s + by_p * p + by_q * q) * d_rise
    )  # fmt: skip
    return s * ((1.0 - s) ** 2 * start + s * rest), per_rise * along


class ActivationTimes(AbstractRecorder):
    """Records the first `count` times, ms, from `after` on at which u rises through `threshold` at each node.

    The record is (nodes,) for one activation and (count, nodes) for more; NaN if there is none, with a
    derivative of zero there.

    **Arguments:**

    - `threshold`: in the unit of u; None: the activation level of the cell model. `count`: number of
      crossings.
    - `upward`: False records the times at which u falls through the level (repolarisation).
    - `after`: ms, a number or (nodes,): the onset of the pulse whose beat is wanted, `stimulus.onset[k]`;
      None: from the start of the solve.

    **Example:** `jt.simulate(tissue, times, recorders=(jt.ActivationTimes(),)).records[0]`
    """

    threshold: float | None = eqx.field(static=True, default=None)
    count: int = eqx.field(static=True, default=1)
    upward: bool = eqx.field(static=True, default=True)
    after: Float[Array, ""] | Float[Array, " nodes"] | None = nodal(default=None)

    def __init__(
        self,
        threshold: float | None = None,
        count: int = 1,
        upward: bool = True,
        after: Parameter | None = None,
    ):
        self.threshold, self.count, self.upward = threshold, count, upward
        # the choice of the crossing is not a smooth function of it
        self.after = None if after is None else jax.lax.stop_gradient(jnp.asarray(after, float))

    def init(self, u: Float[Array, " nodes"]) -> tuple[Float[Array, " nodes"], ...]:
        return (jnp.full_like(u, jnp.inf),) * self.count

    def update(self, memory, step: Step):
        sign, level = (1.0, step.threshold) if self.upward else (-1.0, step.recovery)
        if self.threshold is not None:
            level = self.threshold
        crossed = (sign * (step.before - level) < 0.0) & (sign * (step.after - level) >= 0.0)
        # nodes without a crossing must not divide by zero, in the value or the derivative
        rise = jnp.where(crossed, step.after - step.before, sign)
        part = fraction_until(
            jnp.asarray(level, step.before.dtype), step.before, rise,
            step.dt * step.slope_before, step.dt * step.slope_after,
        )  # fmt: skip
        time, rows = step.time + step.dt * part, []
        if self.after is not None:
            crossed = crossed & (time >= self.after.astype(time.dtype))
        for k, row in enumerate(memory):
            # a slot already filled by this step is filled again: the update is idempotent
            take = crossed & (row >= step.time)
            if k:
                take = take & (memory[k - 1] < step.time)
            rows.append(jnp.where(take, time, row))
        return tuple(rows)

    def emit(self, step: Step) -> None:
        return None

    def activated(self, record):
        return jnp.isfinite(record).any() if self.upward else None

    def read(self, memory, emitted, dt: float):
        times = [jnp.where(jnp.isinf(row), jnp.nan, row) for row in memory]
        return times[0] if self.count == 1 else jnp.stack(times)
