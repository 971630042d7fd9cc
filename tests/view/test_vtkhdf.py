"""The result file: the keys of the specification by plain h5py, round trips, refusals, atomicity."""

import h5py
import numpy as np
import pytest

from jaxtwin._results import InputError, SolveError
from jaxtwin.anatomy import Mesh
from jaxtwin.view.vtkhdf import read_vtkhdf, write_vtkhdf

TIMES = np.array([0.0, 1.0, 2.5])


@pytest.fixture
def mesh():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], float)
    return Mesh(points, [[0, 1, 2, 3], [1, 2, 3, 4]], fibres=[[0, 1, 0], [0, 0, 1]], regions=[7, 8])


@pytest.fixture
def fields():
    rng = np.random.default_rng(0)
    point = {
        "voltage_mv": rng.normal(size=(3, 5)).astype(np.float32),
        "current": rng.normal(size=(3, 5, 3)),
        "lat_ms": np.array([0.0, 1.0, 2.0, np.nan, 4.0]),
    }
    cell = {"diffusivity": np.array([0.1, 0.2]), "tension": np.arange(6.0).reshape(3, 2)}
    return point, cell


def test_layout_is_that_of_the_specification(tmp_path, mesh, fields):
    path = tmp_path / "result.vtkhdf"
    write_vtkhdf(path, mesh, times_ms=TIMES, point_data=fields[0], cell_data=fields[1])
    with h5py.File(path) as file:
        root = file["VTKHDF"]
        assert root.attrs["Version"].tolist() == [2, 2]
        kind = root.attrs.get_id("Type").get_type()
        assert not kind.is_variable_str()
        assert kind.get_cset() == h5py.h5t.CSET_ASCII
        assert root.attrs["Type"] == b"UnstructuredGrid"
        assert {name: root[name][:].tolist() for name in root if name.startswith("NumberOf")} == {
            "NumberOfPoints": [5],
            "NumberOfCells": [2],
            "NumberOfConnectivityIds": [8],
        }
        assert root["Points"].shape == (5, 3)  # once, though there are three steps
        assert root["Connectivity"][:].tolist() == [0, 1, 2, 3, 1, 2, 3, 4]
        assert root["Offsets"][:].tolist() == [0, 4, 8]
        assert root["Types"].dtype == np.uint8
        assert root["Types"][:].tolist() == [10, 10]
        steps = root["Steps"]
        assert steps.attrs["NSteps"] == 3
        assert steps["Values"][:].tolist() == TIMES.tolist()
        assert steps["NumberOfParts"][:].tolist() == [1, 1, 1]
        for name in ("PartOffsets", "PointOffsets", "CellOffsets", "ConnectivityIdOffsets"):
            assert not steps[name][:].any()
        assert steps["CellOffsets"].shape == (3, 1)
        assert steps["PointDataOffsets/voltage_mv"][:].tolist() == [0, 5, 10]
        assert steps["PointDataOffsets/lat_ms"][:].tolist() == [0, 0, 0]
        assert steps["CellDataOffsets/tension"][:].tolist() == [0, 2, 4]
        assert root["PointData/voltage_mv"].shape == (15,)
        assert root["PointData/current"].shape == (15, 3)
        assert root["PointData/voltage_mv"].compression == "gzip"
        np.testing.assert_array_equal(root["PointData/voltage_mv"][5:10], fields[0]["voltage_mv"][1])


def test_not_activated_is_a_sentinel_in_the_file_and_says_so(tmp_path, mesh, fields):
    write_vtkhdf(tmp_path / "r.vtkhdf", mesh, times_ms=TIMES, point_data=fields[0])
    with h5py.File(tmp_path / "r.vtkhdf") as file:
        lat = file["VTKHDF/PointData/lat_ms"]
        assert lat[:].tolist() == [0.0, 1.0, 2.0, -10000.0, 4.0]
        assert lat.attrs["not_activated"] == -10000.0
        assert "-10000" in file["jaxtwin"].attrs["not_activated"]


