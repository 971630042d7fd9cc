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
        ("x_inch,y_mm,z_mm,lat_ms\n1,2,3,4\n", "without column x_mm; column 'x_inch' looks like it"),
        ("x_mm,y_mm,z_inch,lat_ms\n1,2,3,4\n", "without column z_mm; column 'z_inch'"),
        ("x_mm,y_mm,z,lat_ms,Z\n1,2,3,4,5\n", "z_mm more than once"),
        (
            "x_mm;y_mm;z_mm;lat_ms\n1,5;2;3;4\n1;2;3;4.5\n",
            "line 3, column lat_ms: '4.5', with another decimal",
        ),
        ('x_mm;y_mm;z_mm;lat_ms\n1;2;3;"1.234,5"\n', "line 2, column lat_ms"),
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
        (",".join(f"c{i}" for i in range(101)) + "\n", "101 columns"),
        ("x" * 70_000, "line 1 with more than 65536"),
        (HEAD + "1" * 70_000 + "\n", "line 2 with more than 65536"),
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


def test_a_table_of_paraview(read):
    data = read('"LAT","Points:0","Points:1","Points:2"\n10,1,2,3\n20,4,5,6\n')
    np.testing.assert_array_equal(data.positions, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(data.lat_ms, [10, 20])
    assert data.notes == ("no unit in the name of LAT, Points:0, Points:1, Points:2: taken as mm, ms and mV",)


def test_units_come_from_the_names(read):
    """Also the micro sign of Latin-1, and the one of Greek."""
    for micro, encoding in (("µ", "latin-1"), ("μ", "utf-8"), ("u", "utf-16")):
        data = read(f"x (cm);y/m;z_{micro}m;LAT [s];Bipolar ({micro}V)\n1;0,002;3000;0,01;250\n", encoding)
        np.testing.assert_allclose(data.positions, [[10, 2, 3]])
        assert (data.lat_ms[0], data.bipolar_mv[0]) == pytest.approx((10.0, 0.25))
        assert any("'LAT [s]' times 1000 taken as lat_ms" in note for note in data.notes)


def test_missing_is_missing_in_any_unit(read):
    data = read("x_mm,y_mm,LAT (s)\n1,2,-10000\n1,3,0.02\n")
    np.testing.assert_array_equal(data.valid, [False, True])


def test_the_name_that_says_most_is_taken_and_the_other_noted(read):
    data = read("x_mm,y_mm,activation,lat_ms\n1,2,3,4\n")
    assert data.lat_ms.tolist() == [4.0]
    assert "column 'activation' not read: 'lat_ms' says more" in data.notes


def test_lines_above_the_header_and_a_header_in_a_comment(read):
    data = read("Map of today;;;\nLA;;;\nx_mm;y_mm;lat_ms\n1;2;3\n;;\n")
    assert data.positions.tolist() == [[1, 2]]
    assert "2 lines above the header not read" in data.notes
    data = read("# made by numpy\n# x_mm,y_mm,lat_ms\n1,2,3\n")
    assert data.positions.tolist() == [[1, 2]]


def test_a_cell_of_several_lines(read):
    data = read('x_mm,y_mm,lat_ms,remark\n1,2,3,"first\nsecond"\n4,5,6,x\n')
    assert data.lat_ms.tolist() == [3.0, 6.0]
    with pytest.raises(InputError, match="line 4, column lat_ms"):
        read('x_mm,y_mm,lat_ms,remark\n1,2,3,"first\nsecond"\n4,5,x,x\n')


NAMES = [
    ("x_mm", "y_mm", "z_mm", "lat_ms"), ("Points:0", "Points:1", "Points:2", "LAT"),
    ("x", "Y", "z", "activation"), ("X [mm]", "Y [mm]", "Z [mm]", "LAT [ms]"),
    ("pos_x", "pos_y", "pos_z", "Local activation time (ms)"), ("x (cm)", "y (cm)", "z (cm)", "LAT (s)"),
    ("x_um", "y µm", "z (µm)", "lat [µs]"),
]  # fmt: skip
DIALECTS = st.fixed_dictionaries({
    "separator": st.sampled_from(",;\t|"), "decimal": st.sampled_from(".,"),
    "end": st.sampled_from(["\n", "\r\n", "\r"]), "quoted": st.booleans(), "sep": st.booleans(),
    "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"]),
    "space": st.sampled_from(["", " "]), "names": st.sampled_from(NAMES),
    "comment": st.sampled_from(["", "# a comment", "% a comment", "// a comment", "My map"]),
})  # fmt: skip
FACTORS = {"x (cm)": (10.0, 1000.0), "x_um": (1e-3, 1e-3)}


@settings(max_examples=80, deadline=None)
@given(DIALECTS, st.integers(1, 8), st.integers(0, 10_000))
def test_a_table_in_any_dialect_reads_back_equal(how, count, seed):
    rng = np.random.default_rng(seed)
    table = np.concatenate([rng.uniform(-60, 60, (count, 3)), rng.uniform(-90, 90, (count, 1))], axis=1)
    length, time = FACTORS.get(how["names"][0], (1.0, 1.0))
    separator, space = how["separator"], how["space"] if how["separator"] != "\t" else ""

    def line(cells):
        cells = [f'"{c}"' if how["quoted"] or separator in c else c for c in cells]
        return (separator + space).join(cells)

    rows = [
        [repr(float(v)).replace(".", how["decimal"]) for v in row / [*[length] * 3, time]] for row in table
    ]
    lines = [f"sep={separator}"] * how["sep"] + [how["comment"]] * bool(how["comment"]) + [line(how["names"])]
    text = how["end"].join([*lines, *map(line, rows), ""])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.csv"
        path.write_bytes(text.encode(how["encoding"]))
        data = read_csv(path)
    exact = {"rtol": 0 if length == 1.0 else 1e-14}
    np.testing.assert_allclose(data.positions, table[:, :3], **exact)
    np.testing.assert_allclose(data.lat_ms, table[:, 3], **exact)


def test_an_error_of_a_spreadsheet_is_missing_and_no_comment(read):
    assert np.isnan(read("x_mm,y_mm,lat_ms\n1,2,3\n1,3,#N/A\n1,4,#DIV/0!\n").lat_ms).tolist() == [
        False,
        True,
        True,
    ]
    with pytest.raises(InputError, match="line 3, column x_mm: '#N/A'"):
        read("x_mm,y_mm,lat_ms\n1,2,3\n#N/A,3,4\n")


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
