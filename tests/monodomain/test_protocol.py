"""Protocols: where their pulses are, that each is the pulse it repeats, and derivatives by coupling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.monodomain import beats

SITE = jt.pulse([0], 3, onset=1.0, duration=2.0, strength=0.4)


def steps(stimulus, dt=0.5, stop=1200.0):
    """The mean over each step: (steps, nodes)."""
    ends = jnp.asarray(dt * np.arange(int(stop / dt) + 1))
    return np.asarray(jax.jit(jax.vmap(stimulus.mean))(ends[:-1], ends[1:]))


@pytest.mark.parametrize(
    ("protocol", "onsets"),
    [
        (jt.train(SITE, [0.0, 300.0]), [1, 301]),
        (jt.burst(SITE, 200.0, 4), [1, 201, 401, 601]),
        (jt.s1s2(SITE, 400.0, 2, 250.0, 200.0), [1, 401, 651, 851]),
        (jt.s1s2(SITE, 400.0, 1, 250.0), [1, 251]),
        (jt.decremental(SITE, 300.0, 250.0, 25.0), [1, 301, 576, 826]),
    ],
    ids=["train", "burst", "S1-S2-S3", "one S1", "ramp"],
)
def test_pulses_are_where_the_protocol_has_them(protocol, onsets):
    np.testing.assert_allclose(protocol.onset, onsets)
    np.testing.assert_allclose(beats(protocol), onsets)
    alone = sum(steps(jt.pulse([0], 3, onset=float(t), strength=0.4)) for t in onsets)
    np.testing.assert_allclose(steps(protocol), alone, atol=1e-12)
    assert protocol.strength.shape == (1, 3), "one row, however many pulses"


def test_a_train_of_a_stimulus_with_delays_repeats_them():
    source = jt.pulse([0, 2], 3, onset=[5.0, 9.0])
    again = jt.train(source, [0.0, 300.0])
    alone = sum(steps(jt.pulse([0, 2], 3, onset=[t, t + 4.0])) for t in (5.0, 305.0))
    np.testing.assert_allclose(steps(again), alone, atol=1e-12)
    assert [part.tolist() for part in again.starts(1)] == [[0, 2], [305.0, 309.0]]


def test_two_sites_of_one_beat_are_one_beat():
    both = jt.burst(SITE, 500.0, 2) + jt.train(jt.pulse([2], 3), [20.0, 520.0])
    np.testing.assert_allclose(beats(both), [1.0, 501.0])
    assert both.starts(3)[0].tolist() == [2]


def test_impossible_protocols_are_refused():
    for make in (lambda: jt.burst(SITE, 300.0, 0), lambda: jt.s1s2(SITE, 300.0, 0, 200.0)):
        with pytest.raises(jt.InputError, match="Correct the count"):
            make()
    for ramp in ((200.0, 300.0, 10.0), (300.0, 200.0, 0.0), (300.0, 0.0, 10.0)):
        with pytest.raises(jt.InputError, match="Correct the ramp"):
            jt.decremental(SITE, *ramp)


MESH = jt.cable(12.0, 0.5)
NODES = len(MESH.points)
SPACE = jt.Space(MESH)


def premature(coupling, adjoint=None):
    """The interval between S1 and S2 at the far end of a cable, by recorders of the two beats."""
    ionic = jt.MitchellSchaeffer(tau_open=40.0, tau_close=30.0)
    protocol = jt.s1s2(jt.pulse([0, 1], NODES), 200.0, 1, coupling)
    tensor = jt.diffusion_tensor(MESH.fibres, jnp.full(len(MESH.cells), 0.2))
    recorders = tuple(jt.ActivationTimes(after=onset) for onset in protocol.onset)
    solution = jt.simulate(
        jt.Tissue(SPACE, ionic, tensor, protocol), jt.Times(180.0, 0.2), stepper=jt.RungeKuttaChebyshev(3),
        recorders=recorders, adjoint=adjoint,
    )  # fmt: skip
    return jnp.stack([record[-1] for record in solution.records])


def test_a_coupling_interval_has_a_derivative_and_makes_a_batch():
    """Recovery slows the premature wave: the interval at the end is longer than the coupling, less so for
    late ones, so that its derivative is below 1. Both modes and central differences agree."""
    coupling = jnp.asarray(110.07)  # not on the grid in time, where a derivative has two sides
    reverse = jax.jit(jax.grad(lambda c: premature(c)[1]))(coupling)
    batch = jax.jit(jax.vmap(lambda c: premature(c, jt.ForwardMode())))
    first, second = batch(coupling + jnp.asarray([-1e-4, 0.0, 1e-4])).T
    np.testing.assert_allclose(first, first[0], atol=1e-9)
    assert second[1] - first[1] > 110.07
    assert 0.3 < reverse < 0.99
    assert float(reverse) == pytest.approx(float(second[2] - second[0]) / 2e-4, rel=1e-5)
