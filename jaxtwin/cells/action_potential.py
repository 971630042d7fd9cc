"""What is measured on an action potential, and how it depends on the beat before."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .model import AbstractIonicModel
from .pacing import Cell, Paced, Pulse, one_beat, pace

FULL = 0.5  # of the way up of a full action potential, below which a beat is no response


class ActionPotential(eqx.Module):
    """An action potential in numbers; arrays over the beats. Durations are NaN where u stays below the
    threshold of the model or does not come back.

    - `rest`: u before the stimulus. `peak`: the largest u. Both in the unit of the model.
    - `upstroke`: the largest du/dt, the stimulus included.
    - `apd50_ms`, `apd90_ms`: from the largest du/dt until u has lost 50 or 90 % of the way from its peak back
      to `rest`.
    """

    rest: Float[Array, " beats"]
    peak: Float[Array, " beats"]
    upstroke: Float[Array, " beats"]
    apd50_ms: Float[Array, " beats"]
    apd90_ms: Float[Array, " beats"]


def action_potentials(paced: Paced) -> ActionPotential:
    """The action potentials of all recorded beats, between samples by interpolation, so that they have
    derivatives."""
    found = [_numbers(paced, k) for k in range(len(paced.before))]
    return ActionPotential(paced.before, *(jnp.stack(column) for column in zip(*found, strict=True)))


def _numbers(paced: Paced, k: int):
    t, u, own = paced.times_ms, paced.u, paced.beat == k
    begin, upstroke = _top(t, paced.rate, jnp.argmax(jnp.where(own, paced.rate, -jnp.inf)))
    highest = jnp.argmax(jnp.where(own, u, -jnp.inf))
    _, peak = _top(t, u, highest)
    levels = [peak - share * (peak - paced.before[k]) for share in (0.5, 0.9)]
    excited = own & (t > t[highest]) & (peak > paced.threshold)
    apd = [_fall(t, u, excited, level) - begin for level in levels]
    return peak, upstroke, *apd


def _top(t, values, index):
    """Place and height of the parabola through a sample and its neighbours; the sample itself where the
    steps differ or the neighbours are not below it."""
    index = jnp.clip(index, 1, len(t) - 2)
    a, b, c = values[index - 1], values[index], values[index + 1]
    step = t[index] - t[index - 1]
    bend = a - 2.0 * b + c
    fits = (bend < 0.0) & (jnp.abs(t[index + 1] - t[index] - step) < 1e-3 * step)
    away = jnp.where(fits, jnp.clip(0.5 * (a - c) / jnp.where(fits, bend, 1.0), -1.0, 1.0), 0.0)
    return t[index] + away * step, b - 0.25 * (a - c) * away


def _fall(t, u, own, level):
    """When u falls through a level; NaN if it does not."""
    below = own & (u <= level)
    last = jnp.argmax(below)
    before = jnp.maximum(last - 1, 0)
    drop = u[before] - u[last]
    share = (u[before] - level) / jnp.where(drop > 0.0, drop, 1.0)
    return jnp.where(below.any(), t[before] + share * (t[last] - t[before]), jnp.nan)


class Restitution(eqx.Module):
    """How a premature beat depends on the time since the beat before; arrays over the coupling intervals.

    - `coupling_ms`: from the last stimulus of S1 to that of S2. `diastolic_ms`: from 90 % repolarisation to
      S2. `apd90_ms`: of S2, until the level of 90 % repolarisation of S1; NaN where there is no response.
    - `s1_apd90_ms`: of the last beat of S1.
    """

    coupling_ms: Float[Array, " intervals"]
    diastolic_ms: Float[Array, " intervals"]
    apd90_ms: Float[Array, " intervals"]
    s1_apd90_ms: Float[Array, ""]


def restitution(
    model: AbstractIonicModel,
    coupling_ms: Float[np.ndarray, " intervals"],
    *,
    interval_ms: float = 1000.0,
    beats: int = 100,
    after_ms: float = 1000.0,
    state: Cell | None = None,
    **stimulus,
) -> Restitution:
    """S1-S2 restitution of a single cell: `beats` of S1 at `interval_ms`, then S2 at each coupling interval.

    All premature beats run at once. `after_ms`: recorded after S2. `state`: u and the other states from which
    S1 begins, at rest if omitted; with that of a paced cell one beat is enough. `stimulus`: `strength`,
    `duration_ms` and `step_ms`, see `pace`. Raises `InputError` for coupling intervals of 20 ms or less.
    """
    pulse = Pulse.of(model, **stimulus)
    if beats > 1:
        state = pace(model, (interval_ms,), prepacing=beats - 2, state=state, **stimulus).state
    begin = model.resting() if state is None else state
    model, begin = jax.tree.map(lambda x: jnp.asarray(x, float), (model, begin))
    last = pace(model, (interval_ms,), state=begin, **stimulus)
    s1 = action_potentials(last)
    coupling = np.asarray(coupling_ms, np.float64)
    steps = max(pulse.steps(float(c)) for c in coupling)
    level = s1.peak[0] - 0.9 * (s1.peak[0] - s1.rest[0])

    def premature(interval):
        state, _ = one_beat(model, begin, interval, pulse, steps)
        _, (t, u, rate) = one_beat(model, state, jnp.asarray(after_ms, float), pulse, pulse.steps(after_ms))
        steepest, _ = _top(t, rate, jnp.argmax(rate))
        highest = jnp.argmax(u)
        high_enough = u[highest] - s1.rest[0] > FULL * (s1.peak[0] - s1.rest[0])
        apd = _fall(t, u, t > t[highest], level) - steepest
        return jnp.where(high_enough & (state[0] < level), apd, jnp.nan)

    found = jax.vmap(premature)(jnp.asarray(coupling))
    steepest, _ = _top(last.times_ms, last.rate, jnp.argmax(last.rate))
    coupling, apd = jnp.asarray(coupling), s1.apd90_ms[0]
    return Restitution(coupling, coupling - steepest - apd, found, apd)
