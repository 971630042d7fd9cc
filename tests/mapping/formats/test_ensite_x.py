"""EnSite X: a made-up export with the traps of real ones, and damaged ones."""

import re
import zipfile

import numpy as np
import pytest

import jaxtwin as jt
from benchmarks.exports import ensite_x as made_up
from jaxtwin.mapping.formats import ensite_precision, ensite_x_waves
from jaxtwin.mapping.formats import ensite_x as reader
from jaxtwin.mapping.formats.files import Files
from jaxtwin.mapping.storage import read_study, write_study


def read(path, identity=False):
    with Files(path) as files:
        return reader.read(files, identity)


def waveforms(one):
    """(samples, channels) of each point, in the order rov, uni_distal, refs."""
    found = {}
    for signals in one.signals:
        for trace, row in enumerate(signals.rows):
            at = [
                signals.channels.index(each)
                for names in (
                    one.points.bipolar_channel, one.points.unipolar_channel, one.points.reference_channel,
                )
                for each in [names[row]]
                if each in signals.channels
            ]  # fmt: skip
            found[int(row)] = signals.raw(trace)[:, at]
    return found


def check(study, truth):
    """All that was written is there."""
    one = study.maps[0]
    points = one.points
    assert (study.system, study.version) == ("EnSite X", "11")
    assert [each.name for each in study.maps] == [truth["name"]]
    for name in ("positions", "surface_positions", "lat_ms", "woi_ms", "bipolar_mv", "force_g"):
        np.testing.assert_array_equal(getattr(points, name), truth[name], err_msg=name)
    np.testing.assert_array_equal(points.valid, truth["valid"])
    assert points.ids == tuple(truth["ids"])
    assert points.tags == tuple(truth["tags"])
    assert points.bipolar_channel == tuple(truth["channels"])
    assert set(points.reference_channel) <= {"CS 9-10"}
    assert points.reason[1:4] == ("no LAT", "", "not utilized")[: max(len(points) - 1, 0)]
    if truth["waveforms"] is not None:
        np.testing.assert_array_equal(points.reference_ms, truth["reference_ms"])
        found = waveforms(one)
        assert sorted(found) == list(range(len(points)))
        for row, wave in found.items():
            np.testing.assert_array_equal(wave, truth["waveforms"][row])
        for signals in one.signals:
            assert (signals.rate_hz, signals.gain_mv, signals.samples) == (truth["rate_hz"], 1.0, 120)


TRAPS = {
    "as it is": {},
    "Unix line ends": {"newline": "\n"},
    "blank columns": {"blank_columns": 3},
    "tables in another order": {"other_order": True, "lat_column": True},
    "header in another order": {"shuffled": True},
    "one tick each": {"more_ticks": False},
    "no column of voltages": {"voltages": False},
    "no end": {"end": False},
    "no force": {"word": ""},
    "a column of LATs": {"lat_column": True},
    "no surface": {"surface": False},
    "no points": {"points": 0},
    "one point": {"points": 1},
}


@pytest.mark.parametrize("trap", TRAPS, ids=str)
def test_an_export_is_read_whole(tmp_path, trap):
    truth = made_up.make(tmp_path, **TRAPS[trap])
    with Files(tmp_path) as files:
        assert reader.recognises(files)
        assert not ensite_precision.recognises(files)
    study = read(tmp_path)
    check(study, truth)
    surface = study.maps[0].surface
    assert (surface is None) == (trap == "no surface")
    if surface is not None:
        np.testing.assert_array_equal(surface.triangles, truth["triangles"])
        np.testing.assert_array_equal(surface.fields["bipolar_mv"], truth["surface_bipolar_mv"])


def test_without_waveforms_the_rate_of_the_ticks_is_not_known(tmp_path):
    """Then the column of LATs counts, where it is valid."""
    truth = made_up.make(tmp_path / "a", waveforms=False)
    one = read(tmp_path / "a").maps[0]
    assert np.isnan(one.points.lat_ms).all()
    assert one.signals == ()
    assert any("ticks not read" in note for note in one.notes)
    truth = made_up.make(tmp_path / "b", waveforms=False, lat_column=True)
    points = read(tmp_path / "b").maps[0].points
    np.testing.assert_array_equal(points.lat_ms, np.where(np.arange(12) < 6, truth["lat_ms"], np.nan))


