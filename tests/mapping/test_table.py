"""Maps as tables: what is written is read back, and what cannot be read is named by line and column."""

import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxtwin._results import InputError
from jaxtwin.mapping.data import MappingData
from jaxtwin.mapping.table import COLUMNS, read_csv, write_csv

HEAD = "x_mm,y_mm,z_mm,lat_ms\n"


@pytest.fixture
def read(tmp_path):
    def read(text, encoding="utf-8"):
        path = tmp_path / "map.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_csv(path)

    return read


def test_a_plain_table(read):
    data = read(HEAD + "1,2,3,10\n4,5,6,-10000\n\n# a comment\n7,8,9,\n1,1,1,NaN\n1,1,2,inf\n")
    np.testing.assert_array_equal(data.positions[:3], [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(data.valid, [True, False, False, False, False])
    assert data.names == ("map",)
    assert "4 of 5 points" in data.notes[0]


def test_columns_in_any_order_with_labels_and_unknown_ones(read):
    data = read(
        "map_id;lat_ms;operator;z_mm;Y_mm;x_mm;sigmams\nsinus;1,5;J;3;2;1;2\nµ-paced;2,5;J;6;5;4;2\n",
        "latin-1",
    )
    assert data.names == ("sinus", "µ-paced")
    np.testing.assert_array_equal(data.lat_ms, [1.5, 2.5])
    np.testing.assert_array_equal(data.positions, [[1, 2, 3], [4, 5, 6]])
    assert data.notes == ("column 'operator' not read", "column 'sigmams' not read; was sigma_ms meant?")


def test_byte_order_mark_tabs_and_two_coordinates(read):
    data = read(
        "x_mm\ty_mm\tlat_ms\twoi_from_ms\twoi_to_ms\r\n1\t2\t3\t0\t10\r\n1\t3\t30\t0\t10\r\n", "utf-8-sig"
    )
    assert data.positions.shape == (2, 2)
    np.testing.assert_array_equal(data.valid, [True, False])
    np.testing.assert_array_equal(data.woi_ms, [[0, 10], [0, 10]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "without column x_mm"),
        (HEAD, "no points"),
        ("x_um,y_mm,z_mm,lat_ms\n1,2,3,4\n", "without column x_mm; column 'x_um' looks like it"),
        ("x_mm,y_mm,z,lat_ms\n1,2,3,4\n", "without column z_mm; column 'z'"),
        ("x_mm,y_mm,z_mm,lat_ms,x_mm\n1,2,3,4,5\n", "x_mm more than once"),
        (HEAD + "1,2,3,4\n1,2,3\n", "line 3 with 3 columns"),
        (HEAD + "1,2,3,4,5\n", "line 2 with 5 columns"),
        (HEAD + "1,2,3,4\n1,2,3,early\n", "line 3, column lat_ms: 'early'"),
        (HEAD + "1,,3,4\n", "line 2, column y_mm"),
        (HEAD + "1,inf,3,4\n", "line 2, column y_mm"),
        (HEAD + "1,1_0,3,4\n", "line 2, column y_mm"),
        ("x_mm,y_mm,z_mm,lat_ms,sigma_ms\n1,2,3,4,0\n", "line 2, column sigma_ms"),
        (HEAD + '1,2,3,"4\n', "line 2, which cannot be split"),
        (HEAD + "1,2,3,\n", "no valid LAT"),
        (HEAD + "11000,2000,3000,4\n", "micrometres"),
        (HEAD + "1e308,2000,3000,4\n-1e308,0,0,0\n", "micrometres"),
        (HEAD + "".join(f"{10 * i},0,0,{0.01 * i}\n" for i in range(12)), "seconds"),
        (HEAD.encode("utf-16"), "UTF-16"),
        (",".join(f"c{i}" for i in range(101)) + "\n", "101 columns"),
        ("x" * 70_000, "line 1 with more than 65536 bytes"),
        (HEAD + "1" * 70_000 + "\n", "line 2 with more than 65536 bytes"),
    ],
)
def test_what_cannot_be_read_is_named(read, text, message):
    with pytest.raises(InputError, match=message):
        read(text)


def test_files_that_are_absent_or_too_large(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot be read"):
        read_csv(tmp_path / "absent.csv")
    path = tmp_path / "map.csv"
    path.write_text(HEAD + "1,2,3,4\n" * 3)
    monkeypatch.setattr("jaxtwin.mapping.table.MAX_POINTS", 2)
    with pytest.raises(InputError, match="more than 2 points"):
        read_csv(path)
    monkeypatch.setattr("jaxtwin.mapping.table.MAX_BYTES", 10)
    with pytest.raises(InputError, match="below 1 GB"):
        read_csv(path)


coordinate = st.floats(-250, 250)
measured = st.floats(-800, 800) | st.just(np.nan)
label = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 8), st.sampled_from([2, 3]))
def test_what_is_written_is_read_back(draw, count, dim):
    column = arrays(np.float64, count, elements=measured)
    lat = draw.draw(column)
    lat[0] = 1.0
    names = draw.draw(st.lists(label.map(lambda t: " ".join(t.split())).filter(bool), min_size=1, max_size=1))
    sigma = draw.draw(arrays(np.float64, count, elements=st.floats(0.1, 10) | st.just(np.nan)))
    data = MappingData(
        draw.draw(arrays(np.float64, (count, dim), elements=coordinate)),
        lat,
        valid=np.arange(count) < 3,
        sigma_ms=sigma,
        bipolar_mv=draw.draw(column),
        woi_ms=np.tile([-np.inf, 9000.0], (count, 1)) if draw.draw(st.booleans()) else None,
        names=names,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.csv"
        write_csv(path, data)
        assert [p.name for p in Path(folder).iterdir()] == ["m.csv"]
        again = read_csv(path)
    np.testing.assert_array_equal(again.lat_ms, np.where(data.valid, data.lat_ms, np.nan))
    for name in ("positions", "valid", "map_index", "sigma_ms", "bipolar_mv", "unipolar_mv"):
        np.testing.assert_array_equal(getattr(again, name), getattr(data, name))
    assert again.names == data.names


junk = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")),
    st.lists(
        st.lists(st.sampled_from([*COLUMNS, "1", "-10000", "", "nan", '"', "a;b", "\t", "1e400"]), max_size=6)
    ).map(lambda rows: (HEAD + "\n".join(",".join(row) for row in rows)).encode()),
)


@settings(max_examples=200, deadline=None)
@given(junk)
def test_any_bytes_are_read_or_refused_with_a_message(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.csv"
        path.write_bytes(content)
        with suppress(InputError):
            assert isinstance(read_csv(path), MappingData)


def test_silent_points_are_kept_apart_from_missing_ones(read, tmp_path):
    """Looked at and not activated is knowledge; no LAT is none."""
    data = read("x_mm,y_mm,lat_ms,silent\n1,2,3,0\n1,3,,1\n1,4,,\n1,5,20,1\n")
    np.testing.assert_array_equal(data.valid, [True, False, False, False])
    np.testing.assert_array_equal(data.silent, [False, True, False, True])
    assert np.isnan(data.lat_ms[3])
    assert data.notes[-1].startswith("1 of 4 points not used")
    write_csv(tmp_path / "again.csv", data)
    np.testing.assert_array_equal(read_csv(tmp_path / "again.csv").silent, data.silent)
    with pytest.raises(InputError, match="silent 0 or 1"):
        read("x_mm,y_mm,lat_ms,silent\n1,2,3,2\n")
