"""The stepper on y' = lambda y and y' = c: its order, the interval on which it is stable, and its stages."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxtwin as jt
from jaxtwin.monodomain import RungeKuttaChebyshev, State
from jaxtwin.monodomain.stepper import MAX_STAGES, initial_state

STAGES = [2, 3, 4, 7, 20, 100]


class Decay(jt.MitchellSchaeffer):
    """u' = -rate u, and a gate without influence."""

    rate: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(1))

    def reaction(self, u, gate):
        return -self.rate * u


def one_step(stages: int, diffusion, rate=0.0, drive=0.0) -> np.ndarray:
    """y after one step of 1 ms from y = 1, each node its own equation y' = (diffusion - rate) y + drive."""
    stepper = RungeKuttaChebyshev(stages)
    diffusion = jnp.asarray(diffusion, float)
    size = diffusion.size
    ionic, drive = Decay(rate=jnp.full(size, rate)), jnp.broadcast_to(drive, size)
    begin = State(jnp.ones(size), jnp.ones(size), diffusion)

    @jax.jit
    def step(begin, diffusion, rows):
        entry, y = stepper.enter(ionic, begin, drive, 1.0)

        def stage(carry, r):
            y, before = carry
            rest = ionic.reaction(y, entry.gates) + drive
            y_next = r[0] * entry.start + r[1] * y + r[2] * before + r[3] * diffusion * y + r[4] * rest
            return (y_next + r[5] * entry.rate, y), None

        (product, y), _ = jax.lax.scan(stage, (y, begin.u), rows)
        return y, product

    y, product = step(begin, diffusion, jnp.asarray(stepper.coefficients(1.0)))
    np.testing.assert_allclose(product, diffusion * y, rtol=1e-14)  # what the next step starts from
    return np.asarray(y)


@pytest.mark.parametrize("stages", STAGES)
def test_stable_on_all_of_the_claimed_interval_and_no_further(stages):
    """|P(z)| < 1 on [-reach, 0), well below 1 inside, above 1 half as far again. The reach is 98 % of
    2/3 (s^2 - 1)(1 - 2/15 damping), the end of the interval in the paper."""
    reach = RungeKuttaChebyshev(stages).reach()
    assert reach == pytest.approx(0.98 * 2 / 3 * (stages**2 - 1) * (1 - 2 / 15 * 2 / 13), rel=0.01)
    size = np.abs(one_step(stages, np.append(-np.linspace(1e-3, reach, 4000), -1.5 * reach)))
    assert size[:-1].max() < 1.0
    assert size[1300:3800].max() < 0.97
    assert size[-1] > 1.0


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("lost", [0.1, 0.4])
def test_stable_with_what_lumping_took_as_a_source(stages, lost):
    """E A u held through the step, for the eigenvalues of E up to its largest, 0.4 on tetrahedra."""
    z = -np.linspace(1e-3, RungeKuttaChebyshev(stages).reach(), 4000)
    assert np.abs(one_step(stages, z, drive=jnp.asarray(lost * z))).max() < 1.0


@pytest.mark.parametrize("stages", [2, 3, 7, 20])
def test_order_conditions(stages):
    """P(z) = 1 + z + z^2/2 + O(z^3): the error of one step falls with the cube of z, which order 2 needs."""
    z = -np.array([0.2, 0.1, 0.05, 0.025])
    error = np.abs(one_step(stages, z) - np.exp(z))
    slope = np.polyfit(np.log(-z), np.log(error), 1)[0]
    assert slope > RungeKuttaChebyshev.order + 1 - 0.1
    assert one_step(stages, [0.0], drive=0.37) == pytest.approx(1.37, rel=1e-13)


@pytest.mark.parametrize("stages", [2, 7])
def test_reaction_and_diffusion_count_alike(stages):
    """Only their sum matters; a steady drive takes y to y + (P(z) - 1)(y + drive/z)."""
    z = np.linspace(-1.5, -0.1, 9)
    whole = one_step(stages, z)
    np.testing.assert_allclose(one_step(stages, z + 0.4, rate=0.4), whole, rtol=1e-12)
    driven = 1.0 + (whole - 1.0) * (1.0 + 0.7 / z)
    np.testing.assert_allclose(one_step(stages, z, drive=0.7), driven, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e5), st.floats(1e-3, 1.0))
def test_stages_are_the_fewest_that_reach(bound, dt):
    if dt * bound > RungeKuttaChebyshev(MAX_STAGES).reach():
        with pytest.raises(jt.InputError, match="Shorten the step"):
            RungeKuttaChebyshev().with_stages(bound, dt)
        return
    chosen = RungeKuttaChebyshev().with_stages(bound, dt)
    assert chosen.stages is not None
    assert chosen.reach() >= dt * bound
    assert chosen.stages == 2 or RungeKuttaChebyshev(chosen.stages - 1).reach() < dt * bound


def test_impossible_steps_are_refused_with_the_step_that_would_do():
    with pytest.raises(jt.InputError, match=r"a step of 0.5 ms .* decays at 1e\+06 /ms") as refusal:
        RungeKuttaChebyshev().with_stages(1e6, 0.5)
    advised = float(refusal.value.wanted.split()[-2])
    assert RungeKuttaChebyshev().with_stages(1e6, 0.95 * advised).stages == pytest.approx(
        MAX_STAGES, rel=0.05
    )
    for bound in (np.inf, np.nan):
        with pytest.raises(jt.InputError):
            RungeKuttaChebyshev().with_stages(bound, 0.1)


@pytest.mark.parametrize("stages", [1, 0, -3])
def test_fewer_than_two_stages_are_refused(stages):
    with pytest.raises(jt.InputError, match="2 or more"):
        RungeKuttaChebyshev(stages)


def test_solves_start_at_rest():
    state = initial_state(jt.MitchellSchaeffer(), 3, jnp.float32)
    assert state.u.tolist() == state.diffusion.tolist() == [0.0] * 3
    assert state.gates.tolist() == [1.0] * 3
    assert state.u.dtype == state.gates.dtype == jnp.float32
