"""OpenEP data sets: what MATLAB wrote comes back, so does what we write, and what is damaged is refused."""

import glob
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

import jaxtwin as jt
from benchmarks.exports import openep as export
from jaxtwin.anatomy.surface import Surface
from jaxtwin.mapping.formats import matlab5, openep
from jaxtwin.mapping.formats.files import Files
from jaxtwin.mapping.formats.openep_out import write_openep
from jaxtwin.mapping.study import Map, Points, Signals, Study

VERSIONS = pytest.mark.parametrize("version", ["5", "7.3"])


def study_of(folder, identity=False) -> Study:
    with Files(folder) as files:
        assert openep.recognises(files)
        return openep.read(files, identity)


def trace(one: Map, row: int, channel: str) -> np.ndarray:
    """What a channel says of a point, in mV."""
    (found,) = [
        each.mv(int(np.flatnonzero(each.rows == row)[0]))[:, each.channels.index(channel)]
        for each in one.signals
        if row in each.rows and channel in each.channels
    ]
    return found


@VERSIONS
@pytest.mark.parametrize("rate", [None, 1000.0, 2000.0])
def test_all_that_was_written_is_read(tmp_path, version, rate):
    truth = export.make(tmp_path, version=version, rate=rate)
    study = study_of(tmp_path)
    assert (study.system, study.version, study.name) == ("OpenEP", version, "")
    assert len(study.sources) == 1
    (one,) = study.maps
    assert one.surface is not None
    np.testing.assert_array_equal(one.surface.points, truth["nodes"])
    np.testing.assert_array_equal(one.surface.triangles, truth["triangles"])
    assert not one.surface.cut_out.any()
    assert set(one.surface.fields) == {"lat_ms", "bipolar_mv", "unipolar_mv", "force_g"}
    np.testing.assert_array_equal(one.surface.fields["lat_ms"], truth["lat_field"])
    np.testing.assert_array_equal(one.surface.fields["unipolar_mv"], 2 * truth["bipolar_field"])
    points, electric = one.points, truth["electric"]
    np.testing.assert_array_equal(points.positions, electric["egmX"])
    np.testing.assert_array_equal(points.surface_positions, electric["egmSurfX"])
    for name in ("lat_ms", "reference_ms", "woi_ms"):
        np.testing.assert_array_equal(getattr(points, name), truth[name])
    assert points.reason == truth["reason"]
    assert points.ids[:2] == ("P1", "P2")
    assert points.tags[:2] == ("Scar", "")
    np.testing.assert_array_equal(points.bipolar_mv, electric["voltages"]["bipolar"][:, 0])
    np.testing.assert_array_equal(points.unipolar_mv, electric["voltages"]["unipolar"][:, 0])
    np.testing.assert_array_equal(points.impedance_ohm, 100.0 + np.arange(12))
    np.testing.assert_array_equal(points.force_g, np.arange(12) / 2.0)
    assert any("taken as 1000 Hz" in note for note in one.notes) == (rate is None)
    for row in range(12):
        assert points.bipolar_channel[row] == ("M1-M2" if row % 2 else "M3-M4")
        np.testing.assert_array_equal(trace(one, row, points.bipolar_channel[row]), truth["egm"][row])
        np.testing.assert_array_equal(
            trace(one, row, points.unipolar_channel[row]), truth["egmUni"][row, :, 0]
        )
        np.testing.assert_array_equal(trace(one, row, "M2" if row % 2 else "M4"), truth["egmUni"][row, :, 1])
        np.testing.assert_array_equal(trace(one, row, points.reference_channel[row]), truth["egm"][row, ::-1])
        np.testing.assert_array_equal(trace(one, row, "V6"), truth["ecg"][row, :, 1])
    assert all(each.rate_hz == truth["rate_hz"] for each in one.signals)
    assert study.data().valid.sum() == 8


OPTIONAL = [
    "surface", "surface.act_bip", "surface.uni_imp_frc", "surface.isVertexAtRim", "electric.tags",
    "electric.names", "electric.include", "electric.electrodeNames_bip", "electric.electrodeNames_uni",
    "electric.egm", "electric.egmUni", "electric.egmRef", "electric.ecg", "electric.ecgNames",
    "electric.egmSurfX",
    "electric.annotations", "electric.annotations.woi", "electric.voltages", "electric.impedances",
    "electric.force", "electric.egmX", "electric", "cartoFolder", "systemName", "rf",
]  # fmt: skip


