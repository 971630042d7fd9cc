"""Baselines: exact where they must be, and as good as published on the real map."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import atrial_shell, cable, sheet
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.meshfile import read_mesh
from jaxtwin.anatomy.repair import repair
from jaxtwin.assurance.baselines import gaussian_process, isotropic_speed, radial_basis
from jaxtwin.fem.geodesic import geodesic
from jaxtwin.fem.locate import locate
from jaxtwin.fem.matern import laplace_modes, spectrum
from jaxtwin.mapping.data import MappingData


@pytest.mark.parametrize(("between", "limit"), [(0, 0.18), (1, 0.05), (3, 0.016)])
def test_geodesic_distance_on_a_flat_sheet_is_never_short_and_a_little_long(between, limit):
    mesh = sheet(20.0, 20.0, 1.0, distortion=0.2)
    exact = np.linalg.norm(mesh.points[1:] - mesh.points[0], axis=1)
    error = geodesic(mesh, np.array([0]), between)[0, 1:] / exact - 1
    assert error.min() > -1e-12
    assert limit / 3 < error.max() < limit


def test_geodesic_distance_goes_round_and_not_across():
    mesh = atrial_shell(3.0)
    far = int(np.linalg.norm(mesh.points - mesh.points[0], axis=1).argmax())
    (there,), (back,) = geodesic(mesh, np.array([0])), geodesic(mesh, np.array([far]))
    assert there[far] == pytest.approx(back[0])
    assert there[far] > 1.3 * np.linalg.norm(mesh.points[far] - mesh.points[0])
    line = cable(10.0, 1.0)
    np.testing.assert_allclose(geodesic(line, np.array([3]))[0], np.abs(np.arange(11.0) - 3))
    two = Mesh([[0.0, 0], [1, 0], [0, 1], [5, 5], [6, 5], [5, 6]], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(np.isinf(geodesic(two, np.array([0]))[0]), [0, 0, 0, 1, 1, 1])


def test_one_speed_is_recovered_despite_an_early_outlier():
    mesh = atrial_shell(3.0)
    rng = np.random.default_rng(0)
    lat = 12.0 + geodesic(mesh, np.array([100]))[0] / 0.6
    chosen = rng.permutation(len(lat))[:150]
    chosen[0] = 100
    measured = lat[chosen] + rng.normal(0, 0.5, 150)
    measured[20] = 0.0
    found = isotropic_speed(mesh, MappingData(mesh.points[chosen], measured))
    assert found.source == 100
    assert found.speed == pytest.approx(0.6, rel=0.05)
    assert found.start_ms == pytest.approx(12.0, abs=3.0)
    np.testing.assert_allclose(found(mesh.points), found.arrival_ms, atol=1e-9)
    assert np.sqrt(np.mean((found.arrival_ms - lat) ** 2)) < 2.5


def test_times_that_do_not_grow_with_distance_give_no_speed():
    mesh = sheet(10.0, 10.0, 1.0)
    found = isotropic_speed(mesh, MappingData(mesh.points, np.full(len(mesh.points), 7.0)))
    assert found.speed == np.inf
    np.testing.assert_allclose(found.arrival_ms, 7.0)


def test_a_part_of_the_mesh_that_is_not_reached():
    mesh = Mesh([[0.0, 0], [1, 0], [0, 1], [5, 5], [6, 5], [5, 6]], [[0, 1, 2], [3, 4, 5]])
    found = isotropic_speed(mesh, MappingData(mesh.points[:3], [0.0, 2.0, 2.0]))
    np.testing.assert_allclose(found.arrival_ms[:3], [0.0, 2.0, 2.0], atol=1e-9)
    assert not np.isfinite(found(mesh.points[3:])).any()


def test_radial_basis_is_exact_on_linear_times_and_smooths_noise():
    rng = np.random.default_rng(0)
    positions, wanted = rng.uniform(0, 50, (200, 3)), rng.uniform(5, 45, (100, 3))
    slope = np.array([1.0, -0.5, 0.3])
    np.testing.assert_allclose(radial_basis(positions, positions @ slope, wanted), wanted @ slope, atol=1e-5)
    noisy = positions @ slope + rng.normal(0, 5.0, 200)
    assert np.std(radial_basis(positions, noisy, wanted) - wanted @ slope) < 1.2


def test_radial_basis_of_points_in_a_plane_is_that_of_the_plane():
    random = np.random.default_rng(2)
    flat, wanted = random.uniform(0.0, 30.0, (60, 2)), random.uniform(0.0, 30.0, (20, 2))
    lat = np.hypot(*flat.T)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0][:2]
    found = radial_basis(flat @ turn + 5.0, lat, wanted @ turn + 5.0)
    np.testing.assert_allclose(found, radial_basis(flat, lat, wanted), atol=1e-6)


def test_radial_basis_with_repeated_points_and_with_many(monkeypatch):
    rng = np.random.default_rng(0)
    positions = np.repeat(rng.uniform(0, 50, (150, 2)), 2, axis=0)
    lat = positions[:, 0] + rng.normal(0, 1.0, 300)
    wanted = rng.uniform(5, 45, (50, 2))
    assert np.std(radial_basis(positions, lat, wanted) - wanted[:, 0]) < 1.0
    monkeypatch.setattr("jaxtwin.assurance.baselines.DENSE", 250)
    assert np.std(radial_basis(positions, lat, wanted) - wanted[:, 0]) < 1.0


def test_too_few_points_are_refused():
    with pytest.raises(InputError, match="4 points"):
        radial_basis(np.zeros((4, 3)), np.zeros(4), np.zeros((1, 3)))


@pytest.fixture(scope="module")
def wave():
    """A wave on an atrium: nodes and times to learn from, and the rest."""
    mesh = atrial_shell(3.0)
    order = np.random.default_rng(0).permutation(len(mesh.points))
    return mesh, geodesic(mesh, np.array([100]))[0] / 0.6, order[:150], order[150:]


def test_a_gaussian_process_follows_a_wave_over_a_curved_surface(wave):
    mesh, lat, chosen, rest = wave
    found = gaussian_process(mesh, mesh.points[chosen], lat[chosen], mesh.points[rest])
    assert np.std(found - lat[rest]) < 0.08 * np.std(lat[rest])
    later = gaussian_process(mesh, mesh.points[chosen], 3 * lat[chosen] + 500, mesh.points[rest])
    np.testing.assert_allclose(later, 3 * found + 500, rtol=1e-6)


@pytest.mark.parametrize("noise", [2.0, 10.0])
def test_a_gaussian_process_smooths_noise_and_is_better_than_the_mean(wave, noise):
    mesh, lat, chosen, rest = wave
    measured = lat[chosen] + np.random.default_rng(1).normal(0, noise, len(chosen))
    found = gaussian_process(mesh, mesh.points[chosen], measured, mesh.points[rest])
    error = np.sqrt(np.mean((found - lat[rest]) ** 2))
    assert error < 0.9 * noise + 0.5
    assert error < 0.3 * np.std(lat[rest])


def test_noise_alone_becomes_its_mean(wave):
    mesh, _, chosen, rest = wave
    noise = np.random.default_rng(2).normal(50.0, 5.0, len(chosen))
    found = gaussian_process(mesh, mesh.points[chosen], noise, mesh.points[rest])
    np.testing.assert_allclose(found, noise.mean(), atol=2.0)
    constant = gaussian_process(mesh, mesh.points[chosen], np.full(150, 7.0), mesh.points[rest])
    np.testing.assert_allclose(constant, 7.0, atol=1e-9)


def test_a_gaussian_process_is_kriging_at_the_largest_restricted_likelihood(wave, monkeypatch):
    """Against covariance matrices of all points, for every length and signal of a small grid."""
    lengths, signals = (0.2, 0.6), (0.1, 10.0, 1e3)
    monkeypatch.setattr("jaxtwin.assurance.baselines.LENGTHS", lengths)
    monkeypatch.setattr("jaxtwin.assurance.baselines.SIGNALS", np.array(signals))
    monkeypatch.setattr("jaxtwin.assurance.baselines.MODES", 60)
    mesh, lat, chosen, rest = wave
    rng = np.random.default_rng(3)
    positions = mesh.points[chosen[:60]] + rng.normal(0, 0.5, (60, 3))
    measured = lat[chosen[:60]] + rng.normal(0, 4.0, 60)
    eigenvalues, modes = laplace_modes(mesh, 61)
    at, there = (
        np.asarray(locate(mesh, x)(jnp.asarray(modes.T[1:]))).T for x in (positions, mesh.points[rest])
    )
    one, trials = np.ones(60), []
    for length in lengths:
        power = spectrum(eigenvalues[1:], length * np.ptp(mesh.points, axis=0).max(), 1.0, 2)
        field = at * power @ at.T
        scale = np.trace(field) / 60
        for signal in signals:
            covariance = signal * field / scale + np.eye(60)
            inverse = np.linalg.inv(covariance)
            mean = one @ inverse @ measured / (one @ inverse @ one)
            rest_of = measured - mean
            loss = 59 * np.log(rest_of @ inverse @ rest_of) + np.linalg.slogdet(covariance)[1]
            loss += np.log(one @ inverse @ one)
            trials.append((loss, mean + signal / scale * (there * power @ at.T) @ inverse @ rest_of))
    best = min(trials, key=lambda trial: trial[0])[1]
    np.testing.assert_allclose(
        gaussian_process(mesh, positions, measured, mesh.points[rest]), best, atol=1e-6
    )


def test_a_gaussian_process_keeps_apart_what_only_touches_in_space():
    """A sheet rolled up until its two ends are 1 mm apart: first and last are neighbours in space alone."""
    flat = sheet(60.0, 20.0, 1.5)
    turn = flat.points[:, 0] / 61 * 2 * np.pi
    radius = 61 / (2 * np.pi)
    rolled = Mesh(np.stack([radius * np.cos(turn), radius * np.sin(turn), flat.points[:, 1]], 1), flat.cells)
    order = np.random.default_rng(0).permutation(len(flat.points))
    chosen, rest = order[:80], order[80:]
    lat = flat.points[:, 0] / 0.6
    along = gaussian_process(rolled, rolled.points[chosen], lat[chosen], rolled.points[rest])
    through = radial_basis(rolled.points[chosen], lat[chosen], rolled.points[rest])
    assert np.std(along - lat[rest]) < 0.2 * np.std(through - lat[rest])


def test_too_few_points_for_a_gaussian_process_are_refused():
    mesh = sheet(10.0, 10.0, 1.0)
    with pytest.raises(InputError, match="4 points"):
        gaussian_process(mesh, mesh.points[:4], np.arange(4.0), mesh.points)
    assert np.isfinite(gaussian_process(mesh, mesh.points[:5], np.arange(5.0), mesh.points)).all()


def test_the_real_map(data, monkeypatch):
    """200 of all vertices: published 4.47 ms by interpolation and 10.55 ms with one speed."""
    file = read_mesh(data / "eam_map" / "openep_mesh_2_dense.vtk")
    repaired = repair(file.mesh)
    points = MappingData.from_mesh_array(repaired.mesh.points, repaired.carry(file.point_data["LAT"]))
    order = np.random.default_rng(0).permutation(np.flatnonzero(points.valid))
    chosen, rest = np.isin(np.arange(len(points.valid)), order[:200]), order[200:]
    train, wanted = points.subset(chosen), points.lat_ms[rest]

    def error(predicted):
        return np.sqrt(np.mean((predicted - wanted) ** 2))

    monkeypatch.setattr("jaxtwin.assurance.baselines.MODES", 150)  # fewer to compute, and enough for 200
    everywhere = gaussian_process(repaired.mesh, train.positions, train.lat_ms, points.positions[rest])
    assert error(everywhere) < 4.3
    assert error(radial_basis(train.positions, train.lat_ms, points.positions[rest])) < 4.5
    speed = isotropic_speed(repaired.mesh, train, candidates=5)
    assert error(speed(points.positions[rest])) < 11.5
    assert 0.6 < speed.speed < 1.0
