"""Studies in a file: what goes in comes out, and what is no study is refused."""

import hashlib

import h5py
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.anatomy.surface import Surface
from jaxtwin.mapping import storage
from jaxtwin.mapping.storage import read_study, write_study
from jaxtwin.mapping.study import Map, Points, Signals, Study


def small_study(values=None) -> Study:
    """Two maps: one whole, one with a surface alone."""
    random = np.random.default_rng(0)
    nodes = random.normal(size=(5, 3))
    surface = Surface(
        nodes,
        [[0, 1, 2], [2, 3, 4]],
        cut_out=[False, True],
        fibres=np.eye(3)[:2],
        regions=[4, 7],
        fields={"lat_ms": [1.0, np.nan, 3.0, 4.0, 5.0]},
    )
    points = Points(
        random.normal(size=(4, 3)), lat_ms=[10.0, np.nan, 12.0, 13.0], reason=["", "no LAT", "", "µ"],
        woi_ms=np.tile([-50.0, 60.0], (4, 1)), ids=["1", "2", "3", "4"], tags=["", "Scar", "", "Scar; His"],
        bipolar_channel=["M1-M2"] * 4, bipolar_mv=[0.1, 0.2, np.nan, 3.0],
        more={"cfe_ms": [1.0, 2.0, 3.0, 4.0]},
    )  # fmt: skip
    if values is None:
        values = random.integers(-3000, 3000, (3, 20, 2))
    signals = Signals.of_array([0, 2, 3], ("M1", "M1-M2"), values, rate_hz=1000.0, gain_mv=0.003)
    return Study(
        "made up", "1", (Map("sinus", surface, points, (signals,), ("a note",)), Map("paced", surface)),
        notes=("another",), sources=((".xml", "ab", 12),),
    )  # fmt: skip


def same(one, other) -> None:
    """All that two studies hold."""
    assert (one.system, one.version, one.name, one.notes, one.sources) == (
        other.system, other.version, other.name, other.notes, other.sources,
    )  # fmt: skip
    assert len(one.maps) == len(other.maps)
    for a, b in zip(one.maps, other.maps, strict=True):
        assert (a.name, a.notes, a.surface is None) == (b.name, b.notes, b.surface is None)
        if a.surface is not None:
            for name in ("points", "triangles", "cut_out", "fibres", "regions"):
                np.testing.assert_array_equal(getattr(a.surface, name), getattr(b.surface, name))
            np.testing.assert_equal(a.surface.fields, b.surface.fields)
        np.testing.assert_equal(a.points.columns(), b.points.columns())
        assert len(a.signals) == len(b.signals)
        for s, t in zip(a.signals, b.signals, strict=True):
            assert (s.channels, s.rate_hz, s.gain_mv, s.samples) == (
                t.channels,
                t.rate_hz,
                t.gain_mv,
                t.samples,
            )
            np.testing.assert_array_equal(s.rows, t.rows)
            for trace in range(len(s.rows)):
                np.testing.assert_array_equal(s.raw(trace), t.raw(trace))


@pytest.mark.parametrize("largest", [3000, 40_000, 3_000_000], ids=["16 bits", "more", "much more"])
def test_a_study_comes_back_as_it_was(tmp_path, largest):
    """Also where digits do not fit 16 bits, which the first trace does not show."""
    values = np.random.default_rng(1).integers(-3000, 3000, (3, 20, 2))
    values[-1] *= largest // 3000
    study = small_study(values)
    write_study(tmp_path / "s.h5", study)
    same(read_study(tmp_path / "s.h5"), study)


def test_floats_of_waveforms_keep_their_digits(tmp_path):
    study = small_study(np.random.default_rng(1).normal(size=(3, 20, 2)).astype(np.float32))
    write_study(tmp_path / "s.h5", study)
    found = read_study(tmp_path / "s.h5")
    assert found.maps[0].signals[0].raw(1).dtype == np.float32
    same(found, study)


