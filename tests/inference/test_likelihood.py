"""Student-t errors against scipy, and points that one of map and model does not reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxtwin as jt

END = 100.0  # of the window of interest, ms
UNSEEN = END + 25.0  # a later wave is as good as none
UNTIL = jnp.full(8, END)
RNG = np.random.default_rng(0)
MEASURED = RNG.uniform(10, 90, 8)
PREDICTED = MEASURED + RNG.normal(0, 5, 8)
SIGMA = RNG.uniform(1, 4, 8)


@jax.jit
def loss(predicted, measured, sigma, silent, weight, log_scale):
    return jt.StudentT()(predicted, measured, sigma, silent, weight, log_scale, UNTIL)


def value(
    predicted=PREDICTED, measured=MEASURED, silent=(), weight: float | np.ndarray = 1.0, log_scale=0.0
) -> float:
    mask = np.isin(np.arange(8), silent)
    rows = predicted, measured, SIGMA
    weights = jnp.asarray(np.broadcast_to(weight, 8), float)
    return float(loss(*map(jnp.asarray, rows), jnp.asarray(mask), weights, jnp.asarray(log_scale)))


def at(row: int, number: float, values=PREDICTED) -> np.ndarray:
    """The values with one of them replaced."""
    return np.where(np.arange(8) == row, number, values)


def one(predicted: float) -> float:
    """What point 3 alone costs, by scipy, less the constant log t(0)."""
    return float(stats.t.logpdf(0, 4) - stats.t.logpdf(MEASURED[3], 4, predicted, SIGMA[3]))


@pytest.mark.parametrize("degrees", [2.5, 4.0, 30.0])
@pytest.mark.parametrize("log_scale", [0.0, 0.7])
def test_negative_log_likelihood_is_that_of_scipy(degrees, log_scale):
    """Up to the constant log t(0), which no parameter changes."""
    arrays = map(jnp.asarray, (PREDICTED, MEASURED, SIGMA, np.zeros(8, bool), np.ones(8)))
    found = jt.StudentT(degrees)(*arrays, jnp.asarray(log_scale), UNTIL)
    density = stats.t.logpdf(MEASURED, degrees, PREDICTED, SIGMA * np.exp(log_scale))
    assert float(found) == pytest.approx(float(np.sum(stats.t.logpdf(0, degrees) - density)), rel=1e-12)


def test_an_outlier_costs_a_logarithm():
    """From 10 to 100 sigma (nu + 1) log 10 more, where a Gaussian would add 4950."""
    far = value(at(3, MEASURED[3] - 100 * SIGMA[3])) - value(at(3, MEASURED[3] - 10 * SIGMA[3]))
    assert far == pytest.approx(5 * np.log(10), rel=0.02)


def test_a_point_not_reached_counts_as_reached_after_the_window():
    rest = value() - one(PREDICTED[3])
    assert value(at(3, np.nan)) - rest == pytest.approx(one(UNSEEN), rel=1e-10)


@pytest.mark.parametrize("silent", [(), (3,)])
def test_what_comes_after_the_window_cannot_have_been_seen(silent):
    """However long one simulates: a wave at any later time is as good as none."""
    for late in (UNSEEN + 1e-6, 2.0 * UNSEEN, 1e4):
        assert value(at(3, late), silent=silent) == value(at(3, np.nan), silent=silent)


def test_two_degrees_or_fewer_are_refused():
    with pytest.raises(jt.InputError, match="more than 2"):
        jt.StudentT(2.0)


def test_a_silent_point_pays_for_an_early_activation_only():
    """Nothing where the model is silent too; log 2 at the end; the more the earlier."""
    rest = value() - one(PREDICTED[3])
    costs = [value(at(3, t), silent=[3]) - rest for t in (np.nan, END, 99.0, 80.0, 20.0)]
    scale = SIGMA[3]
    wanted = [0.0, *(np.log1p(np.exp(1.7 * (END - t) / scale)) for t in (END, 99.0, 80.0, 20.0))]
    np.testing.assert_allclose(costs, wanted, atol=1e-10)
    unknown = at(3, np.nan, MEASURED)
    assert value(measured=unknown, silent=[3]) == pytest.approx(value(silent=[3]), rel=1e-14)


def test_weight_0_leaves_a_point_out_and_2_counts_it_twice():
    without = value() - one(PREDICTED[3])
    for predicted in (PREDICTED, at(3, 1e6), at(3, np.nan)):
        assert value(predicted, weight=at(3, 0.0, np.ones(8))) == pytest.approx(without, rel=1e-10)
    assert value(weight=2.0) == pytest.approx(2 * value(), rel=1e-14)


def test_gradients_are_finite_with_points_not_reached():
    """Zero for the points that are not reached, the others untouched by them."""
    predicted = at(5, np.nan, at(3, np.nan))
    arrays = map(jnp.asarray, (predicted, MEASURED, SIGMA, np.arange(8) == 5, np.ones(8), 0.3))
    slope, by_scale = jax.grad(loss, argnums=(0, 5))(*arrays)
    clean = jax.grad(loss)(
        *map(jnp.asarray, (PREDICTED, MEASURED, SIGMA, np.zeros(8, bool), np.ones(8), 0.3))
    )
    np.testing.assert_allclose(slope, np.where(np.isnan(predicted), 0.0, clean), rtol=1e-12)
    step = 1e-6
    numbers = [value(predicted, silent=[5], log_scale=0.3 + s) for s in (step, -step)]
    assert float(by_scale) == pytest.approx((numbers[0] - numbers[1]) / (2 * step), rel=1e-6)
