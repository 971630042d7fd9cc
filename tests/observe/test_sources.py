"""The earliest part of a map as its stimulus."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxtwin as jt

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
    data = jt.MappingData(rng.uniform(0, 20, (40, 2)), rng.uniform(0, 50, 40))
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
