"""Measured maps: what is valid, what is dropped and said, and maps that do not belong to a mesh."""

import numpy as np
import pytest

from jaxtwin._results import InputError
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.mapping.data import MappingData, project

GRID = np.stack(np.meshgrid(np.arange(5.0), np.arange(4.0), indexing="ij"), -1).reshape(-1, 2) * 10


def sheet():
    """40 x 30 mm, triangles."""
    i, j = (a.ravel() for a in np.meshgrid(np.arange(4), np.arange(3), indexing="ij"))
    n = 4 * i + j
    cells = np.concatenate([np.stack([n, n + 4, n + 5], 1), np.stack([n, n + 5, n + 1], 1)])
    return Mesh(GRID, cells)


def test_a_point_is_valid_with_a_finite_lat_inside_its_window():
    lat = [10.0, np.nan, -10000.0, -9500.0, np.inf, 80.0, -50.0, 30.0]
    woi = np.full((8, 2), np.nan)
    woi[5], woi[6], woi[7] = (0, 60), (0, 60), (0, 60)
    data = MappingData(np.zeros((8, 3)), lat, woi_ms=woi)
    np.testing.assert_array_equal(data.valid, [True, False, False, False, False, False, False, True])
    assert len(data.notes) == 3
    assert "2 of 8" in data.notes[0]
    assert "-9000" in data.notes[1]
    assert "window" in data.notes[2]
    assert np.isnan(data.lat_ms[2:5]).all()
    again = data.subset(np.ones(8, bool))
    assert again.notes == data.notes
    np.testing.assert_array_equal(again.valid, data.valid)


def test_maps_subsets_and_summary():
    data = MappingData(
        np.arange(18.0).reshape(6, 3),
        np.arange(6.0),
        map_index=[0, 0, 0, 1, 1, 1],
        bipolar_mv=np.arange(6) / 10,
        names=("sinus", "paced"),
    )
    paced = data.of_map(1)
    assert paced.names == ("paced",)
    np.testing.assert_array_equal(paced.map_index, 0)
    np.testing.assert_array_equal(paced.lat_ms, [3.0, 4, 5])
    np.testing.assert_array_equal(paced.bipolar_mv, [0.3, 0.4, 0.5])
    # A whole map may be held out: the other keeps its index.
    held = data.subset(data.map_index == 1)
    np.testing.assert_array_equal(held.map_index, 1)
    fewer = data.without(data.lat_ms > 4, "late")
    assert fewer.notes == ("1 of 6 points not used: late",)
    found = fewer.summary()
    assert (found["points"], found["valid"], found["maps"]["paced"]["valid"]) == (6, 5, 2)
    assert found["lat_ms"] == (0.0, 4.0)
    assert found["box_mm"][1] == [15.0, 16.0, 17.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lat_ms": [1.0, 2.0]}, "lat_ms of shape"),
        ({"positions": [0.0, 1.0, 2.0]}, "positions of shape"),
        ({"woi_ms": [[0.0, 1.0, 2.0]] * 3}, "woi_ms of shape"),
        ({"positions": np.zeros((0, 3)), "lat_ms": []}, "without points"),
        ({"positions": [[0.0, 0], [0, np.nan], [1, 1]]}, "index 1"),
        ({"map_index": [0, 1, 0]}, "with 1 names"),
        ({"sigma_ms": [1.0, 0.0, 2.0]}, "sigma_ms"),
        ({"lat_ms": [-10000.0, np.nan, np.inf]}, "no valid LAT"),
    ],
)
def test_what_cannot_be_used_is_named(change, message):
    good = {"positions": [[0.0, 0], [1, 0], [0, 1]], "lat_ms": [1.0, 2, 3]}
    with pytest.raises(InputError, match=message):
        MappingData(**(good | change))


def test_points_on_the_mesh_and_points_too_far():
    positions = np.concatenate([GRID, [[60.0, 0.0]]])
    data, place = project(sheet(), MappingData(positions, np.arange(21.0)), limit_mm=5)
    np.testing.assert_allclose(place.distance[:-1], 0, atol=1e-12)
    assert data.valid.sum() == 20
    assert "more than 5 mm from the mesh" in data.notes[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p * 1000, "micrometres"),
        (lambda p: p / 1000, "metres"),
        (lambda p: p + 100, "bounding boxes do not touch"),
    ],
)
def test_a_map_that_does_not_belong_to_the_mesh(change, message):
    with pytest.raises(InputError, match=message):
        project(sheet(), MappingData(change(GRID), np.arange(20.0)))


def test_a_map_of_another_size():
    """With times in the same error: the map alone looks well."""
    with pytest.raises(InputError, match="micrometres or metres"):
        project(sheet(), MappingData(GRID / 1000, np.arange(20.0) / 1000))


def test_one_map_of_several_in_another_coordinate_system():
    data = MappingData(
        np.concatenate([GRID, GRID, GRID + 100]),
        np.arange(60.0),
        map_index=np.repeat([0, 0, 1], 20),
        names=("here", "elsewhere"),
    )
    with pytest.raises(InputError, match=r"'elsewhere'.*from the mesh"):
        project(sheet(), data)


def test_until_when_a_point_without_a_lat_was_watched():
    """Its window where it is known, else what was seen last in its map."""
    woi = np.full((6, 2), np.nan)
    woi[1], woi[4] = (-50, 120), (-np.inf, np.inf)
    data = MappingData(
        np.arange(18.0).reshape(6, 3), [10.0, 20, 90, 30, np.nan, 40], map_index=[0, 0, 0, 1, 1, 1],
        silent=[False, False, False, False, True, False], valid=[True, True, False, True, True, True],
        woi_ms=woi, names=("one", "two"),
    )  # fmt: skip
    np.testing.assert_array_equal(data.until_ms, [20, 120, 20, 40, 40, 40])


def test_standard_deviations_are_filled_in_once():
    data = MappingData(GRID, np.arange(20.0), sigma_ms=[5.0] + [np.nan] * 19)
    filled = data.with_sigma(2.0)
    np.testing.assert_array_equal(filled.sigma_ms, [5.0] + [2.0] * 19)
    np.testing.assert_array_equal(filled.with_sigma(9.0).sigma_ms, filled.sigma_ms)
    assert np.isnan(data.sigma_ms[1])
    assert filled.notes == data.notes
    for wrong in (0.0, -1.0, np.inf):
        with pytest.raises(InputError, match="standard deviation"):
            data.with_sigma(wrong)
