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
from jaxtwin.inference.scales import SD, Scaled, rescaled, scales
from jaxtwin.twin import additive_terms, tissue_prior
from tests.inference.theta import placed_on, problem_of

MESH = jt.sheet(20.0, 20.0, 1.0)
NODES = len(MESH.points)
TRUE = 0.25, 5.0  # standard deviation and length, mm
GIVEN = 0.5, 10.0


def twin(**more):
    tissue_map = tissue_prior(
        MESH, reference=0.3, modes=100, sd_log=GIVEN[0], correlation_length=GIVEN[1], **more
    )
    return jt.Twin(
        MESH, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, times=jt.Times(60.0, 0.2),
        beats=(jt.pulse(jt.in_sphere(MESH, [0.0, 0.0], 2.0), NODES),), estimate_mesh_error=False,
    )  # fmt: skip


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
    problem, noise, found = problem_of(twin()), 0.02, []
    for start in (0.0, 0.7):
        white = problem.prior.mean | {
            "tissue": {"diffusivity": jnp.full(101, start)},
        }  # fmt: skip
        log_d, gradient, curvature = measured_log_d(problem, white, noise)
        scaled = rescaled(problem, white, gradient, curvature)
        assert scaled is not None
        own = scaled.problem.twin.tissue_map.scales
        found.append((float(own.sd), float(own.length_mm)))
        moved = scaled.problem.twin.tissue_map.diffusivity(scaled(white)["tissue"])
        np.testing.assert_allclose(
            moved, problem.twin.tissue_map.diffusivity(white["tissue"]), rtol=1e-9, err_msg="the same tissue"
        )

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


def test_scales_that_are_given_for_good_stay():
    problem = problem_of(twin(infer_scales=False))
    white = problem.prior.mean
    _, gradient, curvature = measured_log_d(problem, white)
    assert rescaled(problem, white, gradient, curvature) is None


def test_a_discrepancy_of_other_scales_is_the_same_field_at_the_points():
    other = jt.discrepancy(MESH, sd_ms=5.0, correlation_length=8.0, modes=50)
    problem = problem_of(eqx.tree_at(
        lambda t: t.discrepancy, twin(), jt.discrepancy(MESH, sd_ms=2.0, correlation_length=15.0, modes=50),
        is_leaf=lambda leaf: leaf is None,
    ))  # fmt: skip
    assert set(scales(problem)) == {"diffusivity", "discrepancy"}
    data = jt.MappingData(MESH.points[::40], np.full(len(MESH.points[::40]), 20.0))
    placed = placed_on(problem, data)
    random = np.random.default_rng(1)
    white = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape)), problem.prior.mean)
    scaled = Scaled(problem, {"discrepancy": (5.0, 8.0)})
    np.testing.assert_allclose(scaled.problem.twin.discrepancy.basis, other.basis, atol=1e-12)
    before, after = (
        additive_terms(problem.prior.at(at), one.twin, maps[0])
        for at, one, maps in (
            (white, problem, placed),
            (scaled(white), scaled.problem, scaled.placed(placed)),
        )
    )
    np.testing.assert_allclose(after, before, rtol=1e-9)
    assert np.ptp(before) > 1.0, "or there is nothing to compare"


def test_a_problem_with_its_own_scales_is_unchanged():
    problem = problem_of(twin())
    same = Scaled(problem, {"diffusivity": GIVEN})
    np.testing.assert_allclose(
        same.problem.twin.tissue_map.basis, problem.twin.tissue_map.basis, rtol=1e-12
    )  # fmt: skip
