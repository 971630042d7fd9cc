"""Rhythmia backups: streamed, cut anywhere into parts, and refused where they are damaged."""

import zipfile

import numpy as np
import pytest

import jaxtwin as jt
from benchmarks.exports import rhythmia as export
from jaxtwin.mapping.formats import rhythmia, rhythmia_archive
from jaxtwin.mapping.formats.files import Files
from jaxtwin.mapping.study import Study


def study_of(folder, identity=False) -> Study:
    with Files(folder) as files:
        assert rhythmia.recognises(files)
        return rhythmia.read(files, identity)


def check(study, truth) -> None:
    (one,) = study.maps
    assert (study.system, study.version, one.name) == ("Rhythmia", "22.07.24.00", "Vorhof ü links")
    np.testing.assert_array_equal(one.surface.points, truth["nodes"])
    np.testing.assert_array_equal(one.surface.triangles, truth["triangles"])
    np.testing.assert_array_equal(one.surface.fields["lat_ms"], truth["lat_field"])
    np.testing.assert_array_equal(one.surface.fields["bipolar_mv"], truth["bipolar_field"])
    assert {"unipolar_mv", "lat_unipolar_ms", "voltage_unideriv_mv"} < set(one.surface.fields)
    points = one.points
    for name in ("positions", "surface_positions", "lat_ms", "bipolar_mv", "woi_ms", "ids"):
        np.testing.assert_array_equal(getattr(points, name), truth[name])
    assert set(points.reason) == {""}
    assert study.data().valid.all()


@pytest.mark.parametrize("parts", [1, 3, 7])
@pytest.mark.parametrize("quoted", [False, True])
def test_all_that_was_written_is_read(tmp_path, parts, quoted):
    truth = export.make(tmp_path, parts=parts, quoted=quoted)
    check(study_of(tmp_path), truth)


