"""Tables of points as studies, and back as tables."""

import zipfile

import numpy as np
import pytest

import jaxtwin as jt
from benchmarks.exports import csv_points as export
from jaxtwin.mapping import read_csv, write_csv
from jaxtwin.mapping.formats import csv_points
from jaxtwin.mapping.formats.files import Files
from jaxtwin.mapping.study import Study


def study_of(path, identity=False) -> Study:
    with Files(path) as files:
        assert csv_points.recognises(files)
        return csv_points.read(files, identity)


@pytest.mark.parametrize("traps", [
    {}, {"labels": False}, {"flat": True}, {"separator": ";"}, {"separator": "\t"}, {"silent": True},
    {"missing": ""}, {"missing": "NaN"}, {"points": 2},
], ids=str)  # fmt: skip
def test_all_that_was_written_is_read(tmp_path, traps):
    truth = export.make(tmp_path, **traps)
    study = study_of(tmp_path)
    assert study.system == "table"
    assert tuple(each.name for each in study.maps) == truth["names"]
    for k, one in enumerate(study.maps):
        rows = truth["maps"] == k
        assert one.surface is None
        for name in ("positions", "lat_ms", "bipolar_mv"):
            np.testing.assert_array_equal(getattr(one.points, name), truth[name][rows])
        assert one.points.reason == tuple(np.array(truth["reason"])[rows])
        assert set(map(tuple, one.points.woi_ms.tolist())) == {(-50.0, 70.0)}
        assert one.points.more.get("silent", np.zeros(1)).sum() == (k == 1 and "silent" in traps)
    assert len(study.sources) == 1


@pytest.mark.parametrize("labels", [True, False])
def test_a_study_becomes_a_table_and_comes_back(tmp_path, labels):
    export.make(tmp_path / "a", labels=labels)
    data = study_of(tmp_path / "a").data()
    write_csv(tmp_path / "b.csv", data)
    found = read_csv(tmp_path / "b.csv")
    assert found.names == data.names
    for name in ("positions", "valid", "map_index", "bipolar_mv", "unipolar_mv", "sigma_ms", "woi_ms"):
        np.testing.assert_array_equal(getattr(found, name), getattr(data, name))
    np.testing.assert_array_equal(found.lat_ms, np.where(data.valid, data.lat_ms, np.nan))
    again = study_of(tmp_path / "b.csv").data()
    np.testing.assert_array_equal(again.lat_ms[again.valid], data.lat_ms[data.valid])
    assert again.names == data.names


def test_the_name_of_the_file_is_left_out(tmp_path):
    export.make(tmp_path, labels=False)
    assert "Doe" not in repr(study_of(tmp_path))
    assert study_of(tmp_path, identity=True).maps[0].name == "Doe Jane 1950"


def test_archives_several_tables_and_empty_ones_are_refused(tmp_path):
    export.make(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "Doe Jane 1950.csv", "x/map.csv")
    with pytest.raises(jt.InputError, match="Unpack"):
        study_of(tmp_path / "a.zip")
    export.make(tmp_path, stem="second")
    with pytest.raises(jt.InputError, match="2 tables"):
        study_of(tmp_path)
    export.make(tmp_path / "c", points=0)
    with pytest.raises(jt.InputError, match="no points"):
        study_of(tmp_path / "c")


def test_damage_is_named_by_its_line(tmp_path):
    export.make(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text(encoding="utf-8").replace("\n", "\nx", 3), encoding="utf-8")
    with pytest.raises(jt.InputError), Files(tmp_path) as files:
        csv_points.read(files, False)
    export.make(tmp_path)
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[4] = "a" + lines[4]
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(jt.InputError, match="line 5, column x_mm"):
        study_of(tmp_path)


def test_other_tables_are_not_recognised(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\n1,2,3\n")
    (tmp_path / "b.csv").write_text("# only a comment\n\n")
    with Files(tmp_path) as files:
        assert not csv_points.recognises(files)
        with pytest.raises(jt.InputError, match="0 tables"):
            csv_points.read(files, False)
