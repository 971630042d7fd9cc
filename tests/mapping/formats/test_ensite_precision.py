"""EnSite Precision: a made-up export with the traps of real ones, and damaged ones."""

import re
import zipfile

import numpy as np
import pytest
from damaged import replaced

import jaxtwin as jt
from benchmarks.exports import ensite_precision as made_up
from jaxtwin.mapping.formats import ensite_precision as reader
from jaxtwin.mapping.formats import ensite_surface, ensite_x
from jaxtwin.mapping.formats.files import Files
from jaxtwin.mapping.storage import read_study, write_study


def read(path, identity=False):
    with Files(path) as files:
        return reader.read(files, identity)


def traces(one, slot):
    """Waveforms by points, of one of the channels."""
    found = {}
    for signals in one.signals:
        for trace, row in enumerate(signals.rows):
            found[int(row)] = signals.raw(trace)[:, slot]
    return found


def check(study, truth):
    """All that was written is there."""
    one = study.maps[0]
    points = one.points
    assert (study.system, study.version, one.name) == ("EnSite Precision", "5.2", truth["name"])
    for name in ("positions", "surface_positions", "lat_ms", "reference_ms", "bipolar_mv"):
        np.testing.assert_array_equal(getattr(points, name), truth[name], err_msg=name)
    np.testing.assert_array_equal(points.more.get("cfe_mean_ms", []), truth["cfe_mean_ms"])
    np.testing.assert_array_equal(points.valid, truth["valid"])
    assert points.ids == tuple(truth["ids"])
    assert points.bipolar_channel == tuple(truth["channels"])
    assert set(points.reference_channel) <= {"CS 9-10"}
    assert points.reason[1:4] == ("no LAT", "", "not utilized")[: max(len(points) - 1, 0)]
    if truth["waveforms"] is not None:
        for slot in range(len(truth["slots"])):
            found = traces(one, slot)
            assert sorted(found) == list(range(len(points)))
            for row, wave in found.items():
                np.testing.assert_array_equal(wave, truth["waveforms"][row, :, slot])
        for signals in one.signals:
            assert (signals.rate_hz, signals.gain_mv) == (truth["rate_hz"], 1.0)
            assert {points.bipolar_channel[row] for row in signals.rows} == {signals.channels[0]}
            assert signals.channels[1] == "CS 9-10"


TRAPS = {
    "as it is": {},
    "Unix line ends": {"newline": "\n"},
    "blank columns": {"blank_columns": 3},
    "no blank lines": {"blank_lines": False},
    "files in another order": {"backwards": True, "files": 3},
    "header in another order": {"shuffled": True},
    "no count": {"counted": False},
    "no waveforms": {"waveforms": False},
    "three spare traces": {"spares": 3},
    "other words": {"words": ("", "N/A")},
    "one file": {"files": 1},
    "no surface": {"surface": False},
    "no points": {"points": 0, "files": 1},
    "one point": {"points": 1, "files": 1},
}


@pytest.mark.parametrize("trap", TRAPS, ids=str)
def test_an_export_is_read_whole(tmp_path, trap):
    truth = made_up.make(tmp_path, **TRAPS[trap])
    with Files(tmp_path) as files:
        assert reader.recognises(files)
        assert not ensite_x.recognises(files)
    check(read(tmp_path), truth)


def test_a_surface_has_its_values_and_says_what_was_left_out(tmp_path):
    """Triangles are counted from 1; the quantity stands in a comment, with a micro sign of Windows."""
    truth = made_up.make(tmp_path)
    one = read(tmp_path).maps[0]
    np.testing.assert_array_equal(one.surface.points, truth["nodes"])
    np.testing.assert_array_equal(one.surface.triangles, truth["triangles"])
    np.testing.assert_array_equal(one.surface.fields["bipolar_mv"], truth["surface_bipolar_mv"])
    np.testing.assert_array_equal(one.surface.fields["lat_ms"], truth["surface_lat_ms"])
    assert np.isnan(truth["surface_lat_ms"]).any()
    assert any("no data µ" in note for note in one.notes)
    assert any("'LSPV' at 1, 2, 3 mm" in note for note in one.notes)
    assert not any("not applied" in note for note in one.notes)


def test_the_placement_of_a_surface_is_said_part_by_part(tmp_path):
    made_up.make(tmp_path, placed=True)
    notes = " ".join(read(tmp_path).maps[0].notes)
    assert "rotation of the object not applied: 0 -1 0 1 0 0 0 0 1" in notes
    assert "translation of the object not applied: 5 6 7" in notes
    assert "scaling of the object not applied: 2 2 2" in notes


