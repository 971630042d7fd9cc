"""The earliest part of a map as its stimulus."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxtwin as jt
from jaxtwin.twin import find_sources

MESH = jt.sheet(20.0, 20.0, 1.0)
CENTRE = np.array([10.0, 10.0])


def excited(stimulus):
    """Nodes that are driven, and when."""
    return stimulus.starts()


def test_one_early_point_starts_a_disc_that_spreads_at_the_speed():
    lat = np.array([5.0, 30.0, 40.0, 50.0])
    positions = np.array([CENTRE, [1.0, 1.0], [19.0, 1.0], [1.0, 19.0]])
    stimulus = jt.earliest_sources(
        MESH, jt.MappingData(positions, lat),
        fraction=0.25, radius_mm=3.0, speed=0.5, duration_ms=1.5, strength=0.7,
    )  # fmt: skip
    nodes, onset = excited(stimulus)
    distance = np.linalg.norm(MESH.points - CENTRE, axis=1)
    np.testing.assert_array_equal(nodes, np.flatnonzero(distance <= 3.0))
    np.testing.assert_allclose(onset, 5.0 + distance[nodes] / 0.5, rtol=1e-12)
    assert stimulus.duration.tolist() == [1.5]
    assert set(stimulus.strength.ravel().tolist()) == {0.0, 0.7}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.02, 0.5), st.floats(0.1, 4))
def test_where_points_compete_the_earliest_arrival_counts(seed, fraction, radius):
    """Against a loop over points and nodes; the nearest node of a point is always its own."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 20, (40, 2))
    data = jt.MappingData(positions, np.linalg.norm(positions - CENTRE, axis=1) / 0.7)
    found = dict(
        zip(*excited(jt.earliest_sources(MESH, data, fraction=fraction, radius_mm=radius)), strict=True)
    )
    wanted = {}
    for point in np.argsort(data.lat_ms)[: max(1, round(fraction * 40))]:
        distance = np.linalg.norm(MESH.points - data.positions[point], axis=1)
        distance[distance.argmin()] = 0.0
        for node in np.flatnonzero(distance <= radius):
            arrival = data.lat_ms[point] + distance[node] / 0.7
            wanted[node] = min(arrival, wanted.get(node, np.inf))
    assert found == pytest.approx(wanted)


LARGE = jt.sheet(40.0, 40.0, 1.0)
SHELL = jt.atrial_shell(2.5)


def a_map(mesh, sites, seed, share, count=300):
    """Points of waves from `sites` at 0.7 mm/ms with 2 ms of noise, a share of them 20 to 80 ms too early."""
    rng = np.random.default_rng(seed)
    positions = mesh.points[rng.choice(len(mesh.points), count, replace=False)]
    away = np.linalg.norm(positions[:, None] - np.asarray(sites)[None], axis=2).min(axis=1)
    lat = away / 0.7 + rng.normal(0.0, 2.0, count)
    early = rng.choice(count, int(share * count), replace=False)
    lat[early] -= rng.uniform(20.0, 80.0, len(early))
    return jt.MappingData(positions, lat), np.isin(np.arange(count), early)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.04, 0.08])
@pytest.mark.parametrize("mesh", [LARGE, SHELL], ids=["sheet", "shell"])
def test_early_outliers_are_no_sources(mesh, share):
    for seed in range(8):
        site = mesh.points[np.random.default_rng(seed).integers(len(mesh.points))]
        data, early = a_map(mesh, [site], seed, share)
        nodes, _ = excited(jt.earliest_sources(mesh, data))
        assert np.linalg.norm(mesh.points[nodes] - site, axis=1).max() < 15.0
        found = find_sources(mesh, data)
        assert found.count == 1
        assert (found.doubted & ~early).sum() <= 1
        assert found.doubted[early].mean() >= 0.9 if share else True


def test_two_breakthroughs_survive_and_are_counted():
    """Both have neighbours that follow; the outliers have not."""
    for seed in range(8):
        sites = np.array([[8.0, 8.0], [30.0, 32.0]])
        data, early = a_map(LARGE, sites, seed, 0.04, count=500)
        found = find_sources(LARGE, data)
        assert found.count == 2
        assert not early[found.points].any()
        assert data.lat_ms[found.points[found.place == 0]].min() == data.lat_ms[found.points].min()
        for k in range(2):
            middle = data.positions[found.points[found.place == k]].mean(axis=0)
            assert np.linalg.norm(sites - middle, axis=1).min() < 4.0


def test_neighbours_are_those_along_the_surface():
    """Two layers 1 mm apart that are not connected: what is early in one says nothing of the other."""
    points = np.concatenate([np.pad(LARGE.points, ((0, 0), (0, 1)), constant_values=z) for z in (0.0, 1.0)])
    mesh = jt.Mesh(points, np.concatenate([LARGE.cells, LARGE.cells + len(LARGE.points)]))
    upper = mesh.points[:, 2] > 0.5
    lat = np.linalg.norm(mesh.points - [20.0, 20.0, 1.0], axis=1) / 0.7 + np.where(upper, 0.0, 60.0)
    found = find_sources(mesh, jt.MappingData(mesh.points, lat))
    assert not found.doubted.any()
    assert upper[found.points].all()


def test_memory_grows_with_nodes_plus_points():
    """A distance from each of 200,000 nodes to each of 800 early points would take 1.3 GB."""
    mesh = jt.sheet(90.0, 90.0, 0.2)
    positions = np.random.default_rng(0).uniform(0, 90, (20_000, 2))
    data = jt.MappingData(positions, np.linalg.norm(positions - 30.0, axis=1) / 0.7)
    assert len(mesh.points) > 200_000
    tracemalloc.start()
    try:
        jt.earliest_sources(mesh, data)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_points_without_a_time_and_other_maps_are_left_out():
    data = jt.MappingData(
        np.array([CENTRE, [2.0, 2.0], [18.0, 18.0], [5.0, 5.0]]),
        [-10000.0, 20.0, 3.0, 9.0],
        map_index=[0, 0, 1, 0],
        valid=[True, True, True, False],
        names=("one", "two"),
    )
    for k, (corner, lat) in enumerate([([2.0, 2.0], 20.0), ([18.0, 18.0], 3.0)]):
        nodes, onset = excited(jt.earliest_sources(MESH, data, k, radius_mm=0.5))
        np.testing.assert_allclose(MESH.points[nodes], [corner])
        assert onset.tolist() == [lat]


def test_a_map_without_a_valid_time_is_refused():
    data = jt.MappingData(CENTRE[None], [1.0], names=("one", "two"))
    with pytest.raises(jt.InputError, match="without a valid activation time"):
        jt.earliest_sources(MESH, data, 1)
