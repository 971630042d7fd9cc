"""Pulses: nothing of them is lost between steps, and lists of nodes that hit nothing are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxtwin as jt
from jaxtwin.anatomy import Mesh
from jaxtwin.monodomain import Stimulus

PULSES = st.lists(
    st.tuples(st.floats(0.05, 2), st.floats(0.5, 8), st.floats(0.01, 4)), min_size=1, max_size=3
)


def delivered(stimulus: Stimulus, dt: float, stop: float) -> jax.Array:
    """The sum of mean times dt over all steps until `stop`."""
    ends = jnp.asarray(dt * np.arange(int(np.ceil(stop / dt)) + 1))
    steps = jnp.diff(ends)[:, None]
    return jnp.sum(steps * jax.vmap(stimulus.mean)(ends[:-1], ends[1:]), axis=0)


@settings(max_examples=25, deadline=None)
@given(PULSES, st.floats(0.5, 3))
def test_every_pulse_is_delivered_in_full_whatever_the_step(pulses, dt):
    """The integral is strength times duration, also of pulses shorter than a step; the sum that of all."""
    trains = [jt.pulse([1], 2, strength=s, onset=o, duration=d) for s, o, d in pulses]
    train = trains[0]
    for other in trains[1:]:
        train = train + other
    total = delivered(train, dt, 13.0)
    assert total[0] == 0.0
    assert total[1] == pytest.approx(sum(s * d for s, _, d in pulses), rel=1e-12)


def test_mean_over_a_step():
    """1/ms from 2.3 to 4.3 ms, by hand on steps of 1 ms; nothing before 2 or after 5 ms."""
    stimulus = jt.pulse([0], 1, strength=1.0, onset=2.3, duration=2.0)
    means = [float(stimulus.mean(jnp.asarray(t), jnp.asarray(t + 1.0))[0]) for t in np.arange(0.0, 7.0)]
    np.testing.assert_allclose(means, [0, 0, 0.7, 1.0, 0.3, 0, 0], atol=1e-15)


@pytest.mark.parametrize("dt", [0.1, 0.25, 0.3])
def test_no_derivative_is_lost_where_a_pulse_ends_with_a_step(dt):
    """d delivered/d duration is the strength and d delivered/d onset is 0, also where the ends coincide."""

    def total(onset, duration):
        one = jnp.ones(1)
        return delivered(Stimulus((0,), onset * one, duration * one, jnp.full((1, 1), 0.7)), dt, 6.0)[0]

    by_onset, by_duration = jax.grad(total, (0, 1))(jnp.asarray(0.0), jnp.asarray(10 * dt))
    assert by_onset == pytest.approx(0.0, abs=1e-12)
    assert by_duration == pytest.approx(0.7, rel=1e-12)


def test_plus_keeps_the_pulses_of_both_in_order():
    one = jt.pulse([0, 2], 3, onset=[1.0, 2.0], strength=0.4)
    two = jt.pulse([1], 3, onset=5.0, duration=1.0)
    both = one + two
    assert both.pulses == 2
    assert both.duration.tolist() == [2.0, 1.0]
    assert both.strength.tolist() == [[0.4, 0.0, 0.4], [0.0, 0.5, 0.0]]
    for number, (nodes, onset) in enumerate((([0, 2], [1.0, 2.0]), ([1], [5.0]))):
        found = both.starts(number)
        assert [part.tolist() for part in found] == [nodes, onset]
    with pytest.raises(jt.InputError, match=r"pulse number 2 of a stimulus of 2"):
        both.starts(2)


def test_pulse_takes_indices_and_masks_alike():
    mask = np.array([False, True, False, True])
    by_mask, by_index = jt.pulse(mask, 4, onset=[1.0, 2.0]), jt.pulse([1, 3], 4, onset=[1.0, 2.0])
    for name in ("strength", "onset", "duration", "delay"):
        np.testing.assert_array_equal(getattr(by_mask, name), getattr(by_index, name))


@pytest.mark.parametrize("wrong", [{"onset": np.nan}, {"strength": np.inf}, {"duration": 0.0}])
def test_numbers_that_make_no_pulse_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(jt.InputError, match=f"Correct the {name}"):
        jt.pulse([0], 5, **wrong)


@pytest.mark.parametrize("nodes", [[], np.zeros(5, bool)], ids=["indices", "mask"])
def test_a_stimulus_that_hits_nothing_is_refused(nodes):
    with pytest.raises(jt.InputError, match=r"hits no node.*enlarge its radius"):
        jt.pulse(nodes, 5)


@pytest.mark.parametrize("nodes", [[-1, 2], [0, 5]])
def test_nodes_of_another_mesh_are_refused(nodes):
    with pytest.raises(jt.InputError, match=r"Wanted nodes between 0 and 4\."):
        jt.pulse(nodes, 5)


def test_masks_of_spheres_and_regions():
    """Distances in mm, borders included; a node belongs to every region it touches."""
    line = jt.cable(4.0, 1.0)
    mesh = Mesh(line.points, line.cells, line.fibres, [7, 7, 8, 9])
    assert jt.in_sphere(mesh, [1.0], 1.0).tolist() == [True, True, True, False, False]
    assert jt.in_sphere(mesh, [9.0], 1.0).sum() == 0
    assert jt.in_regions(mesh, 8).tolist() == [False, False, True, True, False]
    assert jt.in_regions(mesh, [7, 9]).tolist() == [True, True, True, True, True]
    assert not jt.in_regions(mesh, [1]).any()


@pytest.mark.parametrize(
    ("nodes", "message"), [(np.ones(5, bool), "one entry for each of 9"), ([1.9], "whole numbers or a mask")]
)
def test_masks_of_another_mesh_and_fractions_are_refused(nodes, message):
    with pytest.raises(jt.InputError, match=message):
        jt.pulse(nodes, 9)
