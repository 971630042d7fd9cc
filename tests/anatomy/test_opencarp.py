"""openCARP files: round trips, the habits of real files, and refusals that name file and line."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_meshes import assert_same, damage, meshes, random_mesh, read_or_refuse

from jaxtwin._results import InputError
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.opencarp import read_dat, read_opencarp, read_vtx, write_dat, write_opencarp, write_vtx

POINTS = "4\n0 0 0\n50000 0 0\n0 50000 0\n0 0 50000\n"
CELLS = "2\nTr 0 1 2 7\nTr 0 1 3 8\n"
FIBRES = "1\n1 0 0\n0 0 1\n"


@pytest.fixture
def heart(tmp_path):
    """A function that writes the three files and returns their stem."""

    def write(pts=POINTS, elem=CELLS, lon=FIBRES):
        for suffix, text in ((".pts", pts), (".elem", elem), (".lon", lon)):
            if text is not None:
                (tmp_path / f"heart{suffix}").write_text(text)
        return tmp_path / "heart"

    return write


@given(mesh=meshes)
@settings(max_examples=40, deadline=None)
def test_round_trip(tmp_path_factory, mesh):
    stem = tmp_path_factory.mktemp("carp") / "heart"
    write_opencarp(stem, mesh)
    assert_same(read_opencarp(stem).mesh, mesh)
    assert sorted(path.name for path in stem.parent.iterdir()) == ["heart.elem", "heart.lon", "heart.pts"]


def test_sheets_and_plane_meshes_survive(tmp_path):
    mesh = Mesh([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], [[0, 1, 2]])
    write_opencarp(tmp_path / "sheet.pts", mesh, sheets=np.array([[0.0, 1.0, 0.0]]))
    found = read_opencarp(tmp_path / "sheet.elem")
    np.testing.assert_allclose(found.mesh.points, [[0, 0, 0], [9, 0, 0], [0, 9, 0]])
    np.testing.assert_array_equal(found.cell_data["sheets"], [[0, 1, 0]])


def test_plain_file(heart):
    found = read_opencarp(heart())
    np.testing.assert_allclose(found.mesh.points[1], [50, 0, 0])
    np.testing.assert_array_equal(found.mesh.regions, [7, 8])
    np.testing.assert_array_equal(found.mesh.fibres, [[1, 0, 0], [0, 0, 1]])
    assert [path.name for path in found.sources] == ["heart.pts", "heart.elem", "heart.lon"]
    assert any("taken as um" in note and "converted to mm" in note for note in found.notes)


def test_windows_line_ends_and_blank_lines(heart):
    found = read_opencarp(heart(*(text.replace("\n", "\r\n\r\n") for text in (POINTS, CELLS, FIBRES))))
    np.testing.assert_array_equal(found.mesh.cells, [[0, 1, 2], [0, 1, 3]])


def test_millimetres_are_told_by_the_bounding_box(heart):
    found = read_opencarp(heart(pts=POINTS.replace("50000", "50")))
    assert found.mesh.points.max() == 50.0
    assert any("taken as mm" in note for note in found.notes)


@pytest.mark.parametrize(
    ("size", "largest"), [("1", 1.0), ("500", 500.0), ("1001", 1.001), ("1000000", 1000.0)]
)
def test_where_micrometres_begin(heart, size, largest):
    assert read_opencarp(heart(pts=POINTS.replace("50000", size))).mesh.points.max() == pytest.approx(largest)


@pytest.mark.parametrize("size", ["0.05", "501", "1000", "5000000"])
def test_absurd_sizes_are_refused(heart, size):
    with pytest.raises(InputError, match="Give the unit"):
        read_opencarp(heart(pts=POINTS.replace("50000", size)))


def test_a_given_unit_is_believed(heart):
    stem = heart(pts=POINTS.replace("50000", "600"))
    assert read_opencarp(stem, unit="um").mesh.points.max() == 0.6
    assert read_opencarp(stem, unit="mm").mesh.points.max() == 600.0
    with pytest.raises(InputError, match="unit 'inch'"):
        read_opencarp(stem, unit="inch")


def test_fibres_without_header(heart):
    found = read_opencarp(heart(lon="1 0 0\n0 0 1\n"))
    np.testing.assert_array_equal(found.mesh.fibres, [[1, 0, 0], [0, 0, 1]])
    assert "no header line in heart.lon" in found.notes


def test_two_axes(heart):
    for header in ("2\n", ""):
        found = read_opencarp(heart(lon=header + "1 0 0 0 1 0\n0 0 1 1 0 0\n"))
        np.testing.assert_array_equal(found.cell_data["sheets"], [[0, 1, 0], [1, 0, 0]])


def test_missing_fibres_are_a_placeholder(heart):
    found = read_opencarp(heart(lon=None))
    np.testing.assert_array_equal(found.mesh.fibres, [[1, 0, 0], [1, 0, 0]])
    assert any("placeholder" in note for note in found.notes)
    assert "no fibre file heart.lon" in found.notes
    assert len(found.sources) == 2


def test_fibres_are_normalised_and_laid_into_the_surface(heart):
    found = read_opencarp(heart(lon="1\n3 0 3\n0 0 1\n"))
    np.testing.assert_allclose(found.mesh.fibres, [[1, 0, 0], [0, 0, 1]], atol=1e-15)
    assert any("1 fibres were not of length 1" in note for note in found.notes)
    assert any("1 fibres more than 20 degrees" in note for note in found.notes)


def strip(cells):
    """A flat strip of triangles 50 mm long, with fibres along (1, 1, 0) / sqrt(2) of either sign."""
    x = np.linspace(0.0, 50.0, cells // 2 + 1)
    points = np.concatenate([np.stack([x, 0 * x, 0 * x], 1), np.stack([x, 0 * x + 1, 0 * x], 1)])
    i = np.arange(cells // 2)
    below = np.stack([i, i + 1, i + len(x)], 1)
    above = np.stack([i + 1, i + len(x) + 1, i + len(x)], 1)
    fibres = np.tile([[1.0, 1.0, 0.0]], (cells, 1)) / np.sqrt(2)
    fibres[::2] *= -1
    return Mesh(points, np.concatenate([below, above]), fibres)


def test_fibres_normal_to_their_cells_follow_their_neighbours(tmp_path):
    mesh = strip(400)
    write_opencarp(tmp_path / "strip", mesh)
    lines = (tmp_path / "strip.lon").read_text().splitlines()
    lines[101] = lines[301] = "0 0 1"
    (tmp_path / "strip.lon").write_text("\n".join(lines))
    found = read_opencarp(tmp_path / "strip")
    np.testing.assert_allclose(np.abs(np.sum(found.mesh.fibres * mesh.fibres, axis=1)), 1.0, atol=1e-12)
    assert any("2 fibres normal to their cell replaced" in note for note in found.notes)


def test_cells_without_fibres_are_isotropic(heart):
    found = read_opencarp(heart(lon="1\n1 0 0\n0 0 0\n"))
    np.testing.assert_array_equal(found.mesh.fibres, [[1, 0, 0], [0, 0, 0]])
    assert any("1 of 2 cells without a fibre" in note and "isotropic" in note for note in found.notes)


def test_volume_wins_over_surface(heart):
    found = read_opencarp(
        heart(elem="3\nTr 0 1 2 7\nTt 0 1 2 3 8\nLn 0 1 9\n", lon="1\n1 0 0\n0 1 0\n0 0 1\n")
    )
    np.testing.assert_array_equal(found.mesh.cells, [[0, 1, 2, 3]])
    np.testing.assert_array_equal(found.mesh.fibres, [[0, 1, 0]])
    np.testing.assert_array_equal(found.mesh.regions, [8])
    assert "2 cells of lower dimension dropped" in found.notes


def test_tags_may_be_absent(heart):
    found = read_opencarp(heart(elem="2\nTr 0 1 2\nTr 0 1 3\n"))
    np.testing.assert_array_equal(found.mesh.cells, [[0, 1, 2], [0, 1, 3]])
    np.testing.assert_array_equal(found.mesh.regions, [0, 0])


@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        ("pts", POINTS[:-11], "heart.pts with 3 points where its first line announces 4, at line 4"),
        (
            "pts",
            POINTS.replace("0 50000 0\n", "0 50000\n"),
            "heart.pts with 2 values instead of 3, at line 4",
        ),
        ("pts", POINTS.replace("0 50000 0\n", "0 5o000 0\n"), "heart.pts with .* not a number, at line 4"),
        ("pts", POINTS.replace("0 50000 0\n", "0 nan 0\n"), "NaN or infinite"),
        ("pts", POINTS[2:], "heart.pts with no count, at line 1"),
        ("pts", "", "heart.pts with no count"),
        ("elem", CELLS[:-11], "heart.elem with 1 elements where its first line announces 2, at line 2"),
        ("elem", CELLS[:-3], "heart.elem with 3 numbers for an element of 3 nodes and a tag, at line 3"),
        ("elem", CELLS.replace("Tr 0 1 3 8", "Py 0 1 2 3 3 8"), "type 'Py', which is none of .* at line 3"),
        ("elem", CELLS.replace("1 3 8", "1 b 8"), "letters among its numbers, at line 3"),
        ("elem", CELLS.replace("1 3 8", "1 4 8"), "nodes 0 to 4 of 4 points"),
        ("elem", CELLS.replace("1 3 8", "1 -3 8"), "nodes -3 to 2 of 4 points"),
        ("elem", "0\n", "2 fibres for 0 elements"),
        ("lon", FIBRES[:-6], "heart.lon with 1 fibres for 2 elements, at line 2"),
        ("lon", "2\n1 0 0\n0 0 1\n", "heart.lon with 3 values instead of 6, at line 2"),
        ("lon", "3\n1 0 0\n0 0 1\n", "neither 1 nor 2"),
    ],
)
def test_damage_is_named(heart, part, text, message):
    with pytest.raises(InputError, match=message):
        read_opencarp(heart(**{part: text}))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.pts, which cannot be read"):
        read_opencarp(tmp_path / "nothing")


@given(
    seed=st.integers(0, 2**32),
    suffix=st.sampled_from([".pts", ".elem", ".lon"]),
    change=damage(st.text("0123456789.-e TrLn\n", min_size=1, max_size=6).map(str.encode)),
)
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_never_crash(tmp_path_factory, seed, suffix, change):
    stem = tmp_path_factory.mktemp("carp") / "heart"
    write_opencarp(stem, random_mesh(seed, 2 + seed % 3))
    path = stem.with_suffix(suffix)
    path.write_bytes(change(path.read_bytes()))
    read_or_refuse(read_opencarp, stem)


@given(ids=st.lists(st.integers(0, 10**9), max_size=20), domain=st.sampled_from(["intra", "extra"]))
@settings(max_examples=20, deadline=None)
def test_vertices_round_trip(tmp_path_factory, ids, domain):
    path = tmp_path_factory.mktemp("carp") / "stimulus.vtx"
    write_vtx(path, np.array(ids, np.int64), domain)
    assert path.read_text().splitlines()[:2] == [str(len(ids)), domain]
    np.testing.assert_array_equal(read_vtx(path), ids)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2\nextra\n5\n", "1 vertices where its first line announces 2"),
        ("1\n5\n6\n", "2 vertices where its first line announces 1"),
        ("1\nextra\n-5\n", "the index -5, at line 3 .1 such.. Wanted indices from 0"),
        ("1\nbath\n5\n", "'bath' where 'intra', 'extra' or an index should be, at line 2"),
        ("3\n2\n5.5\n7\n", "not a number, at line 3"),
        ("", "no count"),
    ],
)
def test_damaged_vertices(tmp_path, text, message):
    (tmp_path / "a.vtx").write_text(text)
    with pytest.raises(InputError, match=message):
        read_vtx(tmp_path / "a.vtx")


@pytest.mark.parametrize("domain", ["", "intra\n", "extra\n", "Intra\n"])
def test_vertices_with_and_without_a_domain(tmp_path, domain):
    (tmp_path / "a.vtx").write_text(f"3\n{domain}7\n0\n4\n")
    assert read_vtx(tmp_path / "a.vtx").tolist() == [7, 0, 4]
    assert read_vtx(tmp_path / "a.vtx", 8).tolist() == [7, 0, 4]
    line = 3 if domain else 2
    message = (
        f"a.vtx with the index 7, at line {line}, on a mesh of 7 nodes .1 such.. Wanted indices from 0 to 6"
    )
    with pytest.raises(InputError, match=message):
        read_vtx(tmp_path / "a.vtx", 7)


def test_values_round_trip(tmp_path):
    values = np.array([-1.0, 0.1, 1e-300, np.nan, 123456.789])
    write_dat(tmp_path / "act.dat", values)
    np.testing.assert_array_equal(read_dat(tmp_path / "act.dat"), values)


def test_atrium_of_the_fibre_atlas(data):
    begin = time.perf_counter()
    found = read_opencarp(data / "atrium_dtmri" / "Labelled")
    assert time.perf_counter() - begin < 5.0  # 0.4 s alone on one core
    assert found.mesh.points.shape == (60100, 3)
    assert found.mesh.cells.shape == (119477, 3)
    assert set(found.mesh.regions) == {11, 13, 21, 23, 25, 27}
    assert 40 < np.ptp(found.mesh.points, axis=0).max() < 60
    assert np.median(found.mesh.edge_lengths) == pytest.approx(0.322, abs=1e-3)
    assert "no header line in Labelled.lon" in found.notes
    assert any("taken as um" in note for note in found.notes)
    assert not any("placeholder" in note for note in found.notes)


def test_atrium_from_ct(data):
    found = read_opencarp(data / "atrium_ct" / "LA_1.pts")
    assert found.mesh.points.shape == (12639, 3)
    assert found.mesh.cells.shape == (24854, 3)
    assert any("taken as mm" in note for note in found.notes)
    assert any("placeholder" in note for note in found.notes)
    assert not any("header" in note for note in found.notes)
