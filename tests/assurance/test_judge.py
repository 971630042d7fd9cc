"""What simple methods make of several maps, and when a twin counts as validated."""

import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.assurance import judge


@pytest.fixture(scope="module")
def two_maps():
    """Two plane waves over a sheet, 1 and 0.5 mm/ms, from two sides; a third of the points held out."""
    mesh = jt.sheet(12.0, 12.0, 1.0)
    lat = np.concatenate([mesh.points[:, 0], 2.0 * mesh.points[:, 1]])
    data = jt.MappingData(
        np.tile(mesh.points, (2, 1)), lat, map_index=np.repeat([0, 1], len(mesh.points)), names=("a", "b")
    )
    out = np.arange(len(lat)) % 3 == 0
    return mesh, data, {"fit": ~out, "held_out_points": out, "held_out_patch": np.zeros(len(lat), bool)}


def test_baselines_are_those_of_each_map_by_itself(two_maps):
    mesh, data, parts = two_maps
    found = judge.baselines(mesh, data, parts)
    assert set(found) == {"isotropic_speed", "radial_basis", "gaussian_process"}
    for scores in found.values():
        assert scores["held_out_points"]["points"] == parts["held_out_points"].sum()
    assert found["radial_basis"]["held_out_points"]["rmse_ms"] < 0.1, "a plane is linear in each map"
    np.testing.assert_allclose(found["isotropic_speed"]["speed_mm_per_ms"], [1.0, 0.5], rtol=0.3)


def test_a_twin_of_two_maps_can_be_validated(two_maps):
    mesh, data, parts = two_maps
    rivals = judge.baselines(mesh, data, parts)
    best = {name: {"rmse_ms": 0.0} for name in ("fit", "held_out_points")}
    assert judge.validated(best, rivals) == "validated"
    worst = best | {"held_out_points": {"rmse_ms": 9.0}}
    assert judge.validated(worst, rivals).startswith("not validated")
