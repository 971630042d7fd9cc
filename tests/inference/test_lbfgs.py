"""L-BFGS with captures: where it ends, what it refuses, and the reason it gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.inference.optimise import Assessment, lbfgs


def objective(loss, captured=lambda theta: 10):
    """An assessment of a loss that JAX can differentiate."""
    both = jax.jit(jax.value_and_grad(loss))

    def assess(theta):
        value, slope = both(theta)
        return Assessment(float(value), slope, captured(theta), 0.0)

    return assess


def rosenbrock(theta):
    return 100.0 * (theta["y"][0] - theta["x"] ** 2) ** 2 + (1.0 - theta["x"]) ** 2


START = {"x": jnp.asarray(-1.2), "y": jnp.asarray([1.0])}


def test_the_bent_valley_is_followed_to_its_end():
    """Rosenbrock 1960 from the usual start, theta a dictionary; the history tells the way there."""
    seen = []
    fit = lbfgs(
        objective(rosenbrock), START, iterations=200, tolerance=1e-12,
        report=lambda iteration, now: seen.append((iteration, now.loss)),
    )  # fmt: skip
    assert fit.reason == "converged"
    assert float(fit.theta["x"]) == pytest.approx(1.0, abs=1e-3)
    assert fit.theta["y"].tolist() == pytest.approx([1.0], abs=1e-3)
    assert fit.assessment.loss == pytest.approx(0.0, abs=1e-6)
    losses = [row["loss"] for row in fit.history]
    assert losses[0] == pytest.approx(24.2)
    assert (np.diff(losses) <= 0).all()
    assert [(row["iteration"], row["loss"]) for row in fit.history] == seen
    assert fit.history[0]["gradient_norm"] == pytest.approx(np.hypot(-215.6, -88.0))
    assert len(fit.history) < 100


def test_it_stops_after_the_iterations_allowed_or_where_little_is_won():
    """The valley slows it down for a while: 0.5 of about 4 in five iterations is then enough to end."""
    short = lbfgs(objective(rosenbrock), START, iterations=3)
    assert short.reason == "reached 3 iterations"
    assert short.history[-1]["iteration"] == 3
    assert short.assessment.loss < 24.2
    loose = lbfgs(objective(rosenbrock), START, tolerance=1.0)
    assert loose.reason == "converged"
    assert loose.assessment.loss > 1e-3


def test_no_step_that_loses_a_captured_point_is_taken():
    """The minimum at 3 lies beyond 1, where a point is lost; what is won on the way may not be lost again."""

    def captured(theta):
        x = float(theta)
        return 8 if x > 1.0 else 10 if x > 0.5 else 9

    fit = lbfgs(objective(lambda x: (x - 3.0) ** 2, captured), jnp.asarray(0.0), iterations=40)
    assert 0.5 < float(fit.theta) <= 1.0
    assert fit.assessment.captured == 10
    assert (np.diff([row["captured"] for row in fit.history]) >= 0).all()


def test_steps_to_where_the_loss_is_not_finite_are_shortened():
    """50 x^2 - log x, which is NaN below 0, where the first step from 0.5 jumps to."""
    fit = lbfgs(objective(lambda x: 50.0 * x**2 - jnp.log(x)), jnp.asarray(0.5), tolerance=1e-10)
    assert float(fit.theta) == pytest.approx(0.1, rel=1e-4)
    assert np.isfinite([row["loss"] for row in fit.history]).all()


def test_a_wrong_gradient_ends_with_the_reason():
    def uphill(theta):
        return Assessment(float(theta**2), -2.0 * theta, 1, 0.0)

    fit = lbfgs(uphill, jnp.asarray(1.0))
    assert fit.reason == "stopped: no step reduced the loss"
    assert float(fit.theta) == 1.0
    assert len(fit.history) == 1


def test_at_the_minimum_it_stays():
    fit = lbfgs(objective(lambda x: (x - 2.0) ** 2), jnp.asarray(2.0))
    assert fit.reason == "converged"
    assert float(fit.theta) == 2.0


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_start_without_a_finite_loss_is_refused(loss):
    with pytest.raises(jt.SolveError, match="start of the fit is not finite"):
        lbfgs(lambda theta: Assessment(loss, theta, 0, 0.0), jnp.asarray(1.0))
