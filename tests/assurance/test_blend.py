"""The twin and interpolation together: each where it errs less, and nothing held out takes part."""

import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.assurance import Blend, judge
from jaxtwin.assurance.baselines import GaussianProcess, RadialBasis
from jaxtwin.assurance.blend import CANDIDATES, PHYSICS, _least, carried_by
from jaxtwin.fem import geodesic

NOISE = 1.0


@pytest.fixture(scope="module")
def wave():
    """A wave on an atrium, 120 noisy points of it on one half, and the nodes far from all of them."""
    mesh = jt.atrial_shell(3.0)
    truth = geodesic(mesh, np.array([100]))[0] / 0.6
    rng = np.random.default_rng(0)
    half = mesh.points[:, 0] < np.median(mesh.points[:, 0])
    chosen = rng.permutation(np.flatnonzero(half))[:120]
    lat = truth[chosen] + NOISE * rng.normal(size=120)
    far = mesh.points[:, 0] > np.quantile(mesh.points[:, 0], 0.8)
    near = half & ~np.isin(np.arange(len(half)), chosen)
    return mesh, truth, chosen, lat, near, far


def combined(wave, twin, wanted, sd=0.2, lat=None):
    mesh, _, chosen, measured, *_ = wave
    lat = measured if lat is None else lat
    # a fit of which each point determines a part as large as the posterior variance over that of the noise
    kept, variance = 1.0 - (sd / NOISE) ** 2, np.full(len(lat), NOISE**2 / (1.0 - (sd / NOISE) ** 2))
    left = (lat - twin[chosen]) / kept
    one = Blend(mesh, mesh.points[chosen], lat, twin, np.full(len(twin), sd), left, variance, NOISE)
    times, weights = one(mesh.points[wanted])
    return times, weights[:, :PHYSICS].sum(axis=1)


def rmse(found, truth):
    return np.sqrt(np.mean((found - truth) ** 2))


def test_a_twin_that_is_right_carries(wave):
    _, truth, _, _, near, far = wave
    for wanted, least in ((near, 0.6), (far, 0.9)):  # beside points interpolation is almost as good
        times, share = combined(wave, truth, wanted)
        assert np.median(share) > least
        assert rmse(times, truth[wanted]) < 0.5 * NOISE


def test_a_twin_that_is_useless_leaves_it_to_interpolation(wave):
    mesh, truth, chosen, lat, near, _ = wave
    useless = 100.0 * np.sin(mesh.points[:, 1] / 2.0)
    times, share = combined(wave, useless, near)
    assert np.median(share) < 0.1
    alone = GaussianProcess(mesh, mesh.points[chosen], lat)(mesh.points[near])
    assert rmse(times, truth[near]) < 1.1 * rmse(alone, truth[near])


def test_physics_carries_far_from_all_points_where_it_is_as_good_as_interpolation_near_them(wave):
    mesh, truth, _, _, near, far = wave
    twin = truth + 3.0 * np.sin(mesh.points[:, 1] / 4.0)
    _, of_near = combined(wave, twin, near)
    times, of_far = combined(wave, twin, far)
    assert np.mean(of_far) > np.mean(of_near) + 0.2
    assert rmse(times, truth[far]) < 4.0


def test_its_interpolations_are_those_that_the_twin_is_compared_with(monkeypatch):
    """Also above the number of points from which radial basis functions take the closest ones."""
    monkeypatch.setattr("jaxtwin.assurance.baselines.DENSE", 150)
    mesh, random = jt.sheet(20.0, 20.0, 1.0), np.random.default_rng(0)
    lat = 30.0 + 2.0 * np.cos(mesh.points[:, 0] / 3.0) * mesh.points[:, 1]
    order = random.permutation(len(lat))
    known, wanted = order[:260], order[260:300]
    twin = lat + 5.0 * random.normal(size=len(lat))
    sd, left = np.full(len(lat), 0.1), (lat - twin)[known]
    one = Blend(mesh, mesh.points[known], lat[known], twin, sd, left, np.full(len(known), 25.0), 5.0)
    times, weights = one(mesh.points[wanted])
    assert np.median(weights[:, PHYSICS:].sum(axis=1)) > 0.9
    parts = [
        made(*more, mesh.points[known], values)(mesh.points[wanted])
        for values in (left, lat[known])
        for made, more in ((RadialBasis, ()), (GaussianProcess, (mesh,)))
    ]
    there = twin[wanted]
    values = np.stack([there, there + parts[0], there + parts[1], *parts[2:]], axis=1)
    np.testing.assert_allclose(times, np.sum(weights * values, axis=1), rtol=1e-9)


