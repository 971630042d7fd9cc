"""The prior as an object: its coordinates, and a posterior that becomes the prior of the next fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxtwin as jt

MESH = jt.sheet(6.0, 6.0, 0.75, fibre_angle=0.4)
NODES = len(MESH.points)
MEAN = {"tissue": {"diffusivity": jnp.asarray([0.3])}, "maps": {"offset": jnp.asarray([1.0, -2.0])}}


@pytest.fixture(scope="module")
def prior():
    root = np.random.default_rng(0).normal(size=(3, 3))
    return jt.Prior(MEAN, jnp.asarray(root))


def test_draws_have_the_mean_and_the_covariance(prior):
    white = np.random.default_rng(1).standard_normal((20_000, 3))
    _, back = ravel_pytree(MEAN)
    drawn = jax.vmap(lambda z: ravel_pytree(prior.at(back(z)))[0])(jnp.asarray(white))
    np.testing.assert_allclose(drawn.mean(axis=0), ravel_pytree(MEAN)[0], atol=0.05)
    root = np.asarray(prior.root)
    np.testing.assert_allclose(np.cov(np.asarray(drawn).T), root @ root.T, atol=0.15)


def test_white_coordinates_and_derivatives_are_those_of_the_map(prior):
    flat, back = ravel_pytree(MEAN)
    z = back(jnp.asarray([0.2, -1.0, 0.7]))
    np.testing.assert_allclose(ravel_pytree(prior.white(prior.at(z)))[0], ravel_pytree(z)[0], atol=1e-12)
    jacobian = np.asarray(jax.jacfwd(lambda f: ravel_pytree(prior.at(back(f)))[0])(flat))
    slopes = np.random.default_rng(2).normal(size=(4, 3))
    np.testing.assert_allclose(prior.from_theta(slopes), slopes @ jacobian, atol=1e-12)
    np.testing.assert_allclose(ravel_pytree(prior.push(z))[0], jacobian @ ravel_pytree(z)[0], atol=1e-12)
    np.testing.assert_allclose(ravel_pytree(prior.pull(z))[0], jacobian.T @ ravel_pytree(z)[0], atol=1e-12)


def test_a_root_of_another_twin_is_refused():
    with pytest.raises(jt.InputError, match="for 3 parameters"):
        jt.Prior(MEAN, jnp.eye(2))


def test_a_posterior_is_the_prior_of_the_next_fit():
    """Half of the points after the other half: the estimate and its standard deviation of all at once."""
    twin = jt.Twin(
        MESH, cells=jt.MitchellSchaeffer(), times=jt.Times(40.0, 0.2), estimate_mesh_error=False,
        tissue_map=jt.LogDiffusivity(
            jt.uniform(NODES), reference=0.15, floor=0.05, ceiling=1.0, ratio=2.0
        ),
        beats=(jt.pulse(jt.in_sphere(MESH, [0.0, 0.0], 1.1), NODES),),
    )  # fmt: skip
    truth = twin.mean() | {"tissue": {"diffusivity": jnp.asarray([0.4])}}
    noise = np.random.default_rng(0).normal(0.0, 0.5, NODES)
    data = jt.MappingData(MESH.points, np.asarray(twin.predict(truth)) + noise).with_sigma(0.5)
    data = data.subset(np.arange(NODES) > 0)  # two halves of one size are one compiled program
    half = np.arange(NODES - 1) % 2 == 0
    first = jt.posterior(jt.fit(twin, data.subset(half), tolerance=1e-3, iterations=6))
    second = jt.posterior(
        jt.fit(twin, data.subset(~half), prior=first.as_prior(), tolerance=1e-3, iterations=6)
    )
    once = jt.posterior(jt.fit(twin, data, tolerance=1e-3, iterations=6))

    def estimate(posterior):
        sd = float(posterior.variance()["tissue"]["diffusivity"][0]) ** 0.5
        return float(posterior.theta["tissue"]["diffusivity"][0]), sd

    (early, wide), (updated, sd), (whole, whole_sd) = map(estimate, (first, second, once))
    assert abs(updated - whole) < 0.2 * whole_sd < abs(early - whole) + whole_sd
    assert sd == pytest.approx(whole_sd, rel=0.1)
    assert sd < 0.8 * wide
