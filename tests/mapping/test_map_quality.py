"""What is found wrong with a map, on maps that have it and on maps that do not."""

import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.anatomy.surface import Surface
from jaxtwin.mapping.quality import assess, local_score
from jaxtwin.mapping.study import Map, Points

SHEET = jt.sheet(40.0, 40.0, 4.0)


def a_map(random, count=200, **columns):
    """Points on a plane, a wave from a corner at 0.8 mm/ms, 1 ms of noise."""
    surface = Surface(np.pad(SHEET.points, ((0, 0), (0, 1))), SHEET.cells)
    positions = np.pad(random.uniform(0.0, 40.0, (count, 2)), ((0, 0), (0, 1)))
    lat = np.linalg.norm(positions, axis=1) / 0.8 + random.normal(0.0, 1.0, count)
    return Map("m", surface, Points(positions, **({"lat_ms": lat} | columns)))


def test_nothing_is_wrong_with_a_good_map():
    one = a_map(np.random.default_rng(0), bipolar_mv=np.full(200, 2.0))
    found = assess(one)
    assert found.problems(one) == []
    assert found.coverage == 1.0
    assert found.low_voltage == 0.0


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_outliers_are_found_and_their_neighbours_are_not(share):
    """Points off by 30 ms, among those that a wave explains."""
    random = np.random.default_rng(1)
    one = a_map(random)
    lat = one.points.lat_ms.copy()
    bad = random.choice(200, int(200 * share), replace=False)
    lat[bad] += random.choice([-30.0, 30.0], len(bad))
    score = local_score(one.points.positions, lat)
    assert (score[bad] > 5.0).mean() > 0.9
    assert (np.delete(score, bad) > 5.0).mean() < 0.06


def test_a_line_of_block_is_seldom_taken_for_outliers():
    """A jump of 40 ms along a line is physiology: most points beside it are not accused."""
    random = np.random.default_rng(2)
    one = a_map(random, count=400)
    lat = one.points.lat_ms + 40.0 * (one.points.positions[:, 0] > 20.0)
    score = local_score(one.points.positions, lat)
    assert (score > 5.0).mean() < 0.12


def test_each_fault_is_said():
    random = np.random.default_rng(3)
    one = a_map(random)
    places, lat = one.points.positions.copy(), one.points.lat_ms.copy()
    places[1] = places[0]
    places[2], lat[2], lat[3] = places[3] + [1.0, 0.0, 0.0], lat[3] + 25.0, lat[3]
    places[4, 2] = 30.0
    reason = [""] * 200
    reason[5] = "no LAT"
    points = Points(places, lat_ms=lat, reason=reason, ids=[f"P{k}" for k in range(200)])
    faulty = Map("m", one.surface, points)
    said = " ".join(assess(faulty).problems(faulty))
    for part in (
        "1 points cannot be used: no LAT",
        "10 mm from the surface",
        "where an earlier one",
        "pairs of points within 2 mm",
    ):
        assert part in said


def test_what_was_not_mapped_is_said():
    random = np.random.default_rng(4)
    one = a_map(random)
    near = Points(one.points.positions * [0.4, 1.0, 1.0], lat_ms=one.points.lat_ms)
    half = Map("m", one.surface, near)
    found = assess(half)
    assert 0.5 < found.coverage < 0.75
    assert Map("m").distance_mm().shape == (0,)
    assert assess(Map("m", one.surface)).facts(Map("m", one.surface)).get("lat_ms") is None


def test_a_real_map_is_assessed(data):
    """An interpolated map: nearly no outliers, all of the surface covered but for where it has no LAT."""
    mesh = jt.read_mesh(data / "eam_map" / "openep_mesh_2_dense.vtk")
    one = Map(
        "LAT",
        Surface(mesh.mesh.points, mesh.mesh.cells),
        Points(mesh.mesh.points, lat_ms=mesh.point_data["LAT"].ravel()),
    )
    found = assess(one)
    assert found.coverage > 0.98
    assert np.nanmax(found.distance_mm) < 1e-6
    assert 0 < (found.score > 5).mean() < 0.1
