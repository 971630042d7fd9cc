"""CARTO 3: a made-up study with the traps of real ones, and a real one."""

import shutil
import zipfile

import numpy as np
import pytest
from damaged import replaced

import jaxtwin as jt
from benchmarks.exports import carto as made_up
from jaxtwin.mapping.formats.files import Files
from jaxtwin.mapping.formats.read import read_mapping
from jaxtwin.mapping.storage import write_study


@pytest.fixture
def export(tmp_path):
    """Where a study is, and what is in it."""
    return tmp_path / "export", made_up.make(tmp_path / "export")


def check(study, truth):
    """All that was written is there."""
    one, found = truth["map"], study.map("1-LA µ")
    points = found.points
    assert tuple(each.name for each in study.maps) == truth["names"]
    np.testing.assert_array_equal(points.positions, one.positions)
    np.testing.assert_array_equal(points.surface_positions, np.round(one.positions + 1.0, 4))
    np.testing.assert_array_equal(points.valid, truth["valid"])
    np.testing.assert_array_equal(points.lat_ms[points.valid], one.lat_ms[truth["valid"]])
    np.testing.assert_array_equal(points.woi_ms, np.tile(one.woi, (len(points), 1)))
    np.testing.assert_allclose(points.bipolar_mv, one.bipolar_mv, atol=1e-9)
    np.testing.assert_allclose(points.unipolar_mv, one.unipolar_mv, atol=1e-9)
    assert points.reason[1:4] == ("no LAT", "outside the window of interest", "location only")
    assert points.tags[4] == "Scar; Pacing Site"
    active = truth["active"]
    np.testing.assert_array_equal(found.surface.points, one.vertices[active])
    assert found.surface.cut_out.sum() == 2
    kept = np.flatnonzero(active)[found.surface.triangles]
    wanted = one.triangles[(one.triangle_group != -1_000_000)]
    np.testing.assert_array_equal(kept, wanted)


def test_a_study_is_read_whole(export):
    """Inactive vertices, cut-outs, a glitch in the head of the colours, a map without points or colours."""
    folder, truth = export
    study = read_mapping(folder)
    check(study, truth)
    one = study.maps[0]
    assert study.maps[1].surface.fields == {}
    assert np.isnan(one.surface.fields["lat_ms"]).sum() == 1  # -10000
    signals = one.signals[0]
    assert signals.channels == ("M1", "M2", "M1-M2", "I")
    for trace in range(len(one.points)):
        np.testing.assert_array_equal(signals.raw(trace), truth["map"].raw[trace])
    assert set(one.points.bipolar_channel) == {"M1-M2"}
    assert set(one.points.reference_ms) == {30.0}


def test_an_archive_is_the_same_study(export, tmp_path):
    _, truth = export
    shutil.make_archive(str(tmp_path / "study"), "zip", tmp_path, "export")
    check(read_mapping(tmp_path / "study.zip"), truth)


def test_the_study_file_alone_names_its_folder(export):
    folder, truth = export
    (xml,) = folder.glob("Study*.xml")
    check(read_mapping(xml), truth)


@pytest.mark.parametrize(
    "how",
    [{"glitch": False}, {"version": 6}, {"named_channels": False}, {"fixed_width": False}],
    ids=["without glitch", "version 6", "version 4.1 of waveforms", "waveforms with single blanks"],
)
def test_other_versions_of_parts(tmp_path, how):
    truth = made_up.make(tmp_path / "export", **how)
    study = read_mapping(tmp_path / "export")
    check(study, truth)
    np.testing.assert_array_equal(study.maps[0].signals[0].raw(2), truth["map"].raw[2])


def test_the_table_alone_tells_version_6(tmp_path):
    """Window and reference stand in it; files of the points were not exported."""
    truth = made_up.make(tmp_path / "export", version=6, point_files=False)
    check(read_mapping(tmp_path / "export"), truth)


def test_a_folder_without_its_study_file_is_read(export):
    folder, truth = export
    next(folder.glob("Study*.xml")).unlink()
    found = read_mapping(folder)
    assert "no study file" in found.notes[0]
    np.testing.assert_array_equal(found.map("1-LA µ").points.positions, truth["map"].positions)


def test_no_patient_is_kept(export, tmp_path):
    """Neither in the study nor in the file, unless it was asked for."""
    folder, truth = export
    study = read_mapping(folder)
    write_study(tmp_path / "s.h5", study)
    content = (tmp_path / "s.h5").read_bytes()
    for word in truth["patient"]:
        assert word not in repr((study.name, study.notes, study.sources, [m.notes for m in study.maps]))
        assert word.encode() not in content
    assert "Doe Jane" in read_mapping(folder, identity=True).name


