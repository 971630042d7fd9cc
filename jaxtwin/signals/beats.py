"""Activation and repolarisation of each beat, in a run of several pulses."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..monodomain import Stimulus, beats
from .activation import ActivationTimes


class Beats(eqx.Module):
    """Activation and repolarisation times of each node in each beat, ms; NaN if absent.

    `onset_ms`: (beats,), of the pulses. `activation_ms`, `repolarisation_ms`: (beats, nodes).
    """

    onset_ms: Float[np.ndarray, " beats"]
    activation_ms: Float[np.ndarray, "beats nodes"]
    repolarisation_ms: Float[np.ndarray, "beats nodes"]


def beat_recorders(stimulus: Stimulus) -> tuple[ActivationTimes, ...]:
    """Recorders of all beats of a stimulus (see `jaxtwin.monodomain.beats`), for `beats_of`."""
    later = beats(stimulus)[1:]
    # for later beats two crossings: the first may still belong to the preceding wave
    return (
        ActivationTimes(), ActivationTimes(upward=False),
        *(
            ActivationTimes(count=2, upward=upward, after=float(onset))
            for onset in later for upward in (True, False)
        ),
    )  # fmt: skip


def beats_of(stimulus: Stimulus, records) -> Beats:
    """The beats of a solve, from the `records` of `beat_recorders`.

    Each crossing belongs to one beat: if the preceding wave arrives after the onset of a pulse, the next
    crossing is that of the pulse; and repolarisation follows the activation of its beat.
    """
    rows = [np.atleast_2d(np.asarray(record, np.float64)) for record in records]
    before = np.full(rows[0].shape[1], -np.inf)
    activation, repolarisation = [], []
    for up, down in zip(rows[::2], rows[1::2], strict=True):
        activation.append(_first_after(up, before))
        late = _first_after(down, activation[-1])
        repolarisation.append(np.where(np.isnan(activation[-1]), np.nan, late))
        before = np.fmax(before, activation[-1])
    return Beats(beats(stimulus), np.stack(activation), np.stack(repolarisation))


def _first_after(times: Float[np.ndarray, "count nodes"], moment: Float[np.ndarray, " nodes"]):
    """The first of the sorted times of each row after a given time of each node; NaN if there is none."""
    found = np.where(times > moment, times, np.inf).min(axis=0)
    return np.where(np.isfinite(found), found, np.nan)