def test_a_lat_of_the_table_goes_before_the_first_tick(tmp_path):
    made_up.make(tmp_path, lat_column=True)
    path = tmp_path / "Contact_Mapping" / "Map_LAT_bi.csv"
    lines = path.read_bytes().split(b"\r\n")
    row = next(i for i, line in enumerate(lines) if line.startswith(b"HDGX"))
    titles = lines[row - 1].split(b",")
    cells = lines[row].split(b",")
    cells[titles.index(b"LAT")] = b"99.5"
    lines[row] = b",".join(cells)
    path.write_bytes(b"\r\n".join(lines))
    one = read(tmp_path).maps[0]
    assert one.points.lat_ms[0] == 99.5
    assert any("1 LATs differ from their first tick" in note for note in one.notes)


def test_points_without_waveforms_are_said(tmp_path):
    truth = made_up.make(tmp_path, without=(0, 5))
    one = read(tmp_path).maps[0]
    found = waveforms(one)
    np.testing.assert_array_equal(found[5], truth["waveforms"][5][:, 1:])
    np.testing.assert_array_equal(found[4], truth["waveforms"][4])
    assert len(found) == 12
    (tmp_path / "Contact_Mapping/Wave_refs.csv").unlink()
    (tmp_path / "Contact_Mapping/Wave_uni_distal.csv").unlink()
    assert any("2 points without waveforms" in note for note in read(tmp_path).maps[0].notes)


def test_waveforms_are_read_by_blocks(tmp_path, monkeypatch):
    truth = made_up.make(tmp_path)
    monkeypatch.setattr(ensite_x_waves, "BLOCK", 300)
    monkeypatch.setattr(ensite_x_waves, "MOST_HELD", 2000)
    check(read(tmp_path), truth)


def test_two_maps_and_their_surfaces(tmp_path):
    """Folders of other points are other maps; a name twice gets a number."""
    first = made_up.make(tmp_path / "LAT", seed=1)
    second = made_up.make(tmp_path / "BIP", seed=2, points=5, name="other")
    third = made_up.make(tmp_path / "UNI", seed=3, points=6)
    study = read(tmp_path)
    assert {each.name for each in study.maps} == {first["name"], "other", f"{third['name']} (2)"}
    found = study.map("other")
    np.testing.assert_array_equal(found.points.lat_ms, second["lat_ms"])
    np.testing.assert_array_equal(found.surface.fields["bipolar_mv"], second["surface_bipolar_mv"])


def test_all_files_of_a_large_export_count(tmp_path):
    """Also those behind the ones by which the format is told."""
    truth = made_up.make(tmp_path)
    for number in range(600):
        (tmp_path / f"A_{number}.csv").write_text("Export File Version: 11\n")
    check(read(tmp_path), truth)


def test_a_zip_is_read_as_a_folder(tmp_path):
    truth = made_up.make(tmp_path / "export")
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (tmp_path / "export").rglob("*.*"):
            archive.write(path, path.relative_to(tmp_path))
    files = Files(tmp_path / "export.zip")
    check(reader.read(files, False), truth)
    files.__exit__()


def test_nobody_is_named(tmp_path):
    """Not in what is read, nor in the file written of it, unless asked for."""
    made_up.make(tmp_path / "e", patient="Musterfrau_1950")
    study = read(tmp_path / "e")
    assert "Musterfrau" not in repr(study)
    assert not any("Musterfrau" in repr(vars(each.points)) for each in study.maps)
    assert not any((np.abs(v) > 1e8).any() for v in study.maps[0].points.more.values())  # no time of day
    write_study(tmp_path / "s.h5", study)
    assert b"Musterfrau" not in (tmp_path / "s.h5").read_bytes()
    assert read_study(tmp_path / "s.h5").maps[0].points.ids == study.maps[0].points.ids
    assert read(tmp_path / "e", identity=True).name == "Musterfrau_1950"