@pytest.mark.parametrize("method", ["radial_basis", "gaussian_process"])
def test_errors_of_points_left_out_are_those_of_interpolations_without_them(wave, method, monkeypatch):
    """Length, kernel and smoothing stay those of all points: one of each to choose from."""
    mesh, _, chosen, lat, *_ = wave
    monkeypatch.setattr("jaxtwin.assurance.baselines.MODES", 60)
    monkeypatch.setattr("jaxtwin.assurance.baselines.LENGTHS", (0.3,))
    monkeypatch.setattr("jaxtwin.assurance.baselines.SIGNALS", np.array([30.0]))
    monkeypatch.setattr("jaxtwin.assurance.baselines.KERNELS", {"linear": lambda r: -r})
    monkeypatch.setattr("jaxtwin.assurance.baselines.SMOOTHING", (1e-7,))
    at = mesh.points[chosen]
    made = {"radial_basis": RadialBasis, "gaussian_process": lambda *a: GaussianProcess(mesh, *a)}[method]
    found = made(at, lat).left_out()
    for k in (0, 17, 80):
        rest = np.arange(len(lat)) != k
        expected = lat[k] - made(at[rest], lat[rest])(at[k : k + 1])[0]
        # the scale of a process is that of the points it has: without one it hardly changes
        assert found[k] == pytest.approx(expected, abs=1e-3 if method == "radial_basis" else 0.1)


def test_errors_from_neighbours_alone_are_those_of_an_interpolation_from_them(wave, monkeypatch):
    mesh, _, chosen, lat, *_ = wave
    exact = RadialBasis(mesh.points[chosen], lat).left_out()
    monkeypatch.setattr("jaxtwin.assurance.baselines.DENSE", 60)
    found = RadialBasis(mesh.points[chosen], lat)
    left = found.left_out()
    assert np.isfinite(left).sum() == 60
    seen = np.isfinite(left)
    assert np.corrcoef(left[seen], exact[seen])[0, 1] > 0.9


def test_outliers_do_not_move_the_weights(wave):
    _, truth, _, lat, near, _ = wave
    wrong = lat.copy()
    wrong[[5, 50]] += 150.0
    _, share = combined(wave, truth, near)
    times, with_outliers = combined(wave, truth, near, lat=wrong)
    assert np.median(with_outliers) > 0.8 * np.median(share)
    assert rmse(times, truth[near]) < 3.0 * NOISE


def test_fewer_than_five_points_leave_the_twin_alone(wave):
    mesh, truth, chosen, lat, *_ = wave
    left = np.zeros(4), np.ones(4)
    one = Blend(mesh, mesh.points[chosen[:4]], lat[:4], truth, np.full(len(truth), 0.2), *left, NOISE)
    times, weights = one(mesh.points)
    np.testing.assert_allclose(times, truth, atol=1e-9)
    np.testing.assert_array_equal(weights[:, 0], 1.0)


def test_nothing_is_predicted_where_the_twin_activates_nothing(wave):
    _, truth, _, _, near, _ = wave
    twin = truth.copy()
    blocked = np.flatnonzero(near)[:30]
    twin[blocked] = np.nan
    times, _ = combined(wave, twin, blocked)
    assert np.isnan(times).all()


def test_weights_are_those_of_least_error_among_all_of_sum_one():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(20, len(CANDIDATES), 7))
    products = factors @ factors.swapaxes(1, 2)
    weights = _least(products)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert weights.min() >= 0.0
    trials = rng.dirichlet(np.ones(len(CANDIDATES)), 4000)
    least = np.einsum("ni,nij,nj->n", weights, products, weights)
    assert (np.einsum("ti,nij,tj->nt", trials, products, trials).min(axis=1) >= least - 1e-9).all()


def test_what_carries_is_said_by_the_share_of_physics():
    assert [carried_by(share) for share in (0.9, 0.5, 0.1)] == ["physics", "both", "interpolation"]
    assert all("twin" in name for name in CANDIDATES[:PHYSICS])


def test_nothing_held_out_takes_part_in_the_judgement(wave):
    mesh, truth, *_ = wave
    rng = np.random.default_rng(1)
    lat = truth + rng.normal(size=len(truth))
    out = np.arange(len(lat)) % 3 == 0
    parts = {"fit": ~out, "held_out_points": out, "held_out_patch": np.zeros(len(lat), bool)}
    found = []
    for shift in (0.0, 40.0):
        data = jt.MappingData(mesh.points, lat + shift * out)
        known = judge.interpolations(mesh, data, parts)
        sd = np.full((1, len(truth)), 0.2)
        found.append(
            judge.combined(mesh, data, parts, truth[None], sd, (lat - truth, np.ones(len(lat))), NOISE, known)
        )
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][2]["weights"] == found[1][2]["weights"]
    assert found[1][2]["held_out_points"]["rmse_ms"] > 30.0
    assert sum(found[0][2]["weights"].values()) == pytest.approx(1.0)
