"""Surfaces with LATs at their nodes: VTK of every form, openCARP, and real ones."""

import zipfile

import numpy as np
import pytest

import jaxtwin as jt
from benchmarks.exports import vtk_surface as export
from jaxtwin.anatomy import slab, write_mesh
from jaxtwin.mapping.formats import vtk_surface
from jaxtwin.mapping.formats.files import Files
from jaxtwin.mapping.study import Study


def study_of(path, identity=False) -> Study:
    with Files(path) as files:
        assert vtk_surface.recognises(files)
        return vtk_surface.read(files, identity)


@pytest.mark.parametrize("form", export.FORMS)
def test_all_that_was_written_is_read(tmp_path, form):
    truth = export.make(tmp_path, form=form)
    study = study_of(tmp_path)
    (one,) = study.maps
    assert (study.system, study.version) == ("surface", "openCARP" if form == "opencarp" else "VTK")
    assert len(study.sources) == (3 if form == "opencarp" else 1)
    assert one.surface is not None
    np.testing.assert_allclose(one.surface.points, truth["nodes"], rtol=1e-15, atol=1e-15)
    np.testing.assert_array_equal(one.surface.triangles, truth["triangles"])
    assert len(one.points) == 0
    if form == "opencarp":
        assert not one.surface.fields
        assert any("no array of LATs" in note for note in one.notes)
        return
    np.testing.assert_array_equal(one.surface.fields["lat_ms"], truth["lat_ms"])
    np.testing.assert_array_equal(one.surface.fields["Bipolar voltage"], truth["arrays"]["Bipolar voltage"])
    assert study.data().valid.sum() == np.isfinite(truth["lat_ms"]).sum()


@pytest.mark.parametrize(
    "name", ["LAT", "lat", "lat_ms", "Lat (ms)", "activation", "Activation-Times", "LOCAL_ACTIVATION_TIME"]
)
def test_names_of_lats(tmp_path, name):
    truth = export.make(tmp_path, form="vtu", name=name)
    (one,) = study_of(tmp_path).maps
    np.testing.assert_array_equal(one.surface.fields["lat_ms"], truth["lat_ms"])
    assert name == "lat_ms" or name not in one.surface.fields


def test_without_lats(tmp_path):
    export.make(tmp_path, name=None)
    study = study_of(tmp_path)
    assert set(study.maps[0].surface.fields) == {"Bipolar voltage"}
    assert any("no array of LATs" in note for note in study.maps[0].notes)
    with pytest.raises(jt.InputError, match="without a valid LAT"):
        study.data()


def test_several_arrays(tmp_path):
    """The one named with its unit is taken; vectors are split; nothing is lost."""
    nodes = 36
    more = {
        "activation": np.arange(36.0),
        "lat_ms": np.arange(36.0) + 7,
        "v": np.arange(108.0).reshape(36, 3),
    }
    truth = export.make(tmp_path, more=more)
    (one,) = study_of(tmp_path).maps
    fields = one.surface.fields
    assert set(fields) == {"lat_ms", "LAT", "activation", "Bipolar voltage", "v_0", "v_1", "v_2"}
    np.testing.assert_array_equal(fields["lat_ms"], np.arange(nodes) + 7.0)
    np.testing.assert_array_equal(fields["LAT"], truth["lat_ms"])
    np.testing.assert_array_equal(fields["v_1"], np.arange(1, 108, 3))
    assert sum("kept under its own name" in note for note in one.notes) == 2


@pytest.mark.parametrize(
    "traps", [{"sentinel": True}, {"silent": True}, {"silent": True, "negative": True}], ids=str
)
def test_lats_that_are_none(tmp_path, traps):
    """-1 counts as none only where no other LAT is negative."""
    truth = export.make(tmp_path, **traps)
    (one,) = study_of(tmp_path).maps
    np.testing.assert_array_equal(one.surface.fields["lat_ms"], truth["lat_ms"])
    assert any("stands for" in note for note in one.notes) == ("negative" not in traps)


def test_a_map_without_a_single_lat(tmp_path):
    export.make(tmp_path, name=None, more={"LAT": np.full(36, np.nan)})
    assert any("without a single LAT" in note for note in study_of(tmp_path).maps[0].notes)


def test_the_name_of_the_file_is_left_out(tmp_path):
    export.make(tmp_path)
    (tmp_path / "map.vtk").rename(tmp_path / "Doe 1950.vtk")
    assert study_of(tmp_path / "Doe 1950.vtk").maps[0].name == "map"
    assert study_of(tmp_path, identity=True).maps[0].name == "Doe 1950"


def test_one_file_of_opencarp_brings_the_others(tmp_path):
    truth = export.make(tmp_path, form="opencarp")
    np.testing.assert_array_equal(
        study_of(tmp_path / "map.pts").maps[0].surface.triangles, truth["triangles"]
    )


def test_archives_and_several_surfaces_are_refused(tmp_path):
    export.make(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "map.vtk", "x/map.vtk")
    with pytest.raises(jt.InputError, match="Unpack"):
        study_of(tmp_path / "a.zip")
    export.make(tmp_path, form="vtp")
    with pytest.raises(jt.InputError, match="2 surfaces"):
        study_of(tmp_path)


def test_volumes_are_refused(tmp_path):
    write_mesh(tmp_path / "map.vtu", slab(4.0, 4.0, 2.0, 1.0))
    with pytest.raises(jt.InputError, match="cells of 4 corners"):
        study_of(tmp_path)


def test_other_files_are_not_recognised(tmp_path):
    (tmp_path / "a.vtk").write_text("something else")
    (tmp_path / "b.pts").write_text("3\n")
    with Files(tmp_path) as files:
        assert not vtk_surface.recognises(files)


def test_a_real_map(data):
    """A map of a patient, with gaps."""
    (one,) = study_of(data / "eam_map").maps
    lat = one.surface.fields["lat_ms"]
    assert one.surface.points.shape == (8848, 3)
    assert one.surface.triangles.shape == (16942, 3)
    assert int(np.isnan(lat).sum()) == 62
    assert 19.0 < np.nanmin(lat) < 21.0
    assert 174.0 < np.nanmax(lat) < 176.0


def test_a_simulated_map(data):
    (one,) = study_of(data / "atrium_scar").maps
    assert {"lat_ms", "activation_times_scar", "l_0"} <= set(one.surface.fields)
    assert len(one.surface.triangles) == 17444


@pytest.mark.parametrize(("folder", "nodes"), [("atrium_ct", 12639), ("atrium_dtmri", 60100)])
def test_real_atria_without_a_map(data, folder, nodes):
    (one,) = study_of(data / folder).maps
    assert one.surface.points.shape == (nodes, 3)
    assert not one.surface.fields