MAP, ROV, XML = "Contact_Mapping/Map_PP_bi.csv", "Contact_Mapping/Wave_rov.csv", "Contact_Mapping_Model.xml"
REFUSALS = {  # what was replaced by what in which file; None: cut there
    "another count": (MAP, b"# mapping pts:,12", b"# mapping pts:,13", "12 points, the last in line 29"),
    "absurd count": (MAP, b"# mapping pts:,12", b"# mapping pts:,99999999999", "whole number"),
    "cut in a line": (MAP, b",-20,25,", None, "line 17"),
    "cut before the columns": (MAP, b"Rov trace", None, "without names of columns"),
    "a word for a position": (MAP, b"CS 9-10,..,", b"CS 9-10,..,x", "line 17, column 'roving x'"),
    "fewer columns": (MAP, b"CS 9-10,..,", b"CS 9-10\r\n..,", "line 17 with 6 columns"),
    "no z": (MAP, b"roving z", b"raving z", "'roving z'"),
    "a million columns": (MAP, b"CS 9-10,..,", b"CS 9-10,..," + b"1," * 10**6, "line 17 with 1000"),
    "a trace cut": (ROV, b"HDGX A3-B1,3", None, "line 24"),
    "fewer samples in a line": (ROV, b"1500000000.0,,", b"1500000000.0,", "line 18 with 124 columns"),
    "another length": (ROV, b"samples exported:,120", b"samples exported:,121", "120 columns of samples"),
    "absurd length": (ROV, b"samples exported:,120", b"samples exported:,9999999999", "whole number"),
    "no rate": (ROV, b"Sample rate:,2000", b"Sample rate:,", "Hz"),
    "a negative rate": (ROV, b"Sample rate:,2000", b"Sample rate:,-1", "Hz"),
    "no columns": (ROV, b"Freeze Grp", b"Frozen Grp", "without names of columns"),
    "entities": (XML, b"<DIF>", b'<!DOCTYPE D [<!ENTITY a "b">]><DIF>', "entities"),
    "XML cut short": (XML, b"</Map_data>", None, "damaged"),
}


@pytest.mark.parametrize("harm", REFUSALS, ids=str)
def test_damage_is_refused(tmp_path, harm):
    """With the file and the line or element, before memory is filled."""
    made_up.make(tmp_path)
    name, old, new, message = REFUSALS[harm]
    content = (tmp_path / name).read_bytes()
    assert old in content
    cut = content[: content.index(old) + (40 if harm == "a trace cut" else 0)]
    (tmp_path / name).write_bytes(cut if new is None else content.replace(old, new, 1))
    with pytest.raises(jt.InputError, match=re.escape(message)) as error:
        read(tmp_path)
    assert name in str(error.value)


def test_gaps_and_words_in_waveforms(tmp_path):
    """Where a value is missing the rest is kept; a word that is no number is refused with its line."""
    truth = made_up.make(tmp_path)
    content = (tmp_path / ROV).read_bytes()
    (tmp_path / ROV).write_bytes(re.sub(rb"(1500000000.0,,)[^,]*,", rb"\1,", content, count=1))
    truth["waveforms"][0, 0, 0] = np.nan
    check(read(tmp_path), truth)
    (tmp_path / ROV).write_bytes(re.sub(rb"(1500000000.0,,)", rb"\1x", content, count=1))
    with pytest.raises(jt.InputError, match="line 18"):
        waveforms(read(tmp_path).maps[0])


def test_waveforms_that_two_lines_claim_are_not_read(tmp_path):
    made_up.make(tmp_path)
    content = (tmp_path / ROV).read_bytes()
    (tmp_path / ROV).write_bytes(content.replace(b",103,1500000000", b",100,1500000000", 1))
    one = read(tmp_path).maps[0]
    assert any("several lines claim" in note for note in one.notes)
    assert waveforms(one)[0].shape == (120, 2)


def test_zeros_in_texts_are_dropped(tmp_path):
    """A file of studies cannot hold them."""
    made_up.make(tmp_path / "e")
    for path in (tmp_path / "e" / "Contact_Mapping").glob("Map_*.csv"):
        path.write_bytes(path.read_bytes().replace(b"fractionated", b"frac\0tionated"))
    study = read(tmp_path / "e")
    assert study.maps[0].points.tags[0] == "fractionated µ"
    write_study(tmp_path / "s.h5", study)


def test_points_of_one_number_stay_two(tmp_path):
    made_up.make(tmp_path, voltages=False)
    path = tmp_path / "Contact_Mapping" / "Map_Score_bi.csv"
    path.write_bytes(path.read_bytes().replace(b",103,CS", b",100,CS"))
    one = read(tmp_path).maps[0]
    assert one.points.ids[:2] == ("100", "100")
    assert len(set(one.points.positions[:, 0])) == 12


def test_waveforms_not_recorded_are_said(tmp_path):
    made_up.make(tmp_path)
    content = (tmp_path / ROV).read_bytes()
    (tmp_path / ROV).write_bytes(content.replace(b"samples exported:,120", b"samples exported:,0"))
    study = read(tmp_path)
    assert any("none were recorded" in note for note in study.notes)
    assert waveforms(study.maps[0])[0].shape == (120, 2)
