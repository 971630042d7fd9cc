"""Beats of a run: each crossing belongs to one of them."""

import jax.numpy as jnp
import numpy as np

import jaxtwin as jt
from jaxtwin.signals import beat_recorders, beats_of

TWO = jt.train(jt.pulse([0], 3), [0.0, 100.0])


def test_a_beat_has_its_own_activation_and_the_repolarisation_that_follows_it():
    """Node 0 twice; node 1 is reached by the first wave after the second onset; node 2 only once."""
    nan = np.nan
    first, first_late = [10.0, 120.0, 30.0], [80.0, 190.0, 130.0]
    second = [[110.0, 120.0, nan], [nan, 230.0, nan]]
    second_late = [[180.0, 190.0, 130.0], [nan, 290.0, nan]]
    found = beats_of(TWO, [jnp.asarray(r) for r in (first, first_late, second, second_late)])
    np.testing.assert_array_equal(found.onset_ms, [0.0, 100.0])
    np.testing.assert_array_equal(found.activation_ms, [first, [110.0, 230.0, nan]])
    np.testing.assert_array_equal(found.repolarisation_ms, [first_late, [180.0, 290.0, nan]])


def test_recorders_are_those_of_each_beat():
    recorders = beat_recorders(TWO)
    assert [(r.count, r.upward, r.after) for r in recorders] == [
        (1, True, None), (1, False, None), (2, True, 100.0), (2, False, 100.0),
    ]  # fmt: skip
    assert len(beat_recorders(jt.pulse([0], 3) + jt.pulse([2], 3, onset=20.0))) == 2