def test_waveforms_are_read_when_asked_for(tmp_path, monkeypatch):
    """A study of many needs the memory of one chunk."""
    monkeypatch.setattr(storage, "CHUNK", 200)
    asked = []
    base = np.zeros((20, 2), np.int64)

    def read(trace):
        asked.append(trace)
        return base + trace

    signals = Signals(range(4), ("a", "b"), rate_hz=1000.0, samples=20, gain_mv=1.0, read=read)
    study = Study("made up", "1", (Map("m", None, Points(np.zeros((4, 3))), (signals,)),))
    seen = []
    write_study(tmp_path / "s.h5", study, lambda done, traces: seen.append((done, traces)))
    assert seen == [(2, 4), (4, 4)]
    assert asked[1:] == [0, 1, 2, 3]
    assert read_study(tmp_path / "s.h5").maps[0].signals[0].raw(3).max() == 3


def test_nothing_is_left_of_a_study_that_cannot_be_written(tmp_path):
    def read(trace):
        return np.zeros((20 - trace, 2))

    signals = Signals([0, 1], ("a", "b"), rate_hz=1000.0, samples=20, gain_mv=1.0, read=read)
    study = Study("made up", "1", (Map("m", None, Points(np.zeros((2, 3))), (signals,)),))
    with pytest.raises(jt.InputError, match="19 samples"):
        write_study(tmp_path / "s.h5", study)
    assert not list(tmp_path.iterdir())


def test_plain_h5py_reads_it(tmp_path):
    write_study(tmp_path / "s.h5", small_study())
    with h5py.File(tmp_path / "s.h5") as file:
        assert file.attrs["format"] == storage.FORMAT
        assert file["maps/000/points/positions"].shape == (4, 3)


def absurd(file):
    del file["maps/000/points/lat_ms"]
    file["maps/000/points"].create_dataset("lat_ms", (10**12,), "f8", chunks=(1000,))


def elsewhere(file):
    del file["maps/000/points/lat_ms"]
    file["maps/000/points/lat_ms"] = h5py.ExternalLink("other.h5", "/x")


def claimed(file):
    del file["maps/000/surface/points"]
    file["maps/000/surface"].create_dataset("points", (10_000_000, 3), "f8", chunks=(1000, 3))


def stripped(file):
    del file["maps/000/points/tags"]


def beyond(file):
    file["maps/000/signals/000/rows"][0] = 9


@pytest.mark.parametrize("harm", [absurd, elsewhere, claimed, stripped, beyond])
def test_hostile_files_are_refused(tmp_path, harm):
    """Absurd shapes, links to other files, missing columns, rows of points that are not there."""
    path = tmp_path / "s.h5"
    write_study(path, small_study())
    with h5py.File(path, "r+") as file:
        harm(file)
    with pytest.raises(jt.InputError, match="has changed"):
        read_study(path)
    rest = path.read_bytes()[storage.HEAD :]
    head = f"{storage.FORMAT}\nsha256 {hashlib.sha256(rest).hexdigest()}\n".encode()
    path.write_bytes(head.ljust(storage.HEAD, b"\0") + rest)  # by one who means it
    with pytest.raises(jt.InputError, match=r"damaged|points"):
        read_study(path)


def test_a_file_cut_short_is_refused(tmp_path):
    write_study(tmp_path / "s.h5", small_study())
    content = (tmp_path / "s.h5").read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9):
        (tmp_path / "cut.h5").write_bytes(content[: int(share * len(content))])
        with pytest.raises(jt.InputError):
            read_study(tmp_path / "cut.h5")


def test_a_study_as_a_fit_takes_it():
    """Valid LATs of the maps that have any; what was not used is said."""
    data = small_study().data()
    assert data.names == ("sinus", "paced")
    assert data.valid.sum() == 2 + 4  # the second map has its surface alone: nodes with a LAT
    assert any("no LAT" in note for note in data.notes)
    with pytest.raises(jt.InputError, match="no map 'other'"):
        small_study().data(("other",))