ONE = "1-LA µ"
# what is done to an export, by file: text, what takes its place, and what the message names
SPOILS = {
    "entities": ("_Points_Export.xml", b"<Points", b'<!DOCTYPE x [<!ENTITY a "b">]><Points', "entities"),
    "a word for a number": ("_P2_Point_Export.xml", b'From="-20"', b'From="x"', "P2_Point"),
    "a table cut short": ("_car.txt", b"\tA\t", b"\r\n", "car.txt line 3"),
    "another table": ("_car.txt", b"VERSION_5_0", b"versions", "car.txt line 1"),
    "a mesh cut short": (".mesh", b"[TrianglesSection]", b"", "TrianglesSection"),
    "a mesh without sections": (".mesh", b"[", b"(", "GeneralAttributes"),
    "fewer vertices": (".mesh", b"NumVertex              = 27", b"NumVertex = 28", "27 rows"),
    "a short line of a waveform": ("_P1_ECG_Export.txt", b"\r\n-", b"\r\n - ", "P1_ECG_Export.txt line"),
    "a file not listed": ("_Points_Export.xml", b"P3_Point", b"P99_Point", "P99_Point"),
}


@pytest.mark.parametrize("name", SPOILS)
def test_damage_is_refused_with_its_place(export, name):
    folder, _ = export
    file, old, new, said = SPOILS[name]
    replaced(folder / (ONE + file), old, new, -1)
    with pytest.raises(jt.InputError, match=said):
        read_mapping(folder)


def test_a_matrix_that_would_move_the_surface_is_noted(export):
    folder, _ = export
    replaced(folder / f"{ONE}.mesh", b"Matrix                 = 1 0", b"Matrix                 = 0 1")
    notes = read_mapping(folder).maps[0].notes
    assert any("matrix" in note for note in notes)
    assert not any("matrix" in note for note in read_mapping(folder).maps[1].notes)


def test_two_studies_in_one_place_and_other_units_are_refused(export):
    folder, _ = export
    (xml,) = folder.glob("Study*.xml")
    shutil.copy(xml, folder / "other.xml")
    with pytest.raises(jt.InputError, match="2 studies"):
        read_mapping(folder)
    (folder / "other.xml").unlink()
    replaced(xml, b'Distance="mm"', b'Distance="in"')
    with pytest.raises(jt.InputError, match="'in'"):
        read_mapping(folder)


def test_a_waveform_shorter_than_the_others_is_refused_when_it_is_read(export):
    folder, _ = export
    path = folder / "1-LA µ_P4_ECG_Export.txt"
    path.write_bytes(b"\r\n".join(path.read_bytes().splitlines()[:-5]) + b"\r\n")
    signals = read_mapping(folder).maps[0].signals[0]
    with pytest.raises(jt.InputError, match="55 samples"):
        signals.raw(3)


def test_names_that_lead_out_of_an_archive_are_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("../../evil.csv", "x")
        archive.writestr("/etc/evil", "x")
        archive.writestr("C:/evil", "x")
        archive.writestr("good/a.csv", "x")
    with Files(tmp_path / "z.zip") as files:
        assert files.names == ("good/a.csv",)
        assert "3 members" in files.notes[0]


def test_a_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.mesh", b"\0" * 70_000_000)
    with pytest.raises(jt.InputError, match="would grow"):
        read_mapping(tmp_path / "z.zip")


def test_damaged_archives_are_refused(export, tmp_path):
    folder, _ = export
    shutil.make_archive(str(tmp_path / "study"), "zip", folder)
    content = bytearray((tmp_path / "study.zip").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = b"\0" * 2000
    (tmp_path / "study.zip").write_bytes(bytes(content))

    def everything():
        study = read_mapping(tmp_path / "study.zip")
        return [s.raw(t) for one in study.maps for s in one.signals for t in range(len(s.rows))]

    with pytest.raises(jt.InputError):
        everything()


def test_links_out_of_a_folder_are_not_followed(export, tmp_path):
    folder, _ = export
    (tmp_path / "secret.csv").write_text("x")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    with Files(folder) as files:
        assert "link.csv" not in files.names
        assert "1 links" in files.notes[0]


def test_a_real_export(data):
    """A bench study: voltages are the waveforms' peak to peak inside the window, to the last digit
    exported."""
    study = read_mapping(data / "carto_export")
    assert [len(one.surface.points) for one in study.maps] == [3513, 2916, 2083]
    one = study.map("2-Map")
    assert one.points.reason == ("no LAT", "no LAT")
    signals = one.signals[0]
    assert signals.samples == 2500
    assert len(signals.channels) == 26
    for row in range(2):
        first, last = (one.points.reference_ms[row] + one.points.woi_ms[row]).astype(int)
        for names, volts in (
            (one.points.bipolar_channel, one.points.bipolar_mv),
            (one.points.unipolar_channel, one.points.unipolar_mv),
        ):
            trace = signals.mv(row)[first : last + 1, signals.channels.index(names[row])]
            assert round(float(np.ptp(trace)), 6) == volts[row]
