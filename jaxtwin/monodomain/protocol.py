"""Pacing protocols: trains of pulses whose onsets may be traced, differentiated and batched."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._results import InputError
from .._types import Parameter
from .stimulus import Stimulus

APART = 50.0  # ms; pulses at least this far apart start separate waves


def train(site: Stimulus, onsets) -> Stimulus:
    """Repeats the stimulus `site` at several onsets.

    **Arguments:** `site`: one or more pulses. `onsets`: (pulses,), ms, each added to the onset of `site`.

    **Returns:** a `Stimulus`.

    **Example:**

    ```python
    site = jt.pulse(jt.in_sphere(mesh, (0.0, 0.0), 2.0), len(mesh.points))
    paced = jt.train(site, [0.0, 300.0, 580.0])
    ```
    """
    onsets = jnp.asarray(onsets, site.onset.dtype)
    count = onsets.shape[0]
    return Stimulus(
        site.site * count, jnp.ravel(onsets[:, None] + site.onset[None]), jnp.tile(site.duration, count),
        site.strength, site.delay,
    )  # fmt: skip


def burst(site: Stimulus, cycle_ms: Parameter, count: int) -> Stimulus:
    """Repeats the stimulus `site` `count` times with a cycle length of `cycle_ms`.

    **Example:** `jt.burst(site, 250.0, 8)` paces eight times at a cycle length of 250 ms.
    """
    if count < 1:
        raise InputError(f"{count} pulses", "1 or more", "Correct the count")
    return train(site, jnp.asarray(cycle_ms, site.onset.dtype) * jnp.arange(count, dtype=site.onset.dtype))


def s1s2(site: Stimulus, s1_ms: Parameter, count: int, *couplings_ms: Parameter) -> Stimulus:
    """Extrastimulus protocol: `count` pulses S1 with a cycle length of `s1_ms`, then S2, S3, ..., each after
    its coupling interval, ms.

    The extrastimuli are the pulses number `count`, `count` + 1, ... For an extrastimulus at another site
    write `burst(site, s1_ms, count) + train(other, [onset])`.

    **Example:** `jt.s1s2(site, 400.0, 3, 280.0)` gives three S1 and one S2.
    """
    if count < 1:
        raise InputError(f"{count} pulses S1", "1 or more", "Correct the count")
    intervals = [0.0, *[s1_ms] * (count - 1), *couplings_ms]
    return train(site, jnp.cumsum(jnp.stack([jnp.asarray(i, site.onset.dtype) for i in intervals])))


def decremental(site: Stimulus, first_ms: float, last_ms: float, step_ms: float) -> Stimulus:
    """Decremental ramp: intervals between pulses from `first_ms` down to `last_ms`, each shorter by
    `step_ms`."""
    if not (first_ms >= last_ms > 0 and step_ms > 0):
        raise InputError(
            f"intervals from {first_ms:g} down to {last_ms:g} ms in steps of {step_ms:g} ms",
            "a last interval above 0 and not above the first, and a step above 0", "Correct the ramp",
        )  # fmt: skip
    intervals = np.arange(first_ms, last_ms - 1e-9 * step_ms, -step_ms)
    return train(site, np.r_[0.0, np.cumsum(intervals)])


def beats(stimulus: Stimulus, apart_ms: float = APART) -> Float[np.ndarray, " beats"]:
    """Onsets of the beats of a stimulus, ms: pulses less than `apart_ms` apart belong to one beat."""
    onsets = np.sort(np.asarray(stimulus.onset, np.float64))
    return onsets[np.r_[True, np.diff(onsets) >= apart_ms]]
