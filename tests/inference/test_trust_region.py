"""Steps from a cheap model with exact gradients: they end at the minimum of the loss, not of the model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.inference.optimise import Assessment, Model, trust_region

RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((40, 6)) * np.logspace(1, -1, 6)
TRUTH = RNG.standard_normal(6)
DATA = np.tanh(0.3 * MATRIX @ TRUTH) * 5.0


def residual(z, skew=0.0):
    """A bent problem; `skew` is what a model of it has wrong."""
    slope = jnp.asarray(MATRIX * (1.0 + skew * np.cos(np.arange(6)))[None])
    return jnp.tanh(0.3 * slope @ z) * 5.0 - jnp.asarray(DATA)


def of_residual(z, r):
    return 0.5 * jnp.sum(r**2) / 0.01 + 0.5 * jnp.sum(z**2)


def loss(theta):
    z = jnp.concatenate([theta["a"], theta["b"]])
    return of_residual(z, residual(z))


def objective(captured=lambda theta: 40):
    both = jax.jit(jax.value_and_grad(loss))

    def assess(theta):
        value, slope = both(theta)
        return Assessment(float(value), slope, captured(theta), 0.0)

    return assess


def model(skew):
    """What it has wrong is how predictions change; where it is made it is right."""

    def near(theta, assessment):
        here = jnp.concatenate([theta["a"], theta["b"]])
        shift = residual(here) - residual(here, skew)
        slope = np.asarray(jax.jacobian(lambda z: residual(z, skew))(here))
        both = jax.jit(jax.value_and_grad(lambda z: of_residual(z, residual(z, skew) + shift)))

        def value(numbers):
            found, gradient = both(jnp.asarray(numbers))
            return float(found), np.asarray(gradient)

        return Model(slope.T @ slope / 0.01, value)

    return near


START = {"a": jnp.zeros(2), "b": jnp.zeros(4)}


@pytest.mark.parametrize("skew", [0.0, 0.3, -0.3])
def test_the_minimum_is_that_of_the_loss_however_wrong_the_model(skew):
    fit = trust_region(objective(), model(skew), START, tolerance=1e-6)
    assert fit.reason == "converged"
    free = trust_region(objective(), model(0.0), START, tolerance=1e-9)
    assert fit.assessment.loss == pytest.approx(free.assessment.loss, abs=1e-3)
    assert len(fit.history) < (8 if skew == 0.0 else 40)
    assert (np.diff([row["loss"] for row in fit.history]) < 0).all()


def test_a_fit_that_was_stopped_ends_where_one_that_was_not_does():
    """Resumed from what was saved after the third iteration: the same numbers, to the last digit."""
    saved = []
    whole = trust_region(objective(), model(0.2), START, save=saved.append)
    again = trust_region(objective(), model(0.2), START, start=saved[2])
    assert len(whole.history) > 5
    for name in START:
        assert (whole.theta[name] == again.theta[name]).all()
    assert whole.history == again.history


def test_no_step_that_loses_a_captured_point_is_taken():
    """Points are lost where a number is above 0.2, which the minimum wants."""

    def captured(theta):
        return 40 if float(jnp.max(theta["a"])) <= 0.2 else 39

    free = trust_region(objective(), model(0.0), START)
    fit = trust_region(objective(captured), model(0.0), START, iterations=10)
    assert float(jnp.max(free.theta["a"])) > 0.2
    assert fit.assessment.captured == 40
    assert len(fit.history) > 1


def test_a_start_without_a_finite_loss_is_refused():
    with pytest.raises(jt.SolveError, match="start of the fit is not finite"):
        trust_region(lambda theta: Assessment(np.nan, theta, 0, 0.0), model(0.0), START)


def test_steps_to_where_the_loss_is_not_finite_are_refused():
    def assess(theta):
        now = objective()(theta)
        far = float(jnp.abs(theta["a"]).max()) > 0.3
        return Assessment(np.inf, now.gradient, 40, 0.0) if far else now

    fit = trust_region(assess, model(0.0), START, iterations=10)
    assert np.isfinite([row["loss"] for row in fit.history]).all()
    assert len(fit.history) > 1


def test_a_model_without_a_decrease_takes_no_step():
    """As where rounding hides what is left: not even if the loss at the same point is lower the next time."""
    falling = iter(range(100))

    def assess(theta):
        found = objective()(theta)
        return Assessment(found.loss - 1e-3 * next(falling), found.gradient, 40, 0.0)

    def rising(theta, assessment):
        curvature = model(0.0)(theta, assessment).curvature
        return Model(curvature, lambda numbers: (1e9 * float(np.any(numbers != 0.0)), 0.0 * numbers))

    found = trust_region(assess, rising, START, iterations=5)
    assert len(found.history) == 1
    assert found.reason == "stopped: no step reduced the loss"
    assert all(bool((leaf == 0.0).all()) for leaf in found.theta.values())
