"""The event-consistent gate: the fraction is exact, the gate continuous, its derivatives finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxtwin.cells.gate import fraction_below, relax_gate

UNIT = st.floats(-0.2, 1.2)
OPEN, CLOSE, THRESHOLD = 120.0, 150.0, 0.13
TIMES = {"threshold": THRESHOLD, "tau_open": OPEN, "tau_close": CLOSE}


def scalar(x) -> jax.Array:
    return jnp.asarray(x, float)


@settings(max_examples=300, deadline=None)
@given(UNIT, UNIT, st.floats(0.01, 0.9))
def test_fraction_is_that_of_the_straight_line(before, after, threshold):
    """From the crossing time itself, the two cases apart; the same upwards and downwards."""
    found = float(fraction_below(scalar(before), scalar(after), threshold))
    if (before < threshold) == (after < threshold):
        wanted = float(before < threshold)
    else:
        crossing = (threshold - before) / (after - before)
        wanted = crossing if before < after else 1.0 - crossing
    assert 0.0 <= found <= 1.0
    if abs(after - before) > 1e-6:
        # the quotient is guarded by 1e-12
        assert found == pytest.approx(wanted, abs=1e-8 + 1e-12 / abs(after - before))
    assert found == float(fraction_below(scalar(after), scalar(before), threshold))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("u", [0.0, 0.13, 0.5])
def test_derivatives_are_finite_where_u_does_not_move(u, dtype):
    """Also exactly at the threshold, where the fraction jumps."""
    same = jnp.asarray(u, dtype)
    threshold = jnp.asarray(0.13, dtype)
    assert float(fraction_below(same, same, threshold)) == float(u < 0.13)
    slopes = jax.grad(fraction_below, argnums=(0, 1, 2))(same, same, threshold)
    assert all(s.dtype == dtype and np.isfinite(s) for s in slopes)


def test_fraction_has_the_derivative_of_the_crossing_time():
    """f = (c - p)/(q - p): df/dp = (c - q)/(q - p)^2, df/dq = -f/(q - p), df/dc = 1/(q - p)."""
    p, q, c = 0.05, 0.35, 0.13
    slopes = jax.grad(fraction_below, argnums=(0, 1, 2))(scalar(p), scalar(q), scalar(c))
    wanted = (c - q) / (q - p) ** 2, -(c - p) / (q - p) ** 2, 1.0 / (q - p)
    np.testing.assert_allclose(slopes, wanted, rtol=1e-10)


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), UNIT, UNIT, st.floats(0.01, 10))
def test_the_gate_stays_between_0_and_1(h, before, after, dt):
    assert 0.0 <= float(relax_gate(scalar(h), scalar(before), scalar(after), dt, **TIMES)) <= 1.0


def exact(h, before, after, dt):
    """The gate of the original equations over a step with u on a straight line: two exponentials."""

    def opened(h, t):
        return 1.0 - (1.0 - h) * np.exp(-t / OPEN)

    def closed(h, t):
        return h * np.exp(-t / CLOSE)

    below = dt * float(np.clip((THRESHOLD - min(before, after)) / max(abs(after - before), 1e-300), 0, 1))
    if before < after:
        return closed(opened(h, below), dt - below)
    return opened(closed(h, dt - below), below)


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.1), (0.1, 0.0), (0.5, 0.9), (0.1, 0.3), (0.9, 0.05)])
def test_one_step_follows_the_switching_equation(before, after):
    """Third order within one regime, second where u crosses."""
    steps = [4.0, 2.0, 1.0, 0.5]
    ends = scalar(before), scalar(after)
    error = [
        abs(float(relax_gate(scalar(0.6), *ends, dt, **TIMES)) - exact(0.6, before, after, dt))
        for dt in steps
    ]
    order = np.polyfit(np.log(steps), np.log(error), 1)[0]
    assert order > (1.9 if (before < THRESHOLD) != (after < THRESHOLD) else 2.9)


def test_the_gate_has_no_jump_as_the_crossing_moves_through_a_step():
    """A hard switch would jump by dt/tau = 0.8 %; here neighbours differ by the slope only."""
    after = np.linspace(0.0, 0.4, 4001)
    h = np.asarray(relax_gate(scalar(0.6), scalar(0.1), jnp.asarray(after), 1.0, **TIMES))
    low, high = 0.6 + 0.4 / OPEN, 0.6 - 0.6 / CLOSE
    assert h[0] == pytest.approx(low, abs=1e-4)
    assert np.abs(np.diff(h)).max() < 0.01 * (low - high)


def test_limits():
    """No time, no change; a long time with u above closes, with u below opens, to second order."""
    h, rest, peak = scalar(0.6), scalar(0.0), scalar(1.0)
    assert float(relax_gate(h, rest, peak, 0.0, **TIMES)) == 0.6
    opened = relax_gate(h, rest, rest, 12.0, **TIMES)
    assert float(opened) == pytest.approx(0.6 + 0.95 * 0.1 * 0.4, rel=1e-14)
    closed = relax_gate(h, peak, peak, 15.0, **TIMES)
    assert float(closed) == pytest.approx(0.6 - 0.95 * 0.1 * 0.6, rel=1e-14)
