"""The travelling window: activation times and gradients of the whole mesh, and fronts that leave it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.monodomain import Result, spectral_bound, travelling_windows

MESH = jt.reorder(jt.sheet(20.0, 4.0, 0.4, fibre_angle=0.4)).mesh
NODES = len(MESH.points)
SPACE = jt.Space(MESH)
PACED = jt.pulse(MESH.points[:, 0] < 1.0, NODES)
TIMES = jt.Times(60.0, 0.2)
CENTRES = MESH.points[MESH.cells].mean(axis=1)
LOG_D = jnp.asarray(0.4 * np.sin(CENTRES[:, 0] / 3.0) - 1.5 * (abs(CENTRES[:, 1] - 2.0) < 0.7))
STEPPER = jt.RungeKuttaChebyshev(5)


def tissue(log_d):
    tensor = jt.diffusion_tensor(MESH.fibres, 0.2 * jnp.exp(log_d), 2.0)
    return jt.Tissue(SPACE, jt.MitchellSchaeffer(), tensor, PACED)


@eqx.filter_jit
def solved(log_d, window=None, adjoint=None):
    found = jt.simulate(
        tissue(log_d), TIMES, stepper=STEPPER, recorders=(jt.ActivationTimes(),), window=window,
        adjoint=adjoint, throw=False,
    )  # fmt: skip
    return found.records[0], found.result


@pytest.fixture(scope="module")
def whole():
    """Activation times of the whole mesh, and a window around them."""
    assert float(spectral_bound(tissue(LOG_D))) * TIMES.dt < STEPPER.reach()
    lat = np.asarray(solved(LOG_D)[0])
    assert np.isfinite(lat).all()
    return lat, jt.travelling_window(SPACE.layout, lat, TIMES, behind=5.0, ahead=8.0)


def test_a_window_leaves_the_activation_times(whole):
    lat, window = whole
    assert window.share < 0.7
    found, result = solved(LOG_D, window)
    assert result == Result.SUCCESS
    assert np.sqrt(np.mean((found - lat) ** 2)) < 0.003


def test_its_gradient_is_that_of_its_own_times(whole):
    """By central differences and by forward mode; and within a thousandth that of the whole mesh."""

    def late(log_d, window, adjoint=None):
        return jnp.mean(solved(log_d, window, adjoint)[0] ** 2)

    _, window = whole
    slope = eqx.filter_jit(jax.grad(late))(LOG_D, window)
    way = jnp.asarray(np.cos(CENTRES[:, 0] / 4.0) + np.random.default_rng(0).normal(size=LOG_D.shape))
    step = 2e-5
    difference = (late(LOG_D + step * way, window) - late(LOG_D - step * way, window)) / (2 * step)
    assert float(slope @ way) == pytest.approx(float(difference), rel=1e-5)
    _, forward = jax.jvp(lambda d: late(d, window, jt.ForwardMode()), (LOG_D,), (way,))
    assert float(slope @ way) == pytest.approx(float(forward), rel=1e-10)
    small = eqx.filter_jit(jax.grad(late))(LOG_D, window, jt.Checkpointed(8e6))
    np.testing.assert_allclose(small, slope, rtol=1e-9, atol=1e-12)
    everywhere = eqx.filter_jit(jax.grad(late))(LOG_D, None)
    np.testing.assert_allclose(slope, everywhere, atol=2e-3 * float(jnp.abs(everywhere).max()))


@pytest.mark.parametrize("late", [-25.0, 25.0], ids=["the front is ahead", "the front is behind"])
def test_a_front_that_leaves_its_window_is_noticed(whole, late):
    lat, _ = whole
    wrong = jt.travelling_window(SPACE.layout, np.maximum(lat + late * (lat > 15.0), 0.0), TIMES)
    assert solved(LOG_D, wrong)[1] == Result.ESCAPED
    with pytest.raises(jt.SolveError, match="left its travelling window"):
        jt.simulate(tissue(LOG_D), TIMES, stepper=STEPPER, recorders=(jt.ActivationTimes(),), window=wrong)


def test_a_front_beyond_what_was_expected_is_noticed(whole):
    lat, _ = whole
    short = jt.travelling_window(SPACE.layout, np.where(MESH.points[:, 0] < 10.0, lat, np.nan), TIMES)
    assert solved(LOG_D, short)[1] == Result.ESCAPED


def test_signals_and_waves_that_reach_no_node_have_no_window(whole):
    _, window = whole
    trace = jt.VoltageTrace(jnp.array([0, 17]))
    with pytest.raises(jt.InputError, match="emits values"):
        jt.simulate(tissue(LOG_D), TIMES, stepper=STEPPER, recorders=(trace,), window=window)
    with pytest.raises(jt.InputError, match="reaches no node"):
        jt.travelling_window(SPACE.layout, np.full(NODES, np.nan), TIMES)


def test_windows_of_several_waves_have_one_shape(whole):
    """So that one program serves them; the parts that a shorter wave does not need change nothing."""
    lat, window = whole
    other = np.where(MESH.points[:, 0] < 10.0, lat, np.nan)
    both = travelling_windows(SPACE.layout, [other, lat], TIMES, behind=5.0, ahead=8.0)
    assert both[0].shape == both[1].shape
    assert both[0].share < both[1].share
    again = travelling_windows(SPACE.layout, [other], TIMES, behind=5.0, ahead=8.0, least=both[1].shape)[0]
    assert again.shape == both[1].shape
    padded = travelling_windows(
        SPACE.layout, [lat], TIMES, behind=5.0, ahead=8.0, least=(window.shape[0] + 1, *window.shape[1:])
    )[0]
    assert len(padded.parts.nodes) == len(window.parts.nodes) + 1
    late = [jnp.mean(solved(LOG_D, each)[0] ** 2) for each in (window, padded)]
    assert late[0] == late[1]
    slopes = [jax.grad(lambda d, w=w: jnp.mean(solved(d, w)[0] ** 2))(LOG_D) for w in (window, padded)]
    np.testing.assert_allclose(slopes[1], slopes[0], rtol=1e-12)