@VERSIONS
def test_optional_parts_may_be_missing(tmp_path, version):
    for name in OPTIONAL:
        truth = export.make(tmp_path, version=version, without=(name,), points=5, samples=9)
        (one,) = study_of(tmp_path).maps
        assert (one.surface is None) == (name == "surface")
        assert len(one.points) == (0 if name in ("electric", "electric.egmX") else 5)
        if name == "electric.electrodeNames_bip":
            assert set(one.points.bipolar_channel) == {"bipolar"}
            np.testing.assert_array_equal(trace(one, 3, "bipolar"), truth["egm"][3])
        if name == "electric.electrodeNames_uni":
            np.testing.assert_array_equal(trace(one, 3, "unipolar 2"), truth["egmUni"][3, :, 1])
        if name == "electric.annotations":
            assert not one.points.valid.any()


@VERSIONS
@pytest.mark.parametrize("points", [0, 1, 2, 3])
def test_maps_of_few_points(tmp_path, version, points):
    truth = export.make(tmp_path, version=version, points=points)
    (one,) = study_of(tmp_path).maps
    assert len(one.points) == points
    np.testing.assert_array_equal(one.points.lat_ms, truth["lat_ms"])
    for row in range(points):
        np.testing.assert_array_equal(trace(one, row, "V1"), truth["ecg"][row, :, 0])


@VERSIONS
def test_what_says_who_is_left_out(tmp_path, version):
    export.make(tmp_path, version=version)
    assert "Doe" not in repr(study_of(tmp_path))
    assert study_of(tmp_path, identity=True).name == "Doe Jane 01_02_1950"


@VERSIONS
def test_objects_of_matlab_are_refused(tmp_path, version):
    export.make(tmp_path, version=version, foreign=True)
    with pytest.raises(jt.InputError, match=r"object \(TriRep\).*struct\('X'"):
        study_of(tmp_path)


@VERSIONS
def test_triangles_counted_from_0_are_refused(tmp_path, version):
    export.make(tmp_path, version=version, first=0)
    with pytest.raises(jt.InputError, match=r"corners 0.0 to 31.0 on 32 nodes"):
        study_of(tmp_path)


def changed(tmp_path, version, name, value) -> None:
    """The made-up data set with another value of one field."""
    truth = export.make(tmp_path, version=version)
    tree = {"surface": {"triRep": {"X": truth["nodes"], "Triangulation": truth["triangles"] + 1.0}}}
    tree["electric"] = truth["electric"]
    *path, leaf = name.split(".")
    part = tree
    for each in path:
        part = part[each]
    part[leaf] = value
    export.write(tmp_path / "map.mat", tree, version)


BAD = {
    "electric.egmX": np.zeros((12, 2)), "electric.egmSurfX": np.zeros((11, 3)), "electric.ecg": "text",
    "electric.egm": np.zeros((11, 40)), "electric.annotations.mapAnnot": np.zeros((11, 1)),
    "electric.sampleFrequency": np.zeros((1, 1)),
    "electric.annotations.woi": np.zeros((12, 3)), "electric.voltages.bipolar": "text",
    "electric.names": np.array([["a"], ["b"]], object), "electric.impedances.value": np.zeros((3, 4)),
    "surface.triRep.X": np.full((32, 3), np.nan), "surface.triRep.Triangulation": np.full((4, 3), 1.5),
    "surface.act_bip": np.zeros((31, 2)), "surface.isCutOut": np.zeros((5, 1)),
}  # fmt: skip


@VERSIONS
@pytest.mark.parametrize("name", BAD)
def test_fields_that_do_not_fit_are_refused(tmp_path, version, name):
    changed(tmp_path, version, name, BAD[name])
    with pytest.raises(jt.InputError):
        study_of(tmp_path)


