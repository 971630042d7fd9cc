"""A single cell, paced."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._results import InputError
from .._types import Parameter
from .model import AbstractIonicModel

FINE_MS = 20.0  # from the stimulus on, in which steps are short
LONGER = 5  # times a short step, for the rest of the cycle

Cell = tuple[Float[Array, ""], PyTree[Float[Array, ""]]]
"""u and all other states."""


class Paced(eqx.Module):
    """What a cell does in its last beats.

    - `times_ms`: (samples,), from the stimulus of the first of them. `u`: (samples,), in the unit of the
      model, and `rate`: (samples,), du/dt per ms at the same times, the stimulus included.
    - `beat`: (samples,), the beat of each sample. `before`: (beats,), u before the stimulus of each.
    - `state`: u and all other states at the end, from which pacing may go on. `threshold`: u above which the
      model counts as activated.
    """

    times_ms: Float[Array, " samples"]
    u: Float[Array, " samples"]
    rate: Float[Array, " samples"]
    beat: Float[Array, " samples"]
    before: Float[Array, " beats"]
    state: Cell
    threshold: float = eqx.field(static=True)


class Pulse(eqx.Module):
    """A stimulus and the steps in which it is followed.

    - `strength`: du/dt, 1/ms times the unit of u. `duration_ms`: how long it lasts. `step_ms`: of the first
      20 ms from it on.
    """

    strength: Float[Array, ""]
    duration_ms: float = eqx.field(static=True)
    step_ms: float = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        model: AbstractIonicModel,
        strength: Parameter | None = None,
        duration_ms: float = 2.0,
        step_ms: float = 0.02,
    ) -> "Pulse":
        """The stimulus that a model asks for, or one of another strength."""
        return cls(jnp.asarray(model.strength if strength is None else strength, float), duration_ms, step_ms)

    def steps(self, interval_ms: float) -> int:
        """The number of long steps in an interval. Raises `InputError` for one that is too short."""
        if not interval_ms > FINE_MS:
            raise InputError(
                f"an interval of {interval_ms:g} ms between stimuli", f"more than {FINE_MS:g} ms",
                "Lengthen the interval",
            )  # fmt: skip
        return max(round((interval_ms - FINE_MS) / (LONGER * self.step_ms)), 1)


def pace(
    model: AbstractIonicModel,
    intervals_ms: tuple[float, ...] = (1000.0,),
    *,
    prepacing: int = 0,
    strength: Parameter | None = None,
    duration_ms: float = 2.0,
    step_ms: float = 0.02,
    state: tuple[Parameter, PyTree] | None = None,
) -> Paced:
    """Paces a single cell, second order in the step, and records the beats of `intervals_ms`.

    Steps are `step_ms` in the first 20 ms of each beat and five times as long after it. All parameters of the
    model may be differentiated, and several cells run at once under `jax.vmap`.

    **Arguments:**

    - `intervals_ms`: from the stimulus of each recorded beat to that of the next, or to the end.
    - `prepacing`: beats before them, at the first of these intervals.
    - `strength`: du/dt of the stimulus, 1/ms times the unit of u; what the model asks for if omitted.
      `duration_ms`: how long it lasts.
    - `state`: u and the other states to begin with; those of the model at rest if omitted.

    **Raises:** `InputError` for an interval that is not longer than the first 20 ms.

    **Example:** `jt.pace(jt.TenTusscherPanfilov(), prepacing=100).u`
    """
    pulse = Pulse.of(model, strength, duration_ms, step_ms)
    steps = [pulse.steps(interval) for interval in intervals_ms]
    start = model.resting() if state is None else state
    # numbers would be constants of the program: another block of a channel would compile it anew
    model, start = jax.tree.map(lambda x: jnp.asarray(x, float), (model, start))
    each = [jnp.asarray(interval, float) for interval in intervals_ms]
    start = _prepaced(model, start, prepacing, each[0], pulse, steps[0])
    rows, elapsed = [], 0.0
    for k, interval in enumerate(each):
        before = start[0]
        start, (at, u, rate) = one_beat(model, start, interval, pulse, steps[k])
        rows.append((elapsed + at, u, rate, jnp.full_like(at, k), before[None]))
        elapsed = elapsed + interval
    times, u, rate, beat, before = (jnp.concatenate(parts) for parts in zip(*rows, strict=True))
    return Paced(times, u, rate, beat, before, start, model.threshold)


@eqx.filter_jit
def _prepaced(model, start: Cell, count: int, interval, pulse: Pulse, steps: int) -> Cell:
    @jax.checkpoint
    def one(state, _):
        return one_beat(model, state, interval, pulse, steps)[0], None

    return jax.lax.scan(one, start, None, length=count)[0]


@eqx.filter_jit
def one_beat(model: AbstractIonicModel, start: Cell, interval, pulse: Pulse, steps: int):
    """The state after one interval, and times, u and du/dt within it; `steps`: long steps in it.

    As in tissue: the other states stand at the middle of the step while u moves.
    """

    def move(dt, first: float):
        def one(state: Cell, index):
            u, others = state
            at = first + index * dt
            # the mean of the stimulus over the step: exact for any step
            drive = pulse.strength * jnp.clip(pulse.duration_ms - at, 0.0, dt) / dt
            slope = model.reaction(u, others) + drive
            middle = model.relax(others, u, u + 0.5 * dt * slope, 0.5 * dt)
            halfway = u + 0.5 * dt * (model.reaction(u, middle) + drive)
            after = u + dt * (model.reaction(halfway, middle) + drive)
            others = model.relax(others, u, after, dt)
            if model.stimulated is not None:
                name, per_u = model.stimulated
                others = others | {name: others[name] + per_u * dt * drive}
            return (after, others), (at, u, slope)

        return one

    short = round(FINE_MS / pulse.step_ms)
    begin = short * pulse.step_ms
    index = jnp.arange(max(short, steps), dtype=float)
    state, first = jax.lax.scan(move(pulse.step_ms, 0.0), start, index[:short])
    state, second = jax.lax.scan(move((interval - begin) / steps, begin), state, index[:steps])
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)
