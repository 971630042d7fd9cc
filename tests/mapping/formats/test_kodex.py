"""Kodex exports: tolerant in what is not known of the layout, strict about damage."""

import json
import zipfile

import numpy as np
import pytest

import jaxtwin as jt
from benchmarks.exports import kodex as export
from jaxtwin.mapping.formats import kodex
from jaxtwin.mapping.formats.files import Files
from jaxtwin.mapping.study import Study


def study_of(folder, identity=False) -> Study:
    with Files(folder) as files:
        assert kodex.recognises(files)
        return kodex.read(files, identity)


def check(one, truth, waveforms=True) -> None:
    np.testing.assert_array_equal(one.surface.points, truth["nodes"])
    np.testing.assert_array_equal(one.surface.triangles, truth["triangles"])
    np.testing.assert_array_equal(one.points.positions, truth["positions"])
    np.testing.assert_array_equal(one.points.lat_ms, truth["lat_ms"])
    np.testing.assert_array_equal(one.points.bipolar_mv, truth["bipolar_mv"])
    assert one.points.reason == truth["reason"]
    if waveforms:
        (signals,) = one.signals
        assert signals.channels == ("bipolar", "reference")
        for trace, row in enumerate(signals.rows):
            np.testing.assert_array_equal(signals.raw(trace), truth["egm"][row])


@pytest.mark.parametrize("traps", [
    {}, {"report": True}, {"packed": True}, {"header": None}, {"header": "a,b,c,d,e,f"}, {"quads": True},
    {"rate": 1000.0}, {"say_rate": True}, {"rate": 2000.0, "say_rate": True}, {"points": 3},
], ids=str)  # fmt: skip
def test_all_that_was_written_is_read(tmp_path, traps):
    truth = export.make(tmp_path, **traps)
    study = study_of(tmp_path)
    (one,) = study.maps
    assert (study.system, study.name, one.name) == ("Kodex", "", "LA")
    check(one, truth)
    assert one.signals[0].rate_hz == traps.get("rate", 500.0)
    np.testing.assert_array_equal(one.points.reference_ms, 30 * 1000.0 / one.signals[0].rate_hz)
    np.testing.assert_array_equal(one.points.woi_ms[0], np.array([-25, 32]) * 1000.0 / one.signals[0].rate_hz)
    np.testing.assert_allclose(one.points.surface_positions, truth["positions"] * 1.1)
    assert one.points.tags[:2] == ("", "Scar")
    assert one.points.ids[:2] == ("1", "2")
    assert set(one.points.bipolar_channel) == {"bipolar"}


def test_columns_by_their_names(tmp_path):
    """In another order, with more of them."""
    truth = export.make(tmp_path)
    table = tmp_path / "LA/LAT/lat_points.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    lines = ["LAT (ms);Bipolar Voltage (mV);note;Position X;Position Y;Position Z;Index"]
    lines += [f"{lat};{volt};good;{x};{y};{z};{index}" for index, x, y, z, lat, volt in rows]
    table.write_text("\r\n".join(lines), encoding="utf-16")
    (one,) = study_of(tmp_path).maps
    check(one, truth)
    assert "columns of the table taken by their names" in one.notes


def test_a_rate_that_nothing_shows_is_assumed(tmp_path):
    """LATs of the table on another clock than the annotations: windows on theirs would be wrong."""
    truth = export.make(tmp_path, shift=150.0, rate=1000.0)
    (one,) = study_of(tmp_path).maps
    check(one, truth)
    assert one.signals[0].rate_hz == 500.0
    assert any("taken as 500 Hz" in note for note in one.notes)
    assert np.isnan(one.points.woi_ms).all()


def test_optional_parts_may_be_missing(tmp_path):
    truth = export.make(tmp_path / "a", waveforms=False)
    (one,) = study_of(tmp_path / "a").maps
    check(one, truth, waveforms=False)
    assert one.signals == ()
    assert np.isnan(one.points.reference_ms).all()
    export.make(tmp_path / "b", surface=False)
    (one,) = study_of(tmp_path / "b").maps
    assert one.surface is None
    export.make(tmp_path / "c", points=0)
    (one,) = study_of(tmp_path / "c").maps
    assert len(one.points) == 0


