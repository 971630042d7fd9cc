"""theta to conductivity: its bounds, its middle, the scar, and the bases."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxtwin as jt
from jaxtwin.anatomy import Mesh
from jaxtwin.fem import lumped_mass
from jaxtwin.twin import discrepancy, tissue_prior
from jaxtwin.twin.tissue_map import soft_clip

NODES = 6
BOUNDS: dict[str, Any] = {"reference": 0.3, "floor": 0.02, "ceiling": 4.0}


def conductivity(scar: bool = False, **more) -> jt.LogDiffusivity:
    bases = {"basis": jt.uniform(NODES, 0.5), "scar_basis": jt.uniform(NODES, 2.0) if scar else None}
    return jt.LogDiffusivity(**bases | BOUNDS | more)


@settings(max_examples=15, deadline=None)
@given(st.floats(-5, 5), st.floats(0.1, 9))
def test_soft_clip_stays_between_its_ends_and_rises_all_the_way(low, gap):
    """However close its ends are; within the middle x itself, to 1 % of a unit."""
    high = low + gap
    x = jnp.linspace(low - 50.0, high + 50.0, 1001)
    y = np.asarray(soft_clip(x, low, high))
    assert low - 1e-12 <= y.min()
    assert y.max() <= high + 1e-12
    assert (np.diff(y) >= -1e-12).all()
    middle = (x > low + 1.0) & (x < high - 1.0)
    np.testing.assert_allclose(y[middle], x[middle], atol=0.01)
    assert np.isfinite(jax.vmap(jax.grad(lambda x: soft_clip(x, low, high)))(x)).all()


def test_the_middle_of_the_prior_is_the_reference():
    model = conductivity()
    theta = model.mean()
    assert {k: v.tolist() for k, v in theta.items()} == {"diffusivity": [0.0]}
    np.testing.assert_allclose(model.diffusivity(theta), 0.3, rtol=1e-4)
    np.testing.assert_array_equal(model.scar(theta), 0.0)


def test_a_unit_of_theta_is_a_standard_deviation_of_log_d():
    found = conductivity().diffusivity({"diffusivity": jnp.asarray([1.0])})
    np.testing.assert_allclose(found, 0.3 * np.exp(0.5), rtol=1e-4)


@pytest.mark.parametrize(("z", "bound"), [(-1e4, 0.02), (1e4, 4.0)])
def test_no_theta_leaves_the_bounds(z, bound):
    """And the derivative there is finite, so that the optimiser comes back."""
    model = conductivity()
    theta = {"diffusivity": jnp.asarray([z])}
    np.testing.assert_allclose(model.diffusivity(theta), bound, rtol=1e-5)
    assert float(model.diffusivity(theta).max()) <= 4.0 * (1 + 1e-12)
    slope = jax.grad(lambda t: model.diffusivity(t).sum())(theta)
    assert np.isfinite(slope["diffusivity"]).all()


def test_scar_lowers_d_and_nothing_else():
    """log D = log D_0 - depth sigmoid(bias + B s), from next to no scar to nothing but scar."""
    model = conductivity(scar=True, scar_depth=2.0, scar_bias=-3.0, sharpness=1.0)
    theta = model.mean()
    assert theta["scar"].tolist() == [0.0]
    np.testing.assert_allclose(model.scar(theta), 1 / (1 + np.exp(3.0)), rtol=1e-12)
    for s in (-5.0, 0.0, 1.0, 2.0, 50.0):
        theta = {"diffusivity": jnp.zeros(1), "scar": jnp.asarray([s])}
        scar = 1 / (1 + np.exp(3.0 - 2.0 * s))
        np.testing.assert_allclose(model.scar(theta), scar, rtol=1e-12)
        np.testing.assert_allclose(model.diffusivity(theta), 0.3 * np.exp(-2.0 * scar), rtol=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor": 0.3}, {"ceiling": 0.3}, {"floor": 0.0},
        {"floor": -1.0}, {"reference": 5.0}, {"reference": np.nan},
    ],
)  # fmt: skip
def test_bounds_out_of_order_are_refused(wrong):
    with pytest.raises(jt.InputError, match="0 < floor < reference < ceiling"):
        conductivity(**wrong)


def test_regions_share_the_nodes_on_their_border():
    """Tags ascending; a node between two regions takes the mean over its cells."""
    line = jt.cable(4.0, 1.0)
    mesh = Mesh(line.points, line.cells, line.fibres, [9, 9, 2, 2])
    basis = jt.per_region(mesh, sd=2.0)
    np.testing.assert_array_equal(basis, 2.0 * np.array([[0, 1], [0, 1], [0.5, 0.5], [1, 0], [1, 0]]))
    square = jt.sheet(2.0, 2.0, 0.5)
    mesh = Mesh(square.points, square.cells, square.fibres, np.arange(len(square.cells)) % 3)
    np.testing.assert_allclose(jt.per_region(mesh).sum(axis=1), 1.0, rtol=1e-14)


def test_a_field_has_a_free_level_and_unit_modes():
    """Prior variance of log D: level_sd^2 everywhere plus sd^2 on average over the surface."""
    mesh = jt.sheet(4.0, 4.0, 1.0)
    modes = jt.matern_modes(mesh, correlation_length=2.0, count=7)
    basis = jt.field(modes, sd=0.6, level_sd=1.5)
    assert basis.shape == (len(mesh.points), 8)
    np.testing.assert_array_equal(basis[:, 0], 1.5)
    np.testing.assert_allclose(basis[:, 1:], 0.6 * modes.modes, rtol=1e-15)
    variance = (np.asarray(basis) ** 2).sum(axis=1)
    assert np.average(variance, weights=lumped_mass(mesh)) == pytest.approx(1.5**2 + 0.6**2, rel=1e-10)


def test_an_estimated_ratio_leaves_the_mean_over_directions():
    """log D_l + log D_t stays what it was, whatever the ratio."""
    model = conductivity(ratio=4.0, ratio_basis=jt.uniform(NODES, 0.5))
    theta = model.mean() | {"ratio": jnp.asarray([1.2])}
    stretch, shear = model.anisotropy(model.fields(theta))
    assert shear is None
    np.testing.assert_allclose(2.0 * stretch, np.log(4.0) + 0.6)
    mean = np.log(model.diffusivity(theta)) - stretch
    np.testing.assert_allclose(mean, np.log(model.diffusivity(model.mean())) - 0.5 * np.log(4.0), atol=1e-3)


def test_an_estimated_shear_turns_the_fast_direction_and_raises_the_ratio():
    """Angle half of atan2(shear, stretch), ratio exp(2 |(stretch, shear)|)."""
    model = conductivity(ratio=4.0, angle_basis=jt.uniform(NODES, 0.3))
    theta = model.mean() | {"angle": jnp.asarray([1.0])}
    stretch, shear = model.anisotropy(model.fields(theta))
    np.testing.assert_allclose(shear, 0.3)
    np.testing.assert_allclose(stretch, 0.5 * np.log(4.0))
    grown = np.hypot(0.3, 0.5 * np.log(4.0)) - 0.5 * np.log(4.0)
    np.testing.assert_allclose(model.diffusivity(theta), 0.3 * np.exp(grown), rtol=1e-3)


def test_a_softened_scar_has_the_same_outline():
    model = conductivity(scar=True, sharpness=4.0, scar_bias=-5.0)
    theta = {"diffusivity": jnp.zeros(1), "scar": jnp.asarray([2.0])}
    logit = 4.0 * (-5.0 + 2.0 * 2.0)
    np.testing.assert_allclose(model.scar(theta), 1 / (1 + np.exp(-logit)), rtol=1e-12)
    # from where a place without scar has 5 % of it to its own sharpness, by equal factors
    for share, sharpness in ((0.0, 0.6), (0.5, (0.6 * 4.0) ** 0.5), (1.0, 4.0)):
        expected = 1 / (1 + np.exp(-logit * sharpness / 4.0))
        np.testing.assert_allclose(model.softened(share).scar(theta), expected, rtol=1e-12)


def test_depth_and_border_of_a_scar_are_its_own_once_the_border_is_sharp():
    nodes = jnp.linspace(-2.0, 8.0, 50)[:, None]
    given: dict[str, Any] = {
        "reference": 0.3, "floor": 1e-6, "ceiling": 4.0, "scar_basis": nodes,
        "depth_basis": jt.uniform(50, 0.3), "border_basis": jt.uniform(50, 0.6),
    }  # fmt: skip
    tissue_map = jt.LogDiffusivity(jt.uniform(50), **given)
    theta = {name: jnp.zeros(1) for name in tissue_map.bases} | {"scar": jnp.ones(1)}
    deeper, thinner = theta | {"depth": jnp.ones(1)}, theta | {"border": jnp.ones(1)}

    def steepness(scar):
        return np.ptp(np.interp([0.27, 0.73], np.asarray(scar), np.arange(50)))

    log_d = [np.log(np.asarray(tissue_map.diffusivity(each))) for each in (theta, deeper)]
    assert (log_d[1][0] - log_d[1][-1]) / (log_d[0][0] - log_d[0][-1]) == pytest.approx(np.exp(0.3), rel=1e-2)
    soft, sharp = (steepness(tissue_map.scar(each)) for each in (theta, thinner))
    assert soft / sharp == pytest.approx(np.exp(0.6), rel=0.1)
    blurred = tissue_map.softened(0.5)
    for each in (deeper, thinner):
        np.testing.assert_array_equal(blurred.diffusivity(each), blurred.diffusivity(theta))


def test_a_coarse_map_has_the_longest_waves_and_is_the_same_without_the_others():
    mesh = jt.sheet(20.0, 20.0, 1.0)
    whole = tissue_prior(mesh, reference=0.3, modes=60, scar=True)
    coarse = whole.coarse(20)
    assert {name: basis.shape[1] for name, basis in coarse.bases.items()} == {
        "diffusivity": 21, "scar": 21, "depth": 1, "border": 1,
    }  # fmt: skip
    theta = {name: jnp.full(mean.shape, 0.3).at[21:].set(0.0) for name, mean in whole.mean().items()}
    np.testing.assert_allclose(coarse.diffusivity(theta), whole.diffusivity(theta), rtol=1e-12)
    short = {name: values.at[21:].set(1.0) for name, values in theta.items()}
    np.testing.assert_array_equal(coarse.diffusivity(short), coarse.diffusivity(theta))
    assert np.abs(whole.diffusivity(short) / whole.diffusivity(theta) - 1.0).max() > 0.1


def test_other_scales_of_a_field_give_its_modes_the_weights_of_the_field_made_with_them():
    mesh = jt.sheet(20.0, 20.0, 1.0)
    given: dict[str, Any] = {"reference": 0.3, "modes": 60}
    made = tissue_prior(mesh, sd_log=0.2, correlation_length=6.0, **given)
    other = tissue_prior(mesh, sd_log=0.7, correlation_length=11.0, **given)
    assert other.scales is not None
    weights = other.scales.weights(0.2, 6.0)
    np.testing.assert_allclose(other.basis[:, 1:] * weights[None], made.basis[:, 1:], atol=1e-12)
    np.testing.assert_allclose(other.scales.weights(0.7, 11.0), 1.0)
    assert tissue_prior(mesh, infer_scales=False, **given).scales is None


def test_the_prior_of_a_case_has_what_is_asked_for():
    """Its draws have the standard deviation of log D and the rare scar that the docstring claims."""
    mesh = jt.sheet(20.0, 20.0, 2.0)
    given: dict[str, Any] = {"reference": 0.3, "modes": 40}
    for kind, terms in (("field", 41), ("regions", 1), ("uniform", 1)):
        assert tissue_prior(mesh, kind=kind, **given).basis.shape == (len(mesh.points), terms)
    full = tissue_prior(mesh, scar=True, fibres=True, ratio=4.0, **given)
    assert set(full.bases) == {"diffusivity", "scar", "depth", "border", "ratio", "angle"}
    assert full.ratio == 1.0, "the tensor is estimated"
    level = np.sqrt((np.asarray(full.bases["scar"]) ** 2).sum(axis=1)).mean()
    assert 1.0 < level < 1.8, "exceeds 3 at about two standard deviations"
    with pytest.raises(jt.InputError, match="kind 'spline'"):
        tissue_prior(mesh, kind="spline", **given)
    basis = discrepancy(mesh, sd_ms=3.0, modes=40).basis
    assert basis.shape == (len(mesh.points), 39)
