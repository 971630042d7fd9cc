"""The scales of log D that maps support."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

import jaxtwin as jt
from jaxtwin.inference.log_speed import tissue_places
from jaxtwin.inference.scales import SD, inferred_prior, open_prior, scaled_prior
from jaxtwin.twin import tissue_prior
from tests.inference.theta import problem_of

MESH = jt.sheet(20.0, 20.0, 1.0)
NODES = len(MESH.points)
TRUE = 0.25, 5.0  # standard deviation and length, mm
GIVEN = 0.5, 10.0


def twin(discrepancy=None, **more):
    tissue_map = tissue_prior(
        MESH, reference=0.3, modes=100, sd_log=GIVEN[0], correlation_length=GIVEN[1], **more
    )
    return jt.Twin(
        MESH, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, times=jt.Times(60.0, 0.2),
        beats=(jt.pulse(jt.in_sphere(MESH, [0.0, 0.0], 2.0), NODES),), estimate_mesh_error=False,
        discrepancy=discrepancy,
    )  # fmt: skip


def open_problem(one):
    """With the prior that takes other scales."""
    problem = problem_of(one)
    return problem.with_prior(open_prior(problem.prior, one))


def measured_log_d(problem, white, noise=0.02):
    """Misfit of log D measured at every node: its gradient and curvature at `white`."""
    basis = np.asarray(problem.twin.tissue_map.basis)
    random = np.random.default_rng(5)
    true = tissue_prior(MESH, reference=0.3, modes=100, sd_log=TRUE[0], correlation_length=TRUE[1])
    field = np.asarray(true.basis) @ random.standard_normal(basis.shape[1])
    log_d = field + noise * random.standard_normal(NODES)
    places = tissue_places(white)["tissue"]["diffusivity"]
    flat, back = ravel_pytree(white)
    slope = np.zeros((NODES, flat.size))
    slope[:, places] = basis / noise
    rest = slope @ np.asarray(flat) - log_d / noise
    return log_d, back(jnp.asarray(slope.T @ rest)), slope.T @ slope


def test_scales_are_those_of_the_largest_evidence_whatever_the_point():
    """Against the density of the measurements themselves, with dense covariances."""
    problem, noise, found = open_problem(twin()), 0.02, []
    for start in (0.0, 0.7):
        white = problem.prior.mean | {"tissue": {"diffusivity": jnp.full(101, start)}}
        log_d, gradient, curvature = measured_log_d(problem, white, noise)
        prior = inferred_prior(problem.prior, problem.twin, white, gradient, curvature)
        found.append(np.asarray(prior.scales["diffusivity"]))

    def dense(logs):
        made = tissue_prior(
            MESH, reference=0.3, modes=100, sd_log=np.exp(logs[0]), correlation_length=np.exp(logs[1])
        )
        basis = np.asarray(made.basis)
        covariance = basis @ basis.T + noise**2 * np.eye(NODES)
        _, volume = np.linalg.slogdet(covariance)
        away = (logs - np.log(GIVEN)) / SD
        return 0.5 * log_d @ np.linalg.solve(covariance, log_d) + 0.5 * volume + 0.5 * away @ away

    expected = np.exp(minimize(dense, np.log(TRUE), method="Nelder-Mead", options={"xatol": 1e-4}).x)
    np.testing.assert_allclose(found, [expected, expected], rtol=0.01)
    assert found[0][0] == pytest.approx(TRUE[0], rel=0.3)
    assert found[0][1] == pytest.approx(TRUE[1], rel=0.3)


def test_a_prior_with_other_scales_is_that_of_the_fields_made_with_them():
    one = twin(discrepancy=jt.discrepancy(MESH, sd_ms=2.0, correlation_length=15.0, modes=50))
    problem = open_problem(one)
    new = {"diffusivity": np.asarray(TRUE), "discrepancy": np.asarray([5.0, 8.0])}
    prior = scaled_prior(problem.prior, one, new)
    made = tissue_prior(MESH, reference=0.3, modes=100, sd_log=TRUE[0], correlation_length=TRUE[1])
    times = jt.discrepancy(MESH, sd_ms=5.0, correlation_length=8.0, modes=50)
    random = np.random.default_rng(1)
    white = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape)), prior.mean)
    theta = prior.at(white)
    np.testing.assert_allclose(
        one.tissue_map.diffusivity(theta["tissue"]), made.diffusivity(white["tissue"]), rtol=1e-9
    )
    expected = times.basis @ white["maps"]["discrepancy"][0]
    np.testing.assert_allclose(one.discrepancy_ms(theta, 0), expected, atol=1e-9)
    back = ravel_pytree(prior.white(theta))[0]
    np.testing.assert_allclose(back, ravel_pytree(white)[0], rtol=1e-9, atol=1e-12)


def test_scales_as_they_were_given_change_nothing():
    prior = open_problem(twin()).prior
    np.testing.assert_array_equal(prior.root, 1.0)
    np.testing.assert_allclose(prior.scales["diffusivity"], GIVEN)


def test_without_scales_to_infer_a_prior_stays_as_it_is():
    problem = problem_of(twin(infer_scales=False))
    assert open_prior(problem.prior, problem.twin) is problem.prior


def test_a_fit_infers_scales_and_leaves_the_meaning_of_theta():
    """The twin that was given predicts the same from the estimate as the twin of the fit."""
    one, random = twin(), np.random.default_rng(3)
    drawn = tissue_prior(MESH, reference=0.3, modes=100, sd_log=TRUE[0], correlation_length=TRUE[1])
    coefficients = jnp.asarray(random.normal(size=101))
    true = eqx.tree_at(lambda t: t.tissue_map, one, drawn)
    lat = np.asarray(true.predict(true.mean() | {"tissue": {"diffusivity": coefficients}}))
    data = jt.MappingData(MESH.points[::3], lat[::3] + 0.2 * random.normal(size=len(lat[::3])))
    found = jt.fit(one, data.with_sigma(0.2), iterations=2)
    sd, length = np.asarray(found.problem.prior.scales["diffusivity"])
    assert sd < 0.45, "half of what was given is true"
    assert length != GIVEN[1]
    np.testing.assert_allclose(one.predict(found.theta), found.twin.predict(found.theta))
    assert np.sqrt(np.nanmean((np.asarray(one.predict(found.theta)) - lat) ** 2)) < 1.0
