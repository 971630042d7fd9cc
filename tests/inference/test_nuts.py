"""Draws from densities whose moments are known, whatever the Gaussian in whose coordinates they are made."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma, polygamma

import jaxtwin as jt
from jaxtwin.inference.nuts import nuts
from tests.inference.theta import laplace_of


class LogGamma(eqx.Module):
    """Independent logarithms of gamma variables with these shapes: skewed, as no Gaussian is."""

    shapes: jax.Array

    def __call__(self, theta):
        x = jnp.concatenate([theta["diffusivity"], theta["offset"]])
        return jnp.sum(self.shapes * x - jnp.exp(x))


@pytest.fixture(scope="module")
def found():
    """Two thousand draws, with a Gaussian at the top that is too narrow in one direction, and the shapes."""
    shapes = np.asarray([0.7, 2.0, 9.0])
    top = {"diffusivity": jnp.log(jnp.asarray(shapes[:2])), "offset": jnp.log(jnp.asarray(shapes[2:]))}
    around = laplace_of(top, jnp.asarray([[0.6], [0.0], [0.8]]), jnp.asarray([12.0]))
    return nuts(LogGamma(jnp.asarray(shapes)), around, draws=2000, warmup=200, seed=1), shapes


def test_moments_are_those_of_the_density_and_not_of_the_gaussian(found):
    """Means and variances of log gamma within four standard errors, by the effective sample size."""
    draws, shapes = found
    rows = np.concatenate([draws.theta["diffusivity"], draws.theta["offset"]], axis=1)
    effective = np.concatenate([draws.effective["diffusivity"], draws.effective["offset"]])
    sd = np.sqrt(polygamma(1, shapes))
    assert (np.abs(rows.mean(axis=0) - digamma(shapes)) < 4.0 * sd / np.sqrt(effective)).all()
    np.testing.assert_allclose(rows.std(axis=0), sd, rtol=0.12)
    skewness = ((rows - rows.mean(axis=0)) ** 3).mean(axis=0) / rows.std(axis=0) ** 3
    np.testing.assert_allclose(skewness, polygamma(2, shapes) / sd**3, atol=0.4)


def test_what_is_said_of_the_draws(found):
    """The step is adapted to the acceptance asked for, and most draws are worth something."""
    draws, _ = found
    assert draws.acceptance.shape == draws.gradients.shape == (2000,)
    assert draws.acceptance.mean() == pytest.approx(0.8, abs=0.1)
    assert draws.divergences < 20
    assert 0.1 < draws.step < 3.0
    assert all((np.asarray(leaf) > 200).all() for leaf in draws.effective.values())


def test_the_same_seed_gives_the_same_draws_and_another_others():
    top = {"diffusivity": jnp.zeros(1), "offset": jnp.zeros(2)}
    around = laplace_of(top, jnp.eye(3), jnp.zeros(3))
    density, seen = LogGamma(jnp.ones(3)), []
    runs = [
        nuts(density, around, draws=10, warmup=5, seed=s, report=lambda done, _: seen.append(done))
        for s in (0, 0, 1)
    ]
    one, again, other = (np.asarray(run.theta["offset"]) for run in runs)
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert seen == [*range(1, 16)] * 3


def test_a_density_that_is_not_finite_at_the_top_is_refused():
    around = laplace_of({"diffusivity": jnp.zeros(1), "offset": jnp.zeros(2)}, jnp.eye(3), jnp.zeros(3))
    with pytest.raises(jt.SolveError, match="not finite"):
        nuts(LogGamma(jnp.full(3, jnp.nan)), around, draws=10, warmup=1)


def test_too_few_draws_are_refused():
    around = laplace_of({"diffusivity": jnp.zeros(1), "offset": jnp.zeros(2)}, jnp.eye(3), jnp.zeros(3))
    with pytest.raises(jt.InputError, match=r"3 draws after 1.*10 or more"):
        nuts(LogGamma(jnp.ones(3)), around, draws=3, warmup=1)


def test_without_blackjax_the_error_names_the_extra(monkeypatch):
    around = laplace_of({"diffusivity": jnp.zeros(1), "offset": jnp.zeros(2)}, jnp.eye(3), jnp.zeros(3))
    monkeypatch.setitem(sys.modules, "blackjax", None)
    with pytest.raises(jt.InputError, match=r'pip install "jaxtwin\[bayes\]"'):
        nuts(LogGamma(jnp.ones(3)), around)
