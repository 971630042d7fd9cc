"""The Gaussian around a fit: covariance against dense algebra, draws, and what it calls identified."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.inference.identify import combinations
from jaxtwin.inference.laplace import DENSE
from jaxtwin.inference.laplace import laplace as around


def laplace(theta, *arguments):
    """With the standard normal prior around zero."""
    return around(jt.Prior(jax.tree.map(jnp.zeros_like, theta)), theta, *arguments)


def problem(numbers: int, measurements: int):
    """A linear problem with a theta of two arrays: the curvature, and its matrix."""
    rng = np.random.default_rng(numbers)
    jacobian = rng.standard_normal((measurements, numbers)) * np.logspace(1.5, -2, numbers)[None]
    theta = {"diffusivity": jnp.asarray(rng.standard_normal(numbers - 2)), "offset": jnp.ones(2)}
    matrix = jnp.asarray(jacobian.T @ jacobian)

    def curvature(v):
        product = matrix @ jnp.concatenate([v["diffusivity"], v["offset"]])
        return {"diffusivity": product[:-2], "offset": product[-2:]}

    return theta, curvature, np.asarray(matrix)


@pytest.mark.parametrize(("numbers", "rank"), [(12, 100), (DENSE + 40, 60)], ids=["dense", "Lanczos"])
def test_covariance_is_the_inverse_of_prior_plus_curvature(numbers, rank):
    """Variances of each number and of the draws; the directions left out carry less than a hundredth."""
    theta, curvature, matrix = problem(numbers, 30)
    found = laplace(theta, curvature, rank)
    exact = np.linalg.inv(np.eye(numbers) + matrix)
    variance = found.variance()
    flat = np.concatenate([variance["diffusivity"], variance["offset"]])
    np.testing.assert_allclose(flat, np.diag(exact), rtol=0.01)
    assert (np.diff(np.asarray(found.gain)) <= 1e-9).all()
    draws = found.sample(jax.random.key(0), 20_000)
    drawn = np.concatenate([draws["diffusivity"], draws["offset"]], axis=1)
    mean = np.concatenate([theta["diffusivity"], theta["offset"]])
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.04)
    np.testing.assert_allclose(np.cov(drawn.T), exact, atol=0.05)


def test_numbers_are_labelled_by_how_much_of_the_prior_is_left():
    theta, curvature, matrix = problem(12, 30)
    found = laplace(theta, curvature)
    left = np.diag(np.linalg.inv(np.eye(12) + matrix))[:-2]
    labels = found.labels()["diffusivity"]
    assert set(labels) == {"identified", "weak", "not"}
    assert (labels[left < 0.1] == "identified").all()
    assert (labels[left > 0.5] == "not").all()


def test_the_information_of_a_point_is_the_mean_curvature_of_its_loss():
    """Over errors drawn from the distribution itself; none from points that are not reached or left out."""
    likelihood, rng = jt.StudentT(4.0), np.random.default_rng(0)
    errors = jnp.asarray(2.0 * rng.standard_t(4.0, 200_000))
    ones, off = jnp.ones_like(errors), jnp.zeros(errors.size, bool)

    def loss(shift, log_scale):
        return (
            likelihood(errors + shift, 0.0 * errors, 2.0 * ones, off, ones, log_scale, 1e3 * ones)
            / errors.size
        )

    zero = jnp.asarray(0.0)
    each, of_scale = likelihood.information(errors, 2.0 * ones, off, ones, zero, 1e3 * ones)
    assert float(each[0]) == pytest.approx(float(jax.hessian(loss)(zero, zero)), rel=0.02)
    assert float(of_scale) / errors.size == pytest.approx(float(jax.hessian(loss, 1)(zero, zero)), rel=0.03)
    gone = likelihood.information(
        jnp.asarray([np.nan, 3.0]), ones[:2], off[:2], jnp.asarray([1.0, 0.0]), zero, 1e3 * ones[:2]
    )
    assert gone[0].tolist() == [0.0, 0.0]


def test_the_curvature_of_a_silent_point_is_that_of_its_loss():
    likelihood, one = jt.StudentT(), jnp.ones(1)

    def loss(predicted):
        return likelihood(predicted[None], 0.0 * one, 2.0 * one, one > 0, one, jnp.asarray(0.0), 40.0 * one)

    at = jnp.asarray(38.5)
    each, _ = likelihood.information(at[None], 2.0 * one, one > 0, one, jnp.asarray(0.0), 40.0 * one)
    assert float(each[0]) == pytest.approx(float(jax.grad(jax.grad(loss))(at)), rel=1e-6)


def test_a_cheap_matrix_nearby_leaves_less_to_the_products():
    """30 measurements of 104 numbers, the matrix off by up to 30 %: fifteen products then make it whole."""
    theta, curvature, matrix = problem(104, 30)
    rng = np.random.default_rng(1)
    turn = np.eye(104) + 0.003 * rng.standard_normal((104, 3)) @ rng.standard_normal((3, 104))
    found = laplace(theta, curvature, 15, turn @ matrix @ turn.T)
    exact = np.diag(np.linalg.inv(np.eye(104) + matrix))
    variance = found.variance()
    np.testing.assert_allclose(
        np.concatenate([variance["diffusivity"], variance["offset"]]), exact, rtol=0.02
    )
    slopes = rng.standard_normal((4, 104))
    wanted = np.sqrt(np.einsum("in,nm,im->i", slopes, np.linalg.inv(np.eye(104) + matrix), slopes))
    np.testing.assert_allclose(found.sd_of(slopes), wanted, rtol=0.02)


def test_the_combination_that_data_tell_is_named():
    """Two parameters that only ever act as a product: their sum of logarithms is known, the rest is prior."""
    slope = np.random.default_rng(0).standard_normal((50, 1)) * np.asarray([[3.0, 3.0, 0.0]])
    best, *rest = combinations(("a", "b", "c"), slope, np.ones(3))
    assert str(best).count("1.00 log") == 2
    assert best.left < 0.01
    assert [c.left for c in rest] == pytest.approx([1.0, 1.0])
    np.testing.assert_allclose(best.share[0], best.share[1])


def test_without_products_the_matrix_nearby_is_taken_as_it_is():
    theta, curvature, matrix = problem(104, 30)
    found = laplace(theta, curvature, 0, matrix)
    exact = np.diag(np.linalg.inv(np.eye(104) + matrix))
    np.testing.assert_allclose(found.variance()["offset"], exact[-2:], rtol=1e-6)


def test_an_exact_matrix_nearby_stays_exact():
    """The products then find nothing to correct."""
    theta, curvature, matrix = problem(104, 30)
    found = laplace(theta, curvature, 10, matrix)
    exact = np.diag(np.linalg.inv(np.eye(104) + matrix))
    np.testing.assert_allclose(found.variance()["offset"], exact[-2:], rtol=1e-6)
