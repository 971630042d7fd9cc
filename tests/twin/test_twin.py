"""The twin on a small sheet: conductivity and clock of maps whose truth is known, and what it refuses."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.anatomy import Mesh
from jaxtwin.twin.search import objective

FLAT = jt.sheet(6.0, 6.0, 0.5, fibre_angle=0.4)
MESH = Mesh(FLAT.points, FLAT.cells, FLAT.fibres, np.where(FLAT.centroids[:, 0] < 3.0, 4, 7))
NODES = len(MESH.points)
CORNERS = [0.0, 0.0], [6.0, 6.0]
OFFSETS = 0.0, 12.0  # ms; the second map has a clock of its own


def make(basis, reference=0.15, **more) -> jt.Twin:
    settings = {
        "ionic": jt.MitchellSchaeffer(),
        "conductivity": jt.LogConductivity(basis, reference=reference, floor=0.05, ceiling=1.0, ratio=2.0),
        "stimuli": tuple(jt.pulse(jt.in_sphere(MESH, c, 1.1), NODES) for c in CORNERS),
        "times": jt.Times(40.0, 0.1),
    }
    return jt.Twin(MESH, **settings | more)


def maps(twin: jt.Twin, theta) -> jt.MappingData:
    """Two maps of the nodes by the twin itself at theta, with 0.2 ms of noise and the offsets added."""
    lats = [np.asarray(twin.predict(theta, k)) for k in range(2)]
    rng = np.random.default_rng(0)
    lat = np.concatenate([lat + o + rng.normal(0, 0.2, NODES) for lat, o in zip(lats, OFFSETS, strict=True)])
    return jt.MappingData(
        np.tile(MESH.points, (2, 1)), lat, map_index=np.repeat([0, 1], NODES), names=("one", "two")
    )


@pytest.fixture(scope="module")
def uniform():
    """A twin of one number, the truth 0.25 mm2/ms, its maps, and the fit from 0.15 mm2/ms."""
    twin = make(jt.uniform(NODES))
    truth = twin.mean() | {"conductivity": jnp.asarray([np.log(0.25 / 0.15)])}
    data = maps(twin, truth)
    return twin, truth, data, twin.fit(data, iterations=20, sigma_ms=0.2)


def test_conductivity_and_offsets_are_recovered(uniform):
    """D within 2 %, the clock of the second map against the first within 0.3 ms, all points captured."""
    twin, _, data, fit = uniform
    np.testing.assert_allclose(twin.conductivity.diffusivity(fit.theta), 0.25, rtol=0.02)
    np.testing.assert_allclose(twin.offset_ms(fit.theta), OFFSETS, atol=0.3)
    assert fit.assessment.captured == len(data.lat_ms)
    assert fit.assessment.rmse_ms == pytest.approx(0.2, rel=0.15)
    assert fit.history[0]["rmse_ms"] > 3.0


def test_the_posterior_is_that_of_the_linearised_twin(uniform):
    """Variances against dense algebra with a Jacobian from differences of predictions."""
    _, _, data, fit = uniform
    twin = make(jt.uniform(NODES), mesh_error=False)
    theta = {name: value for name, value in fit.theta.items() if name != "mesh_error"}
    found = twin.posterior(data, theta, sigma_ms=0.2).variance()

    def moved(name, place, step):
        return theta | {name: theta[name].at[place].add(step)}

    def predicted(theta):
        return np.concatenate([twin.predict(theta, k) for k in range(2)])

    numbers = [("conductivity", 0), ("offset", 0), ("offset", 1)]
    slope = np.stack(
        [(predicted(moved(n, p, 1e-4)) - predicted(moved(n, p, -1e-4))) / 2e-4 for n, p in numbers], axis=1
    )
    scale = 0.2 * float(np.exp(theta["noise"]))
    points = len(data.lat_ms)
    gain = np.append(np.linalg.eigvalsh(slope.T @ slope * 5.0 / 7.0 / scale**2), points * 8.0 / 7.0)
    lost = (gain / (1.0 + gain)).sum() / points
    share = twin.likelihood.efficiency((predicted(theta) - data.lat_ms) / scale / np.sqrt(1.0 - lost))
    each = 5.0 / 7.0 * share / scale**2
    exact = np.diag(np.linalg.inv(np.eye(3) + slope.T @ slope * each))
    np.testing.assert_allclose([found[n][p] for n, p in numbers], exact, rtol=1e-3)
    left = share * (1.0 - lost) * points
    assert float(found["noise"]) == pytest.approx(1.0 / (1.0 + left * 8.0 / 7.0), rel=1e-4)


def test_predictions_are_on_the_clock_of_their_map(uniform):
    """So that they can be laid beside the data."""
    twin, _, data, fit = uniform
    for k in range(2):
        residual = np.asarray(twin.predict(fit.theta, k)) - data.lat_ms[data.map_index == k]
        assert np.abs(residual.mean()) < 0.05
        assert residual.std() < 0.3


def test_the_loss_has_the_prior_in_it(uniform):
    """|theta|^2/2 beside the likelihood: the same maps with all points left out cost nothing else."""
    twin, truth, data, _ = uniform
    without = tuple(
        eqx.tree_at(lambda o: o.weight, o, jnp.zeros_like(o.weight))
        for o in twin.observations(data, sigma_ms=0.2)
    )
    assert objective(twin, without)(truth).loss == pytest.approx(0.5 * np.log(0.25 / 0.15) ** 2)


def test_the_default_step_is_stable_at_the_ceiling(uniform):
    """Wherever the optimiser goes below it."""
    twin, *_ = uniform
    lat = twin.predict(twin.mean() | {"conductivity": jnp.asarray([50.0])})
    assert np.isfinite(lat).all()


def test_two_regions_are_told_apart():
    """0.12 mm2/ms in one half and 0.35 in the other, from 0.2 in both: within 5 % in the cells of each."""
    twin = make(jt.per_region(MESH), reference=0.2)
    truth = twin.mean() | {"conductivity": jnp.log(jnp.asarray([0.12, 0.35]) / 0.2)}
    fit = twin.fit(maps(twin, truth), iterations=25, sigma_ms=0.2)
    found = 0.2 * np.exp(fit.theta["conductivity"])
    np.testing.assert_allclose(found, [0.12, 0.35], rtol=0.05)
    np.testing.assert_allclose(twin.offset_ms(fit.theta), OFFSETS, atol=0.3)


def test_one_stimulus_for_each_map(uniform):
    twin, _, data, _ = uniform
    alone = make(jt.uniform(NODES), stimuli=twin.stimuli[:1])
    with pytest.raises(jt.InputError, match=r"2 maps and 1 stimuli.*one stimulus for each map"):
        alone.fit(data)


def test_a_simulation_shorter_than_the_map_is_refused(uniform):
    *_, data, _ = uniform
    short = make(jt.uniform(NODES), times=jt.Times(15.0, 0.1))
    with pytest.raises(jt.InputError, match=r"a simulation of 15 ms.*Simulate at least") as refusal:
        short.fit(data)
    assert f"{data.lat_ms.max():.4g} ms" in refusal.value.got


@pytest.mark.parametrize("ratio", [0.5, 0.0, -2.0, np.nan])
def test_a_ratio_below_one_is_refused(ratio):
    with pytest.raises(jt.InputError, match="1 or more"):
        jt.LogConductivity(jt.uniform(NODES), reference=0.2, floor=0.05, ceiling=1.0, ratio=float(ratio))


def test_silent_points_raise_the_loss_where_the_simulation_activates_them(uniform):
    """The same map with ten points at which the catheter found nothing: they are used, and cost."""
    twin, truth, data, _ = uniform
    silent = np.arange(len(data.lat_ms)) < 10
    quiet = jt.MappingData(
        data.positions, data.lat_ms, silent=silent, map_index=data.map_index, names=data.names
    )
    heard = data.without(silent, "left out")
    losses = [objective(twin, twin.observations(d, sigma_ms=0.2))(truth) for d in (quiet, heard)]
    assert losses[0].loss > losses[1].loss + 10.0
    assert losses[0].captured == losses[1].captured


def test_a_map_without_a_point_does_not_stop_the_others(uniform):
    """The first map without a point is no reason to stop: the second is fitted."""
    twin, truth, data, _ = uniform
    second = data.subset(data.map_index == 1)
    assert objective(twin, twin.observations(second, sigma_ms=0.2))(truth).captured == len(second.lat_ms)


def test_predictions_are_what_the_fit_compares_with_the_map(uniform):
    """With the share of the error of the mesh that was found: the misfit of `predict` is that of the fit."""
    twin, _, data, fit = uniform
    assert np.abs(fit.theta["mesh_error"]).max() > 0.01
    gap = np.concatenate([twin.predict(fit.theta, k) for k in range(2)]) - data.lat_ms
    assert np.sqrt(np.mean(gap**2)) == pytest.approx(fit.assessment.rmse_ms, rel=1e-3)


def test_the_error_of_the_mesh_is_a_factor_times_its_estimate(uniform):
    """One unit of a level moves times by 0.6 of the estimate, a fifth of that variance each map's own."""
    twin, truth, _, _ = uniform
    own, shared = (truth | {"mesh_error": truth["mesh_error"].at[k, 0].set(1.0)} for k in (0, -1))
    estimate = 0.6 * np.stack([twin.wave(truth, k).error.of_nodes for k in range(2)])
    before = [twin.predict(truth, k) for k in range(2)]
    np.testing.assert_allclose(twin.predict(own, 0) - before[0], 0.2**0.5 * estimate[0], atol=1e-6)
    np.testing.assert_array_equal(twin.predict(own, 1), before[1])
    np.testing.assert_allclose(twin.predict(shared, 1) - before[1], 0.8**0.5 * estimate[1], atol=1e-6)
    # where nothing was measured stands what all maps share
    unseen = [twin.foretell(theta, twin.stimuli[0]) for theta in (truth, own, shared)]
    np.testing.assert_array_equal(unseen[1], unseen[0])
    np.testing.assert_allclose(unseen[2] - unseen[0], 0.8**0.5 * estimate[0], atol=1e-6)