@pytest.mark.parametrize("chunk", [1, 7, 64, 997])
def test_wherever_a_window_ends(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(rhythmia_archive, "CHUNK", chunk)
    truth = export.make(tmp_path)
    check(study_of(tmp_path), truth)


def test_blocks_that_are_not_needed_are_not_read(tmp_path, monkeypatch):
    """Most of a backup is signals."""
    truth = export.make(tmp_path, padding=5_000_000)
    asked = []
    own = rhythmia_archive.Archive.read

    def read(self, most):
        found = own(self, most)
        asked.append(len(found))
        return found

    monkeypatch.setattr(rhythmia_archive.Archive, "read", read)
    monkeypatch.setattr(rhythmia_archive, "CHUNK", 4096)
    check(study_of(tmp_path), truth)
    assert sum(asked) < 30_000


def test_a_transform_moves_surface_and_measurements(tmp_path):
    turn = np.array(
        [[0.0, -1.0, 0.0, 5.0], [1.0, 0.0, 0.0, -3.0], [0.0, 0.0, 1.0, 40.0], [0.0, 0.0, 0.0, 1.0]]
    )
    truth = export.make(tmp_path, transform=turn)
    check(study_of(tmp_path), truth)


def test_optional_parts_may_be_missing(tmp_path):
    export.make(tmp_path, table=False, flags=False)
    (one,) = study_of(tmp_path).maps
    assert len(one.points) == 0
    assert one.notes == ()
    export.make(tmp_path, activation=False)
    (one,) = study_of(tmp_path).maps
    assert one.surface is not None
    assert set(one.surface.fields) == {"bipolar_mv", "unipolar_mv", "voltage_unideriv_mv"}
    export.make(tmp_path, points=0)
    assert len(study_of(tmp_path).maps[0].points) == 0


@pytest.mark.parametrize(("traps", "reason"), [({"beat": False}, "not given"), ({"wild": 500.0}, "not fit")])
def test_activation_without_its_beat_is_no_lat(tmp_path, traps, reason):
    truth = export.make(tmp_path, **traps)
    (one,) = study_of(tmp_path).maps
    assert one.surface is not None
    assert "lat_ms" not in one.surface.fields
    np.testing.assert_array_equal(one.surface.fields["activation"], truth["counts"])
    assert any("kept in samples" in note and reason in note for note in one.notes)
    assert (not one.points.valid.any()) == ("beat" in traps)


def test_an_empty_anatomy_is_noted(tmp_path):
    export.make(tmp_path, empty=True)
    study = study_of(tmp_path)
    assert len(study.maps) == 1
    assert study.notes == ("anatomy 'anatomy 2' not read: it has neither a surface nor measurements",)


def test_several_results_are_left_alone(tmp_path):
    export.make(tmp_path, engines=2)
    (one,) = study_of(tmp_path).maps
    assert one.surface is not None
    assert not one.surface.fields
    assert any("2 results not read" in note for note in one.notes)


def test_who_it_was_is_left_out(tmp_path):
    export.make(tmp_path)
    found = repr(study_of(tmp_path))
    assert not any(word in found for word in ("Doe", "Jane", "4711", "1950"))
    assert study_of(tmp_path, identity=True).name == "Doe 1950"


def test_inside_an_archive(tmp_path):
    truth = export.make(tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted((tmp_path / "x").iterdir()):
            archive.write(each, f"backup/{each.name}")
    check(study_of(tmp_path / "a.zip"), truth)


def whole(folder) -> bytes:
    return b"".join(each.read_bytes() for each in sorted(folder.iterdir()))


def shorter(content: bytes) -> bytes:
    """With a value less in the first of the fields."""
    at = content.index(b" BIN=72>")
    return content[:at] + b" BIN=68>" + content[at + 8 : at + 76] + content[at + 80 :]


REFUSED = {
    "does not say its length": lambda all_: all_.replace(b" BIN=432>", b" BAN=432>"),
    "copy the whole backup": lambda all_: all_.replace(b" BIN=432>", b" BIN=99999999>"),
    "a multiple of": lambda all_: all_.replace(b" BIN=432>", b" BIN=431>"),
    "damaged": lambda all_: all_.replace(b"</Mesh>", b"</Mash>"),
    "one for each of 18 vertices": shorter,
    "16 numbers": lambda all_: all_.replace(b"<Transform>1 ", b"<Transform>"),
    "entities": lambda all_: all_.replace(b"<Project>", b"<!DOCTYPE x [<!ENTITY a 'b'>]><Project>"),
    "without an end": lambda all_: all_[: all_.index(b"<inlinedbin") + 14],
    "that has a surface": lambda all_: all_.replace(b"Anatomy>", b"Bnatomy>"),
    "with 12 rows": lambda all_: all_.replace(b'rows="12"', b'rows="13"'),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_damage_is_refused(tmp_path, message):
    export.make(tmp_path, parts=1)
    content = REFUSED[message](whole(tmp_path))
    (tmp_path / "Study_1.000").write_bytes(content)
    with pytest.raises(jt.InputError, match=message):
        study_of(tmp_path)


def test_triangles_beyond_the_vertices_are_refused(tmp_path):
    truth = export.make(tmp_path, parts=1)
    content = whole(tmp_path)
    there = truth["triangles"].astype("<i4").tobytes()
    wrong = truth["triangles"].copy()
    wrong[0, 0] = 99
    (tmp_path / "Study_1.000").write_bytes(content.replace(there, wrong.astype("<i4").tobytes()))
    with pytest.raises(jt.InputError, match="corners 0 to 99"):
        study_of(tmp_path)


def test_parts_that_are_missing_or_too_many(tmp_path):
    export.make(tmp_path)
    (tmp_path / "Study_2.000").write_bytes(b"<Project/>")
    with pytest.raises(jt.InputError, match="2 first parts"):
        study_of(tmp_path)
    (tmp_path / "Study_2.000").unlink()
    (tmp_path / "Study_1.001").unlink()
    with pytest.raises(jt.InputError, match=r"without part \.001"):
        study_of(tmp_path)
    (tmp_path / "Study_1.002").unlink()
    with pytest.raises(jt.InputError):
        study_of(tmp_path)


def test_tables_of_another_layout_are_noted(tmp_path):
    export.make(tmp_path, parts=1)
    content = whole(tmp_path)
    (tmp_path / "Study_1.000").write_bytes(content.replace(b'cols="28"', b'cols="27"'))
    (one,) = study_of(tmp_path).maps
    assert len(one.points) == 0
    assert any("not of the layout" in note for note in one.notes)


def test_other_files_are_not_recognised(tmp_path):
    (tmp_path / "a.000").write_bytes(b"\x89HDF")
    with Files(tmp_path) as files:
        assert not rhythmia.recognises(files)


def test_too_much_xml_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(rhythmia_archive, "MOST_XML", 500)
    export.make(tmp_path)
    with pytest.raises(jt.InputError, match="500 bytes outside"):
        study_of(tmp_path)