def test_chambers_and_names(tmp_path):
    """Names of chambers stay; a folder named after the study, with its date, does not."""
    export.make(tmp_path / "Doe 1950", chambers=("LA", "RA", "2021-04-15_09-42-57_JD"))
    study = study_of(tmp_path)
    assert sorted(each.name for each in study.maps) == ["LA", "RA", "map 1"]
    assert "Doe" not in repr(study)
    study = study_of(tmp_path / "Doe 1950", identity=True)
    assert study.name == "Doe 1950"
    assert "2021-04-15_09-42-57_JD" in {each.name for each in study.maps}


def test_inside_an_archive(tmp_path):
    truth = export.make(tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for each in (tmp_path / "x").rglob("*.*"):
            archive.write(each, each.relative_to(tmp_path / "x").as_posix())
    (one,) = study_of(tmp_path / "a.zip").maps
    check(one, truth)


def with_record(**changes):
    def harm(folder):
        file = folder / "LAT_LA_1.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return harm


def replaced(name, old, new):
    def harm(folder):
        file = folder / name
        file.write_text(file.read_text().replace(old, new, 1))

    return harm


DAMAGE = {
    r"LAT_LA_1\.json: current_point 99 of 12": with_record(current_point=99),
    r"current_point 1\.5": with_record(current_point=1.5),
    r"map_signal, which is not made of numbers": with_record(map_signal=[1, "x"]),
    r"woi_start_index, which is not made": with_record(woi_start_index={"a": 1}),
    r"no JSON or damaged": replaced("LAT_LA_1.json", "{", "{{"),
    r"lat_points\.csv line 3 with 6 columns": replaced("lat_points.csv", "\n1,", "\n1;"),
    r"line 1 with 3 columns": lambda folder: (folder / "lat_points.csv").write_text("1,2,3"),
    r"line 2: position": replaced("lat_points.csv", "\n1,", "\n1,x"),
    r"LA\.obj line 2": replaced("LA.obj", "v ", "v x"),
    r"LA\.obj line \d+: 'f 1/1": replaced("LA.obj", "f 1/1 ", "f 1/1 -99 "),
    r"triangles that point to nodes": replaced("LA.obj", "f 1/1 ", "f 1/1 99 "),
    r"without points": lambda folder: (folder / "LA.obj").write_text("f 1 2 3\n".replace("f", "#")),
}  # fmt: skip


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_refused(tmp_path, message):
    export.make(tmp_path)
    DAMAGE[message](tmp_path / "LA/LAT")
    with pytest.raises(jt.InputError, match=message):
        study_of(tmp_path)


def test_json_nested_without_measure_is_refused(tmp_path):
    export.make(tmp_path)
    (tmp_path / "LA/LAT/LAT_LA_1.json").write_text("[" * 100_000)
    with pytest.raises(jt.InputError, match="no JSON"):
        study_of(tmp_path)


def test_more_samples_than_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(kodex, "MOST_SAMPLES", 100)
    export.make(tmp_path)
    with pytest.raises(jt.InputError, match="more than 100 samples"):
        study_of(tmp_path)


def test_other_files_are_left_alone(tmp_path):
    """JSON that is not of a point, a second surface; and tables under another name."""
    truth = export.make(tmp_path)
    (tmp_path / "LA/LAT/settings.json").write_text("[1, 2]")
    (tmp_path / "LA/LAT/zzz.obj").write_text("v 0 0 0\n")
    (one,) = study_of(tmp_path).maps
    check(one, truth)
    assert any("1 of 2 surfaces not read" in note for note in one.notes)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/flat_points.csv").write_text("x,y\n1,2\n")
    with Files(tmp_path / "x") as files:
        assert not kodex.recognises(files)