@VERSIONS
def test_points_without_a_position_are_left_out(tmp_path, version):
    positions = np.zeros((12, 3))
    positions[1] = np.nan
    changed(tmp_path, version, "electric.egmX", positions)
    (one,) = study_of(tmp_path).maps
    assert one.points.ids[:3] == ("P1", "P3", "P4")
    assert "1 points not read: they have no position" in one.notes
    truth = export.make(tmp_path, version=version)
    np.testing.assert_array_equal(trace(one, 1, "V1"), truth["ecg"][2, :, 0])


@VERSIONS
def test_impedance_as_cells_of_traces(tmp_path, version):
    cells = np.empty((1, 12), object)
    for k in range(12):
        cells[0, k] = np.array([[k, np.nan, k + 2.0]]) if k else np.zeros((0, 0))
    changed(tmp_path, version, "electric.impedances.value", cells)
    (one,) = study_of(tmp_path).maps
    np.testing.assert_array_equal(one.points.impedance_ohm[1:], np.arange(1, 12) + 1.0)
    assert np.isnan(one.points.impedance_ohm[0])


def test_a_recording_without_waveforms_of_some_points(tmp_path):
    """NaN from end to end: landmarks have none."""
    truth = export.make(tmp_path, without=("electric.egmUni", "electric.egmRef", "electric.ecg"))
    egm = truth["egm"].copy()
    egm[2] = np.nan
    electric = truth["electric"] | {"egm": egm}
    export.write(tmp_path / "map.mat", {"electric": electric})
    (one,) = study_of(tmp_path).maps
    assert sorted(int(row) for each in one.signals for row in each.rows) == [0, 1, *range(3, 12)]


def test_gains_and_other_layouts_are_noted_or_refused(tmp_path):
    changed(tmp_path, "5", "electric.egmGain", np.full((12, 1), 2.0))
    assert any("gains" in note for note in study_of(tmp_path).maps[0].notes)
    scipy.io.savemat(tmp_path / "map.mat", {"x": 1.0})
    with pytest.raises(jt.InputError, match=r"without the variable userdata \(it has 'x'\)"):
        study_of(tmp_path)
    scipy.io.savemat(tmp_path / "map.mat", {"userdata": 1.0})
    with pytest.raises(jt.InputError, match="no structure"):
        study_of(tmp_path)
    with h5py.File(tmp_path / "map.mat", "w") as file:
        file["x"] = 1.0
    with pytest.raises(jt.InputError, match="without the variable userdata"):
        study_of(tmp_path)
    export.make(tmp_path)
    (tmp_path / "second.mat").write_bytes((tmp_path / "map.mat").read_bytes())
    with pytest.raises(jt.InputError, match="2 MAT-files"):
        study_of(tmp_path)


def test_other_files_are_not_recognised(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"# Created by Octave\n" * 40)
    with Files(tmp_path) as files:
        assert not openep.recognises(files)


def test_inside_an_archive(tmp_path):
    for version in ("5", "7.3"):
        export.make(tmp_path, version=version)
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.write(tmp_path / "map.mat", "x/map.mat")
        if version == "5":
            assert len(study_of(tmp_path / "a.zip").maps[0].points) == 12
        else:
            with pytest.raises(jt.InputError, match="Unpack"):
                study_of(tmp_path / "a.zip")


def hostile(file, harm):
    electric = file["userdata/electric"]
    name = "egmX" if harm != "waveforms" else "egm"
    del electric[name]
    if harm == "link":
        electric[name] = h5py.ExternalLink("other.h5", "/x")
    elif harm == "outside":
        electric.create_dataset(name, (3, 12), "f8", external=[("/etc/hostname", 0, 288)])
    elif harm == "virtual":
        layout = h5py.VirtualLayout((3, 12), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "x", (3, 12))
        electric.create_virtual_dataset(name, layout)
    elif harm == "huge":
        electric.create_dataset(name, (3, 10**12), "f8", chunks=(3, 1000))
    elif harm == "waveforms":
        electric.create_dataset(name, (10**9, 12), "f8", chunks=(1000, 12))
    elif harm == "loop":
        electric[name] = electric
    elif harm == "cells":
        electric.create_dataset(name, (3, 1000), h5py.ref_dtype)
        electric[name][:] = electric[name].ref


