"""Pacing protocols: trains of pulses, their onsets free to be traced, differentiated and batched."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._results import InputError
from .._types import Parameter
from .stimulus import Stimulus

APART = 50.0  # ms between onsets from which on pulses start waves of their own


def train(site: Stimulus, onsets) -> Stimulus:
    """The stimulus `site` again and again, at `onsets`, ms (pulses,), each added to its own onset."""
    onsets = jnp.asarray(onsets, site.onset.dtype)
    count = onsets.shape[0]
    return Stimulus(
        site.site * count, jnp.ravel(onsets[:, None] + site.onset[None]), jnp.tile(site.duration, count),
        site.strength, site.delay,
    )  # fmt: skip


def burst(site: Stimulus, cycle_ms: Parameter, count: int) -> Stimulus:
    """`count` pulses with `cycle_ms` between their onsets."""
    if count < 1:
        raise InputError(f"{count} pulses", "1 or more", "Correct the count")
    return train(site, jnp.asarray(cycle_ms, site.onset.dtype) * jnp.arange(count, dtype=site.onset.dtype))


def s1s2(site: Stimulus, s1_ms: Parameter, count: int, *couplings_ms: Parameter) -> Stimulus:
    """`count` pulses S1 with `s1_ms` between them, then S2, S3, ..., each after its coupling interval, ms.

    The extrastimuli are the pulses number `count`, `count` + 1, ... For one at another site:
    `burst(site, s1_ms, count) + train(other, [onset])`.
    """
    if count < 1:
        raise InputError(f"{count} pulses S1", "1 or more", "Correct the count")
    intervals = [0.0, *[s1_ms] * (count - 1), *couplings_ms]
    return train(site, jnp.cumsum(jnp.stack([jnp.asarray(i, site.onset.dtype) for i in intervals])))


def decremental(site: Stimulus, first_ms: float, last_ms: float, step_ms: float) -> Stimulus:
    """A ramp: intervals between pulses from `first_ms` down to `last_ms`, each shorter by `step_ms`."""
    if not (first_ms >= last_ms > 0 and step_ms > 0):
        raise InputError(
            f"intervals from {first_ms:g} down to {last_ms:g} ms in steps of {step_ms:g} ms",
            "a last interval above 0 and not above the first, and a step above 0", "Correct the ramp",
        )  # fmt: skip
    intervals = np.arange(first_ms, last_ms - 1e-9 * step_ms, -step_ms)
    return train(site, np.r_[0.0, np.cumsum(intervals)])


def beats(stimulus: Stimulus, apart_ms: float = APART) -> Float[np.ndarray, " beats"]:
    """When the beats of a stimulus begin, ms: onsets less than `apart_ms` apart share a beat."""
    onsets = np.sort(np.asarray(stimulus.onset, np.float64))
    return onsets[np.r_[True, np.diff(onsets) >= apart_ms]]