def test_what_the_mesh_leaves_of_the_conductivity_is_twice_the_relative_error_of_times(uniform):
    twin, truth, _, _ = uniform
    found = twin.error_of_conductivity(truth)
    times = [np.asarray(twin.predict(truth, k)) for k in range(2)]
    late = np.min([t - t.min() for t in times], axis=0) > 5.0
    shares = [
        2.0 * twin.wave(truth, k).error.of_nodes[late] / (t[late] - t.min()) for k, t in enumerate(times)
    ]
    np.testing.assert_allclose(found[late], np.mean(shares, axis=0), rtol=1e-4)
    assert not make(jt.uniform(NODES), mesh_error=False).error_of_conductivity(truth).any()


def test_an_unknown_optimiser_is_refused(uniform):
    twin, _, data, _ = uniform
    with pytest.raises(jt.InputError, match="trust_region or lbfgs"):
        twin.fit(data, optimiser="adam")


def test_both_optimisers_find_the_same(uniform):
    twin, _, data, fit = uniform
    other = twin.fit(data, iterations=40, sigma_ms=0.2, optimiser="lbfgs")
    d = twin.conductivity.diffusivity
    np.testing.assert_allclose(d(other.theta)[0], d(fit.theta)[0], rtol=5e-3)


def test_the_fit_warns_of_cell_parameters_that_one_beat_cannot_tell_apart():
    """D, tau_in and tau_out from arrival times: fewer combinations than that, the first that of speed."""
    twin = make(jt.uniform(NODES), ionic_sd={"tau_in": 0.5, "tau_out": 0.5})
    data = maps(twin, twin.mean())
    with pytest.warns(jt.twin.IdentifiabilityWarning, match="log tau_in"):
        twin.fit(data, iterations=1, sigma_ms=4.0)
    best = twin.combinations(data, sigma_ms=4.0)[0]
    np.testing.assert_allclose(best.share, [-0.71, 1.0, -0.29], atol=0.2)