@pytest.mark.parametrize("harm", ["link", "outside", "virtual", "huge", "waveforms", "loop", "cells"])
def test_hostile_files_of_version_73_are_refused(tmp_path, harm):
    export.make(tmp_path, version="7.3")
    with h5py.File(tmp_path / "map.mat", "r+") as file:
        hostile(file, harm)
    with pytest.raises(jt.InputError):
        study_of(tmp_path)


def test_a_variable_that_grows_without_measure_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(matlab5, "LARGE", 2000)
    monkeypatch.setattr(matlab5, "MOST_EXPANSION", 1)
    export.make(tmp_path)
    with pytest.raises(jt.InputError, match="grows to more than"):
        study_of(tmp_path)


def test_arrays_deep_inside_each_other_are_refused(tmp_path):
    deep = np.zeros((1, 1))
    for _ in range(matlab5.DEEPEST + 5):
        cell = np.empty((1, 1), object)
        cell[0, 0] = deep
        deep = cell
    scipy.io.savemat(tmp_path / "map.mat", {"userdata": {"x": deep}})
    with pytest.raises(jt.InputError, match="deep"):
        study_of(tmp_path)


@VERSIONS
def test_a_file_cut_short_is_refused(tmp_path, version):
    export.make(tmp_path, version=version)
    content = (tmp_path / "map.mat").read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        (tmp_path / "map.mat").write_bytes(content[: int(share * len(content))])
        with pytest.raises(jt.InputError):
            study_of(tmp_path)


def test_files_that_matlab_wrote():
    """The parser agrees with scipy on what MATLAB 5.3 to 7.4 saved, in both byte orders."""
    files = sorted(glob.glob(str(Path(scipy.io.__file__).parent / "matlab/tests/data/test*.mat")))
    if not files:
        pytest.skip("scipy was installed without its test files")
    compared = 0
    for file in files:
        content = Path(file).read_bytes()
        if openep._layout(content[:520]) != "5":
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = scipy.io.loadmat(file)
        for name, wanted in found.items():
            if isinstance(wanted, np.ndarray) and wanted.dtype.kind in "biuf":
                renamed = matlab5.Level5(content, file)
                own = renamed.name
                renamed.name = lambda data, at, own=own, name=name: (
                    "userdata" if own(data, at) == name else ""
                )  # type: ignore[method-assign]
                np.testing.assert_array_equal(renamed.userdata(), wanted)
                compared += 1
    assert compared > 20


def small_study(surface=True, signals=True) -> Study:
    random = np.random.default_rng(3)
    nodes = random.normal(size=(6, 3))
    drawn = Surface(
        nodes, [[0, 1, 2], [2, 3, 4], [3, 4, 5]], cut_out=[False, True, False],
        fields={"lat_ms": [1.0, np.nan, 3.0, 4.0, 5.0, 7.0], "impedance_ohm": random.uniform(80, 120, 6)},
    )  # fmt: skip
    points = Points(
        random.normal(size=(5, 3)), surface_positions=random.normal(size=(5, 3)),
        lat_ms=[10.0, np.nan, -12.25, 13.5, 90.0], woi_ms=np.tile([-50.0, 60.0], (5, 1)),
        reference_ms=[5.0, 6.0, 7.0, 8.0, 9.0],
        reason=["", "no LAT", "", "not included", "outside the window of interest"],
        ids=["1", "2", "µ3", "4", "5"], tags=["", "Scar", "", "Scar; His", ""],
        bipolar_mv=[0.1, 0.2, np.nan, 3.0, 4.0], unipolar_mv=random.uniform(0, 9, 5),
        impedance_ohm=[100.0, np.nan, 110.0, 120.0, 130.0],
        force_g=[1.0, 2.0, np.nan, 4.0, 5.0], bipolar_channel=["M1-M2", "M3-M4", "M1-M2", "M1-M2", "M3-M4"],
        unipolar_channel=["M1", "M3", "M1", "M1", "M3"], reference_channel=["CS1"] * 5,
    )  # fmt: skip
    channels = ("M1-M2", "M1", "M2", "CS1", "V1", "V2"), ("M3-M4", "M3", "M4", "CS1", "V1", "V2")
    waves = [
        Signals.of_array(
            rows, names, random.integers(-900, 900, (len(rows), 9, 6)), rate_hz=2000.0, gain_mv=0.003
        )
        for rows, names in zip(([0, 2, 3], [1, 4]), channels, strict=True)
    ]
    return Study(
        "made up", "1",
        (
            Map("sinus µ", drawn if surface else None, points, tuple(waves) if signals else ()),
            Map("paced", drawn),
        ),
    )  # fmt: skip


