"""Activation times of voltages that are known in closed form, step by step as a solve hands them over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.monodomain import Step

PERIOD = 9.0
# none on the grid in time: a solve hands over the very same u twice, a formula only to round-off
PHASES = np.linspace(0.0123, 0.8991, 31) * PERIOD
UPSTROKES = np.linspace(2.0123, 5.0, 31)


def wave(t):
    """Rises through 0.5 at t = phase + k PERIOD, falls through it half a period later."""
    return 0.5 + 0.5 * jnp.sin(2 * jnp.pi * (t - PHASES) / PERIOD)


def front(t):
    """An upstroke that passes p at UPSTROKES + 0.5 log(p/(1 - p)) ms; never comes to the last two nodes."""
    far = jnp.asarray(np.append(UPSTROKES, [1e4, 1e5]))
    return jax.nn.sigmoid((t - far) / 0.5)


def step_at(t, u, dt):
    """The step from t of a solve whose voltage is u(t), with exact slopes."""
    (before, slope_before), (after, slope_after) = (
        jax.jvp(u, (end,), (jnp.ones_like(end),)) for end in (t, t + dt)
    )
    rest = (jnp.zeros_like(before), None, 0.5, 0.5)
    return Step(t, dt, before, after, slope_before, slope_after, *rest)


def starts(dt, stop):
    return dt * jnp.arange(round(stop / dt), dtype=float)


def record(recorder, u, dt, stop):
    """The record, and the memory that it was read from."""

    @jax.jit
    def fold(times):
        def update(memory, t):
            return recorder.update(memory, step_at(t, u, dt)), None

        memory, _ = jax.lax.scan(update, recorder.init(u(times[0])), times)
        return recorder.read(memory, None, dt), memory

    return fold(starts(dt, stop))


@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_activation_between_steps_is_of_fourth_order(threshold):
    """An upstroke of 0.5 ms in steps of 0.4 to 0.05 ms: linear interpolation would be of second order."""
    sizes, errors = [0.4, 0.2, 0.1, 0.05], []
    for dt in sizes:
        lat, _ = record(jt.ActivationTimes(threshold), front, dt, 10.0)
        assert np.isnan(lat[-2:]).all()
        wanted = UPSTROKES + 0.5 * np.log(threshold / (1 - threshold))
        errors.append(np.abs(lat[:-2] - wanted).max())
    assert errors[2] < 1e-3
    assert np.polyfit(np.log(sizes), np.log(errors), 1)[0] > 3.5


@pytest.mark.parametrize("upward", [True, False])
def test_several_activations_in_their_order(upward):
    """Four places for two or three crossings: the rest is NaN. Downwards half a period later."""
    found, _ = record(jt.ActivationTimes(count=4, upward=upward), wave, 0.1, 25.0)
    assert found.shape == (4, len(PHASES))
    for row, phase in zip(found.T, PHASES, strict=True):
        times = phase + PERIOD * np.arange(-1, 4) + (0.0 if upward else PERIOD / 2)
        wanted = times[(times > 1e-9) & (times < 25.0)]
        np.testing.assert_allclose(row[: len(wanted)], wanted, atol=1e-5)
        assert np.isnan(row[len(wanted) :]).all()


def test_only_the_first_activation_is_kept_where_one_is_asked_for():
    many, _ = record(jt.ActivationTimes(count=3), wave, 0.1, 25.0)
    one, _ = record(jt.ActivationTimes(), wave, 0.1, 25.0)
    np.testing.assert_array_equal(one, many[0])


@pytest.mark.parametrize("after", [None, 12.0])
@pytest.mark.parametrize("count", [1, 3])
def test_the_update_is_idempotent(count, after):
    """Every step seen again with the memory of the end changes nothing: the adjoint relies on it."""
    recorder = jt.ActivationTimes(count=count, after=after)
    _, memory = record(recorder, wave, 0.1, 25.0)
    again = jax.jit(jax.vmap(lambda t: recorder.update(memory, step_at(t, wave, 0.1))))(starts(0.1, 25.0))
    for now, then in zip(jax.tree.leaves(again), jax.tree.leaves(memory), strict=True):
        np.testing.assert_array_equal(now, np.broadcast_to(then, now.shape))


def test_the_memory_of_the_end_gives_each_step_its_own_derivative():
    """Summed over the steps, the derivatives of the updates of that memory are those of the whole fold."""
    recorder, zero, one = jt.ActivationTimes(count=3), jnp.asarray(0.0), jnp.asarray(1.0)

    def shifted(shift):
        return lambda t: wave(t - shift)

    def whole(shift):
        return record(recorder, shifted(shift), 0.1, 25.0)[1]

    memory, wanted = jax.jvp(whole, (zero,), (one,))

    @jax.jit
    @jax.vmap
    def each(t):
        return jax.jvp(lambda s: recorder.update(memory, step_at(t, shifted(s), 0.1)), (zero,), (one,))[1]

    for terms, total in zip(*map(jax.tree.leaves, (each(starts(0.1, 25.0)), wanted)), strict=True):
        np.testing.assert_allclose(terms.sum(axis=0), total, atol=1e-12)
    assert np.abs(wanted[0]).min() > 0.1


def test_the_derivative_is_that_of_the_crossing_and_zero_where_none_is():
    """d LAT / d shift = 1 for u(t - shift); exactly 0, not NaN, where nothing comes."""

    def lat(shift):
        return record(jt.ActivationTimes(), lambda t: front(t - shift), 0.1, 10.0)[0]

    slope = jax.jacfwd(lat)(jnp.asarray(0.03))
    np.testing.assert_allclose(slope[:-2], 1.0, atol=2e-3)
    np.testing.assert_array_equal(slope[-2:], 0.0)


def test_a_voltage_that_starts_above_the_threshold_is_no_activation():
    u = np.array([0.6, 0.5, 0.4])  # above, on, and below the threshold
    found, _ = record(jt.ActivationTimes(), lambda t: u + 0.2 * t, 0.1, 2.0)
    np.testing.assert_allclose(found, [np.nan, np.nan, 0.5], atol=1e-12)


def test_times_from_an_onset_on_are_those_of_the_beat_that_is_meant():
    """The second crossing of one node is the first of another: `after` says which wave, not its number."""
    after = 12.0
    found, memory = record(jt.ActivationTimes(after=after), wave, 0.1, 25.0)
    wanted = PHASES + PERIOD * np.ceil((after - PHASES) / PERIOD)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert len(memory) == 1
    by_node = np.linspace(0.0, 15.0, len(PHASES))
    each, _ = record(jt.ActivationTimes(after=jnp.asarray(by_node), count=2), wave, 0.1, 25.0)
    wanted = PHASES + PERIOD * np.ceil((by_node - PHASES) / PERIOD)
    wanted = np.where(wanted < 1e-9, wanted + PERIOD, wanted)
    np.testing.assert_allclose(each[0], wanted, atol=1e-5)
    np.testing.assert_allclose(each[1], np.where(wanted + PERIOD < 25.0, wanted + PERIOD, np.nan), atol=1e-5)


def test_an_onset_may_be_traced_and_has_no_derivative_of_its_own():
    def lat(after, shift):
        recorder = jt.ActivationTimes(after=after)
        return record(recorder, lambda t: wave(t - shift), 0.1, 25.0)[0][3]

    by_after, by_shift = jax.jit(jax.grad(lat, (0, 1)))(jnp.asarray(12.0), jnp.asarray(0.0))
    assert by_after == 0.0
    assert float(by_shift) == pytest.approx(1.0, abs=1e-3)