def test_values_without_a_comment_keep_no_unit(tmp_path):
    truth = made_up.make(tmp_path, comments=False)
    surface = read(tmp_path).maps[0].surface
    np.testing.assert_array_equal(surface.fields["map_data"], truth["surface_bipolar_mv"])


def test_a_surface_alone_is_a_map(tmp_path):
    made_up.make(tmp_path)
    for name in ("DxL_1.csv", "DxL_2.csv"):
        (tmp_path / name).unlink()
    with Files(tmp_path) as files:
        assert reader.recognises(files)
    study = read(tmp_path)
    assert [each.name for each in study.maps] == ["LA"]
    assert study.data().valid.any()  # its nodes have LATs


def test_unipolar_maps_have_unipolar_voltages(tmp_path):
    truth = made_up.make(tmp_path, unipolar=True)
    points = read(tmp_path).maps[0].points
    np.testing.assert_array_equal(points.unipolar_mv, truth["bipolar_mv"])
    assert np.isnan(points.bipolar_mv).all()
    assert points.unipolar_channel == tuple(truth["channels"])


def test_waveforms_are_held_file_by_file(tmp_path, monkeypatch):
    """Also where memory is for one file alone."""
    monkeypatch.setattr(reader, "MOST_HELD", 0)
    truth = made_up.make(tmp_path, files=3)
    check(read(tmp_path), truth)


def test_maps_of_several_folders_keep_their_surfaces(tmp_path):
    """Maps of one name stay apart; a folder without surface takes that above."""
    first = made_up.make(tmp_path / "LAT" / "inner", seed=1, surface=False)
    made_up.make(tmp_path / "LAT", seed=1)
    for name in ("DxL_1.csv", "DxL_2.csv"):
        (tmp_path / "LAT" / name).unlink()
    second = made_up.make(tmp_path / "UNI", seed=2, points=5)
    study = read(tmp_path)
    assert [each.name for each in study.maps] == [first["name"], f"{second['name']} (2)"]
    assert [len(each.points) for each in study.maps] == [12, 5]
    assert all(each.surface is not None for each in study.maps)


def test_a_zip_is_read_as_a_folder(tmp_path):
    truth = made_up.make(tmp_path / "export")
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (tmp_path / "export").iterdir():
            archive.write(path, path.name)
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


COUNT, XML = b"(columns):, 6", "DxLandmarkGeo.xml"
VERTICES = b'<Vertices number="34">'
REFUSALS = {  # what was replaced by what in which file; None: cut there
    "cut in a line": ("DxL_2.csv", b"ving y", None, "ends in line 24"),
    "cut in the rows": ("DxL_1.csv", b"surfPt y", None, "ends in line 27"),
    "cut in a waveform": ("DxL_1.csv", b"FFT", b"", "DxL_1"),
    "another count": ("DxL_1.csv", COUNT, b"(columns):, 7", "line 12"),
    "fewer than there are": ("DxL_1.csv", COUNT, b"(columns):, 5", "line 12"),
    "absurd count": ("DxL_1.csv", COUNT, b"(columns):, 999999999", "data points"),
    "no count": ("DxL_1.csv", COUNT, b"(columns):, many", "data points"),
    "file 3 of 2": ("DxL_1.csv", b"file 1 of 2", b"file 3 of 2", "file 3 of 2"),
    "a file twice": ("DxL_1.csv", b"file 1 of 2", b"file 2 of 2", "twice"),
    "no positions": ("DxL_1.csv", b"roving x", b"raving x", "'roving x:'"),
    "a word": ("DxL_1.csv", b"peak2peak:,", b"peak2peak:,x", "line 19 'peak2peak:'"),
    "fewer samples": ("DxL_1.csv", b"Exported seconds:,0.04", b"Exported seconds:,9", "40 samples"),
    "no rate": ("DxL_1.csv", b"Sample rate:,1000.0", b"Sample rate:,", "Hz"),
    "a million columns": ("DxL_1.csv", b"roving x:", b"roving x:" + b",1" * 10**6, "1000006 columns"),
    "entities": (XML, b"<DIF>", b'<!DOCTYPE D [<!ENTITY a "b">]><DIF>', "entities"),
    "XML cut short": (XML, b"</Map_data>", None, "damaged"),
    "another version": (XML, b"SJM_DIF_5.0", b"9 (not SJM_DIF)", "version"),
    "vertices missing": (XML, VERTICES, b'<Vertices number="1000000000">', "Vertices with 102"),
    "a word among vertices": (XML, VERTICES, VERTICES + b" x", "entry 1"),
    "nan in a vertex": (XML, VERTICES + b"\n  14.6946", VERTICES + b"\n nan", "not finite"),
    "triangles from 0": (XML, b'<Polygons number="64">', b'<Polygons number="65"> 0 1 2', "nodes -1"),
    "half a triangle": (XML, b'<Polygons number="64">', b'<Polygons number="65"> 1.5 1 2', "not whole"),
    "fewer values": (XML, b'<Map_data number="34">', b'<Map_data number="35"> 1', "35 values"),
    "half a rotation": (XML, b"<Rotation>1 0", b"<Rotation>", "Rotation with 7"),
}