def test_the_bound_of_one_parameter_is_that_of_a_line_through_the_points(uniform):
    """sd(log D) = noise/sqrt(sum (slope - mean of its map)^2), the slopes from differences of predictions."""
    twin, truth, data, _ = uniform
    step = 1e-3
    move = {sign: truth | {"conductivity": truth["conductivity"] + sign * step} for sign in (1.0, -1.0)}
    gaps = [(twin.predict(move[1.0], k) - twin.predict(move[-1.0], k)) / (2.0 * step) for k in range(2)]
    place = [data.map_index == k for k in range(2)]
    slopes = [np.asarray(gap) for gap in gaps]
    assert all(len(slope) == mask.sum() for slope, mask in zip(slopes, place, strict=True))
    square = sum(((slope - slope.mean()) ** 2).sum() for slope in slopes) / 4.0**2
    assert twin.cramer_rao(data, truth, sigma_ms=4.0) == {"D": pytest.approx(square**-0.5, rel=0.02)}


def test_one_beat_hardly_bounds_each_of_three_parameters():
    twin = make(jt.uniform(NODES), ionic_sd={"tau_in": 0.5, "tau_out": 0.5})
    data = maps(twin, twin.mean())
    found = twin.cramer_rao(data, sigma_ms=4.0)
    assert list(found) == ["D", "tau_in", "tau_out"]
    alone = make(jt.uniform(NODES)).cramer_rao(data, sigma_ms=4.0)
    assert found["D"] > 5.0 * alone["D"], "one beat tells a combination of the three"


def test_a_cell_parameter_that_is_none_is_refused():
    with pytest.raises(jt.InputError, match="'tau_up' as a parameter"):
        make(jt.uniform(NODES), ionic_sd={"tau_up": 0.1})