def alike(one: Map, other: Map) -> None:
    assert one.name == other.name
    assert (one.surface is None) == (other.surface is None)
    if one.surface is not None and other.surface is not None:
        for name in ("points", "triangles", "cut_out"):
            np.testing.assert_array_equal(getattr(one.surface, name), getattr(other.surface, name))
        np.testing.assert_equal(one.surface.fields, other.surface.fields)
    np.testing.assert_equal(one.points.columns(), other.points.columns())
    assert len(one.signals) == len(other.signals)
    for a, b in zip(one.signals, other.signals, strict=True):
        assert (a.channels, a.rate_hz, a.samples, a.rows.tolist()) == (
            b.channels,
            b.rate_hz,
            b.samples,
            b.rows.tolist(),
        )
        for k in range(len(a.rows)):
            np.testing.assert_array_equal(a.mv(k), b.mv(k))


def test_what_we_write_comes_back(tmp_path):
    study = small_study()
    write_openep(tmp_path / "s.mat", study, "sinus µ")
    found = study_of(tmp_path)
    alike(found.maps[0], study.maps[0])
    again = tmp_path / "again"
    again.mkdir()
    write_openep(again / "s.mat", found)
    alike(study_of(again).maps[0], study.maps[0])


def test_maps_of_parts_come_back(tmp_path):
    """Without a surface, without waveforms (and then without a clock), without points."""
    for surface, signals, name in ((False, True, "sinus µ"), (True, False, "sinus µ"), (True, True, "paced")):
        study = small_study(surface, signals)
        write_openep(tmp_path / "s.mat", study, name)
        wanted = study.map(name)
        alike(study_of(tmp_path).maps[0], wanted)


def test_a_read_data_set_can_be_written_and_read_by_scipy(tmp_path):
    truth = export.make(tmp_path / "a")
    write_openep(tmp_path / "b.mat", study_of(tmp_path / "a"))
    with Files(tmp_path / "b.mat") as files:
        alike(openep.read(files, False).maps[0], study_of(tmp_path / "a").maps[0])
    found = scipy.io.loadmat(tmp_path / "b.mat", simplify_cells=True)["userdata"]
    np.testing.assert_array_equal(found["electric"]["egm"], truth["egm"])
    np.testing.assert_array_equal(found["electric"]["egmUni"], truth["egmUni"])
    np.testing.assert_array_equal(found["surface"]["triRep"]["Triangulation"], truth["triangles"] + 1)
    assert (
        found["electric"]["annotations"]["mapAnnot"][1]
        - found["electric"]["annotations"]["referenceAnnot"][1]
        == -10_000
    )


def test_what_cannot_be_written(tmp_path):
    study = small_study()
    with pytest.raises(jt.InputError, match="2 maps"):
        write_openep(tmp_path / "s.mat", study)
    with pytest.raises(jt.InputError, match="no map 'x'"):
        write_openep(tmp_path / "s.mat", study, "x")
    with pytest.raises(jt.InputError, match="folder that exists"):
        write_openep(tmp_path / "no" / "s.mat", study, "paced")
    other = Signals.of_array([1], ("V1",), np.zeros((1, 9, 1)), rate_hz=1000.0)
    one = Map("m", None, study.maps[0].points, (*study.maps[0].signals, other))
    with pytest.raises(jt.InputError, match="one rate"):
        write_openep(tmp_path / "s.mat", Study("x", "1", (one,)))
    long = Signals([0], ("V1",), rate_hz=1000.0, samples=10**8, gain_mv=1.0, read=lambda trace: np.zeros(1))
    with pytest.raises(jt.InputError, match="2 GB"):
        write_openep(tmp_path / "s.mat", Study("x", "1", (Map("m", None, study.maps[0].points, (long,)),)))
    assert not list(tmp_path.iterdir())


def test_rows_without_characters_cost_nothing():
    """A matrix of text may claim any number of rows as long as they are empty."""
    assert matlab5.rows_of_text("", (2**40, 0)).shape == (0, 1)