@pytest.mark.parametrize("harm", REFUSALS, ids=str)
def test_damage_is_refused(tmp_path, harm):
    """With the file and the line or element, before memory is filled."""
    made_up.make(tmp_path)
    name, old, new, message = REFUSALS[harm]
    content = (tmp_path / name).read_bytes()
    assert old in content
    cut = content[: content.index(old)]
    (tmp_path / name).write_bytes(cut if new is None else content.replace(old, new, 1))
    if harm == "cut in a waveform":
        (tmp_path / name).write_bytes(content[: content.index(b"ref trace:,CS") + 900])
    with pytest.raises(jt.InputError, match=re.escape(message)):
        read(tmp_path)


def test_a_file_cut_between_lines_is_said(tmp_path):
    """Where all samples are there no more can be told."""
    made_up.make(tmp_path)
    content = (tmp_path / "DxL_1.csv").read_bytes()
    (tmp_path / "DxL_1.csv").write_bytes(content[: content.index(b"FFT")])
    assert any("without EOF" in note for note in read(tmp_path).maps[0].notes)


def test_missing_files_of_a_map_are_said(tmp_path):
    made_up.make(tmp_path, files=3)
    (tmp_path / "DxL_2.csv").unlink()
    one = read(tmp_path).maps[0]
    assert len(one.points) == 8
    assert any("files 2 of 3" in note for note in one.notes)


def test_gaps_and_words_in_waveforms_are_missing(tmp_path):
    """Where a value is missing the rest is kept; a word that is no number is refused with its line."""
    truth = made_up.make(tmp_path, files=1)
    content = (tmp_path / "DxL_1.csv").read_bytes().split(b"\r\n")
    first = next(i for i, line in enumerate(content) if line.startswith(b"rov trace") and i > 40) + 1
    cells = content[first].split(b",")
    cells[1], cells[2] = b"", b"nan"
    content[first] = b",".join(cells)
    (tmp_path / "DxL_1.csv").write_bytes(b"\r\n".join(content))
    wave = traces(read(tmp_path).maps[0], 0)
    truth["waveforms"][:2, 0, 0] = np.nan
    for row in range(12):
        np.testing.assert_array_equal(wave[row], truth["waveforms"][row, :, 0])
    cells[1] = b"1.2.3"
    content[first] = b",".join(cells)
    (tmp_path / "DxL_1.csv").write_bytes(b"\r\n".join(content))
    one = read(tmp_path).maps[0]
    with pytest.raises(jt.InputError, match=f"line {first + 1}"):
        one.signals[0].raw(0)


def test_points_without_position_are_left_out_with_their_waveforms(tmp_path):
    truth = made_up.make(tmp_path, files=1)
    old = b"roving x:,%.4f" % truth["positions"][0, 0]
    replaced(tmp_path / "DxL_1.csv", old, b"roving x:,nan")
    one = read(tmp_path).maps[0]
    assert one.points.ids == tuple(truth["ids"][1:])
    np.testing.assert_array_equal(traces(one, 1)[0], truth["waveforms"][1, :, 1])


def test_legends_and_quantities():
    """As they stand in the comments of surfaces."""
    assert ensite_surface._legend(" Map_status for each vertex: 0=good, 1 = no data") == {
        0.0: "good", 1.0: "no data",
    }  # fmt: skip
    start = "Data values at each vertex of DxL map "
    for text, name in {
        "P-P Voltage (uni)": "unipolar_mv", "P-P Voltage (bi)": "bipolar_mv", "LAT Isochronal (bi)": "lat_ms",
        "CFE Mean": "cfe_mean", "": "map_data",
    }.items():  # fmt: skip
        assert ensite_surface._quantity(start + text) == name