def test_round_trip(tmp_path, mesh, fields):
    provenance = {"version": "0.1.0", "seed": 3, "note": "µm → mm", "history": list(range(30_000))}
    write_vtkhdf(
        tmp_path / "r.vtkhdf",
        mesh,
        times_ms=TIMES,
        point_data=fields[0],
        cell_data=fields[1],
        provenance=provenance,
    )
    back = read_vtkhdf(tmp_path / "r.vtkhdf")
    for name in ("points", "cells", "fibres", "regions"):
        np.testing.assert_array_equal(getattr(back.mesh, name), getattr(mesh, name))
    np.testing.assert_array_equal(back.times_ms, TIMES)
    for got, given in ((back.point_data, fields[0]), (back.cell_data, fields[1])):
        assert set(got) == set(given)
        for name, array in given.items():
            np.testing.assert_array_equal(got[name], array)
            assert got[name].dtype == array.dtype
    assert back.provenance == provenance


def test_round_trip_in_the_plane_with_one_step(tmp_path):
    mesh = Mesh([[0, 0], [1, 0], [0, 1]], [[0, 1, 2]])
    point = {"voltage_mv": np.array([[1.0, 2.0, 3.0]]), "static": np.array([4.0, 5.0, 6.0])}
    write_vtkhdf(tmp_path / "r.vtkhdf", mesh, times_ms=np.array([3.0]), point_data=point)
    back = read_vtkhdf(tmp_path / "r.vtkhdf")
    assert back.mesh.dim == 2
    assert back.point_data["voltage_mv"].shape == (1, 3)
    assert back.point_data["static"].shape == (3,)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_voltage_that_is_not_finite_writes_no_file(tmp_path, mesh, bad):
    voltage = np.zeros((3, 5))
    voltage[1, 2] = bad
    with pytest.raises(SolveError, match="1 of 15 values of 'voltage_mv'"):
        write_vtkhdf(tmp_path / "r.vtkhdf", mesh, times_ms=TIMES, point_data={"voltage_mv": voltage})
    assert not list(tmp_path.iterdir())


def test_an_infinite_activation_time_is_no_sign_of_rest(tmp_path, mesh):
    with pytest.raises(SolveError):
        write_vtkhdf(tmp_path / "r.vtkhdf", mesh, times_ms=TIMES, point_data={"lat_ms": np.full(5, np.inf)})


def test_an_interrupted_write_keeps_the_earlier_file(tmp_path, mesh, monkeypatch):
    path = tmp_path / "r.vtkhdf"
    path.write_bytes(b"earlier")
    create = h5py.Group.create_dataset

    def fails_late(self, name, *args, **kwargs):
        if name == "voltage_mv":
            raise OSError("disk full")
        return create(self, name, *args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", fails_late)
    with pytest.raises(OSError, match="disk full"):
        write_vtkhdf(path, mesh, times_ms=TIMES, point_data={"voltage_mv": np.zeros((3, 5))})
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times_ms": np.array([0.0, 0.0])}, "increasing"),
        ({"times_ms": np.zeros(0)}, "at least one time"),
        ({"point_data": {"v": np.zeros((3, 4))}}, r"'v' of shape \(3, 4\)"),
        ({"point_data": {"v": np.array(["a"] * 5)}}, "numbers"),
        ({"point_data": {"a/b": np.zeros(5)}}, "slash"),
        ({"point_data": {"lat_ms": np.full(5, -1e4)}}, "exactly -10000"),
        ({"cell_data": {"fibres": np.zeros((2, 3))}}, "other names"),
        ({"provenance": {"path": object()}}, "JSON"),
        ({"provenance": {"loss": float("nan")}}, "JSON"),
    ],
)
def test_refusals(tmp_path, mesh, changes, message):
    with pytest.raises(InputError, match=message):
        write_vtkhdf(tmp_path / "r.vtkhdf", mesh, **({"times_ms": TIMES} | changes))
    assert not list(tmp_path.iterdir())


def test_reading_what_is_not_a_result(tmp_path):
    with pytest.raises(InputError, match="cannot open"):
        read_vtkhdf(tmp_path / "absent.vtkhdf")
    (tmp_path / "text.vtkhdf").write_text("no")
    with pytest.raises(InputError, match="cannot open"):
        read_vtkhdf(tmp_path / "text.vtkhdf")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="of type None"):
        read_vtkhdf(tmp_path / "other.h5")
