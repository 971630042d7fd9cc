"""A cell with four states in millivolts: nothing of the solver assumes one gate, or u between 0 and 1."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from squid import Squid

import jaxtwin as jt
from jaxtwin.monodomain import simulate_in_parts
from jaxtwin.monodomain.simulate import begin, march_of
from jaxtwin.signals import VoltageTrace, wave_speed

MESH = jt.cable(6.0, 0.3)
NODES = len(MESH.points)
SPACE, TIMES, STEPPER = jt.Space(MESH), jt.Times(24.0, 0.05), jt.RungeKuttaChebyshev(3)
START = jt.pulse([0, 1, 2, 3], NODES, strength=Squid.strength, onset=0.5)


def tissue(theta) -> jt.Tissue:
    """Logarithms of D, the sodium and the potassium conductance."""
    d, sodium, potassium = jnp.exp(theta)
    tensor = jt.diffusion_tensor(MESH.fibres, jnp.broadcast_to(d, len(MESH.cells)))
    return jt.Tissue(SPACE, Squid(sodium, potassium), tensor, START)


THETA = jnp.log(jnp.asarray([0.05, 120.0, 36.0]))


def observed(theta, adjoint):
    """An activation time, and something of every state at the end."""
    solution = jt.simulate(
        tissue(theta), TIMES, stepper=STEPPER, recorders=(jt.ActivationTimes(),), adjoint=adjoint
    )
    rest = sum(jnp.mean(leaf) for leaf in jax.tree.leaves(solution.state.gates))
    return jnp.stack([solution.records[0][-4], rest])


def test_reverse_mode_with_and_without_blocks_is_forward_mode_and_central_differences():
    forward = jax.jit(jax.jacfwd(lambda t: observed(t, jt.ForwardMode())))(THETA)

    def program(memory):
        return jax.jit(lambda t, row: jax.vjp(lambda t: observed(t, jt.Checkpointed(memory)), t)[1](row)[0])

    stored, blocks = (program(memory) for memory in (2e9, 3e5))
    for reverse in (stored, blocks):
        rows = jnp.stack([reverse(THETA, row) for row in jnp.eye(2)])
        np.testing.assert_allclose(rows, forward, rtol=1e-8)
    value = jax.jit(lambda t: observed(t, jt.ForwardMode()))
    assert 4.0 < value(THETA)[0] < 20.0
    for k, size in enumerate(1e-5 * np.eye(3)):
        difference = (value(THETA + size) - value(THETA - size)) / 2e-5
        np.testing.assert_allclose(difference, forward[:, k], rtol=1e-6)


def test_the_bound_on_memory_counts_every_state():
    """Four gates, A u, the drive and the arguments of three products in each step."""
    steps, least = 480, 9 * NODES * 8
    march = march_of(tissue(THETA), STEPPER, TIMES, ())
    state, memory = begin(march, None)
    assert set(state.gates) == {"m", "h", "n", "calcium"}
    assert jt.Checkpointed(1.001 * steps * least).block(march, state, memory, steps) == steps
    assert jt.Checkpointed(0.999 * steps * least).block(march, state, memory, steps) < steps


def test_levels_are_those_of_the_model():
    """Activation at -20 mV and not at 0.5; recovery at -60 mV; 40 mV is no divergence."""
    recorders = (
        jt.ActivationTimes(), jt.ActivationTimes(-20.0), jt.ActivationTimes(upward=False),
        jt.ActivationTimes(-60.0, upward=False), VoltageTrace(jnp.asarray([10])),
    )  # fmt: skip
    solution = jt.simulate(tissue(THETA), TIMES, stepper=STEPPER, recorders=recorders)
    lat, same, recovery, same_recovery, trace = solution.records
    np.testing.assert_array_equal(lat, same)
    np.testing.assert_array_equal(recovery, same_recovery)
    assert np.isfinite(lat).all()
    assert (recovery[:-5] > lat[:-5] + 1.0).all()
    assert trace.max() > 5.0
    for _, part in simulate_in_parts(tissue(THETA), TIMES, every=240, stepper=STEPPER):
        assert eqx.tree_equal(jax.tree.structure(part.state), jax.tree.structure(solution.state))


def test_speed_without_a_closed_form_is_that_of_a_fine_cable():
    """From two lengths of edges that the calibration does not use; it grows with the root of D."""
    speed = float(wave_speed(Squid(), 0.1))
    fine = [jt.signals.plane_wave_speed(Squid(), 0.1, edge=e, dt=0.005) for e in (0.08, 0.04)]
    assert speed == pytest.approx((4 * fine[1] - fine[0]) / 3, rel=2e-3)
    np.testing.assert_allclose(wave_speed(Squid(), jnp.asarray([0.1, 0.4])), [speed, 2 * speed], rtol=1e-12)
    assert float(wave_speed(Squid(sodium=20.0), 0.1)) == 0.0
