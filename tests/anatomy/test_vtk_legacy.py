"""Legacy VTK: every form of the format, written here by a few lines and read back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_meshes import assert_same, damage, meshes, random_mesh, read_or_refuse

from jaxtwin._results import InputError
from jaxtwin.anatomy.simplices import SIMPLEX
from jaxtwin.anatomy.vtk_legacy import read_vtk_legacy

BIG_ENDIAN = {"float": ">f4", "double": ">f8", "int": ">i4", "vtktypeint64": ">i8", "unsigned_char": ">u1"}


def body(array, kind, binary):
    if binary:
        return np.asarray(array).astype(BIG_ENDIAN[kind]).tobytes() + b"\n"
    values = [repr(value) for value in np.asarray(array).ravel().tolist()]
    lines = [" ".join(values[i : i + 9]) for i in range(0, len(values), 9)]  # nine a line, as VTK does
    return "\n".join(lines).encode() + b"\n"


def cells_section(name, cells, binary, modern):
    sizes, nodes = [len(cell) for cell in cells], np.concatenate(cells)
    if modern:
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        return (
            f"{name} {len(offsets)} {len(nodes)}\nOFFSETS vtktypeint64\n".encode()
            + body(offsets, "vtktypeint64", binary)
            + b"CONNECTIVITY vtktypeint64\n"
            + body(nodes, "vtktypeint64", binary)
        )
    flat = np.concatenate([[len(cell), *cell] for cell in cells])
    return f"{name} {len(cells)} {len(flat)}\n".encode() + body(flat, "int", binary)


def head(points, dataset, binary, modern=False):
    version, form = ("5.1" if modern else "3.0"), ("BINARY" if binary else "ASCII")
    lines = (
        f"# vtk DataFile Version {version}\na title\n{form}\nDATASET {dataset}\nPOINTS {len(points)} double\n"
    )
    return lines.encode() + body(points, "double", binary)


def unstructured(mesh, binary, modern):
    """A mesh with its fibres as VECTORS and its regions as SCALARS on cells."""
    count = len(mesh.cells)
    return (
        head(mesh.points, "UNSTRUCTURED_GRID", binary, modern)
        + cells_section("CELLS", mesh.cells, binary, modern)
        + f"\nCELL_TYPES {count}\n".encode()
        + body(np.full(count, SIMPLEX[mesh.corners]), "int", binary)
        + f"CELL_DATA {count}\nSCALARS elemTag int 1\nLOOKUP_TABLE default\n".encode()
        + body(mesh.regions, "int", binary)
        + b"VECTORS fiber double\n"
        + body(mesh.fibres, "double", binary)
    )


def read(folder, content, **options):
    path = folder / "mesh.vtk"
    path.write_bytes(content)
    return read_vtk_legacy(path, **options)


@given(mesh=meshes, binary=st.booleans(), modern=st.booleans())
@settings(max_examples=60, deadline=None)
def test_round_trip(tmp_path_factory, mesh, binary, modern):
    found = read(tmp_path_factory.mktemp("vtk"), unstructured(mesh, binary, modern))
    assert_same(found.mesh, mesh)
    assert list(found.cell_data) == ["elemTag", "fiber"]


SQUARE = np.array([[0.0, 0, 0], [9, 0, 0], [9, 9, 0], [0, 9, 0], [0, 0, 9]])


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("modern", [False, True])
def test_polygons_are_split_with_their_data(tmp_path, binary, modern):
    content = head(SQUARE, "POLYDATA", binary, modern)
    content += cells_section("LINES", [[0, 1], [1, 2, 3]], binary, modern)
    content += cells_section("POLYGONS", [[0, 1, 2, 3], [0, 1, 4]], binary, modern)
    content += b"CELL_DATA 4\nSCALARS region int\nLOOKUP_TABLE default\n" + body([1, 2, 3, 4], "int", binary)
    found = read(tmp_path, content)
    np.testing.assert_array_equal(found.mesh.cells, [[0, 1, 2], [0, 2, 3], [0, 1, 4]])
    np.testing.assert_array_equal(found.mesh.regions, [3, 3, 4])
    assert "2 cells of lower dimension dropped" in found.notes


def test_strips_and_polylines_are_split(tmp_path):
    strip = head(SQUARE, "POLYDATA", False) + cells_section(
        "TRIANGLE_STRIPS", [[0, 1, 3, 2, 4]], False, False
    )
    np.testing.assert_array_equal(read(tmp_path, strip).mesh.cells, [[0, 1, 3], [1, 2, 3], [3, 2, 4]])
    line = head(SQUARE, "POLYDATA", False) + cells_section("LINES", [[0, 1, 2]], False, False)
    np.testing.assert_array_equal(read(tmp_path, line).mesh.cells, [[0, 1], [1, 2]])


@pytest.mark.parametrize("binary", [False, True])
def test_every_kind_of_array(tmp_path, binary):
    nodes, count = len(SQUARE), 2
    vectors, tensors = np.arange(3.0 * nodes).reshape(-1, 3), np.arange(18.0).reshape(2, 3, 3)
    content = head(SQUARE, "POLYDATA", binary)
    content += b"METADATA\nINFORMATION 1\nNAME L2_NORM_RANGE LOCATION vtkDataArray\nDATA 2 0 1\n\n"
    content += cells_section("POLYGONS", [[0, 1, 2], [0, 1, 4]], binary, False)
    content += b"FIELD FieldData 1\nTimeValue 1 1 double\n" + body([2.5], "double", binary)
    content += f"POINT_DATA {nodes}\nSCALARS LAT%20(ms) float 1\nLOOKUP_TABLE colours\n".encode()
    content += body([1.5, 2, 3, 4, np.nan], "float", binary)
    content += b"LOOKUP_TABLE colours 2\n"
    content += body([0] * 8, "unsigned_char", True) if binary else b"0 0 0 0 1 1 1 1\n"
    content += b"NORMALS n double\n" + body(vectors, "double", binary)
    content += b"TEXTURE_COORDINATES uv 2 float\n" + body(vectors[:, :2], "float", binary)
    content += b"COLOR_SCALARS shade 3\n" + body(vectors, "unsigned_char" if binary else "double", binary)
    content += f"CELL_DATA {count}\nTENSORS d float\n".encode() + body(tensors, "float", binary)
    content += b"FIELD FieldData 2\nsheets 3 2 double\n" + body(vectors[:2], "double", binary)
    content += b"METADATA\nCOMPONENT_NAMES\na\n\nscar 1 2 vtktypeint64\n" + body(
        [0, 1], "vtktypeint64", binary
    )
    found = read(tmp_path, content)
    np.testing.assert_array_equal(found.point_data["LAT (ms)"], [1.5, 2, 3, 4, np.nan])
    np.testing.assert_array_equal(found.point_data["n"], vectors)
    np.testing.assert_array_equal(found.point_data["uv"], vectors[:, :2])
    np.testing.assert_array_equal(found.point_data["shade"], vectors)
    np.testing.assert_array_equal(found.cell_data["d"], tensors)
    np.testing.assert_array_equal(found.cell_data["sheets"], vectors[:2])
    np.testing.assert_array_equal(found.cell_data["scar"], [0, 1])
    assert "TimeValue" not in {**found.point_data, **found.cell_data}


def test_bits_are_unpacked(tmp_path):
    content = head(SQUARE, "POLYDATA", True) + cells_section("POLYGONS", [[0, 1, 2]], True, False)
    content += b"POINT_DATA 5\nSCALARS inside bit\nLOOKUP_TABLE default\n\xa8\n"
    np.testing.assert_array_equal(read(tmp_path, content).point_data["inside"], [1, 0, 1, 0, 1])


def grid_of(kind, cells):
    content = head(SQUARE, "UNSTRUCTURED_GRID", False) + cells_section("CELLS", cells, False, False)
    return content + f"CELL_TYPES {len(cells)}\n".encode() + body([kind] * len(cells), "int", False)


GOOD = unstructured(random_mesh(1, 3), False, False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (grid_of(42, [[0, 1, 2, 3]]), "1 cells of a kind that cannot be split .VTK type 42.*Tetrahedralize"),
        (grid_of(24, [[0, 1, 2, 3]]), "wrong number of nodes, .* quadratic tetrahedra with 4"),
        (grid_of(5, [[0, 1, 2, 3]]), "wrong number of nodes.*3 nodes for each of the triangles"),
        (grid_of(1, [[0], [1]]), "without lines, triangles or tetrahedra"),
        (grid_of(5, [[0, 1, 5]]), "nodes 0 to 5 of 5 points"),
        (head(SQUARE, "UNSTRUCTURED_GRID", False), "no cells"),
        (GOOD.split(b"CELL_TYPES")[0], "CELLS without CELL_TYPES"),
        (GOOD.replace(b"UNSTRUCTURED_GRID", b"STRUCTURED_POINTS"), "STRUCTURED_POINTS"),
        (GOOD.replace(b"ASCII", b"OTHER"), "third line 'OTHER'"),
        (GOOD.replace(b"# vtk", b"# VTX"), "does not begin with"),
        (GOOD.replace(b"POINTS ", b"POINTS 999999999999"), "numbers where 29999999999"),
        (GOOD.replace(b"CELL_DATA", b"CELL_DATUM"), "'CELL_DATUM .*' where a section should begin"),
        (GOOD.replace(b"VECTORS fiber double", b"VECTORS fiber string"), "an array of type 'string'"),
        (GOOD[: len(GOOD) // 2], "mesh.vtk with .*, near byte"),
        (unstructured(random_mesh(1, 3), True, True)[:-40], "bytes where .* were announced"),
        (b"", "does not begin with"),
    ],
)
def test_damage_is_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, content)


@given(seed=st.integers(0, 2**32), binary=st.booleans(), modern=st.booleans(), change=damage())
@settings(max_examples=250, deadline=None)
def test_damaged_bytes_never_crash(tmp_path_factory, seed, binary, modern, change):
    content = change(unstructured(random_mesh(seed, 2 + seed % 3), binary, modern))
    read_or_refuse(read, tmp_path_factory.mktemp("vtk"), content)


@given(flat=st.lists(st.integers(-2, 6), max_size=12), count=st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_any_counts_of_cells(tmp_path_factory, flat, count):
    content = (
        head(SQUARE, "POLYDATA", True) + f"POLYGONS {count} {len(flat)}\n".encode() + body(flat, "int", True)
    )
    read_or_refuse(read, tmp_path_factory.mktemp("vtk"), content)


def test_rule_based_atrium_with_scar(data):
    found = read_vtk_legacy(data / "atrium_scar" / "LA_model.vtk")
    assert found.mesh.points.shape == (8843, 3)
    assert found.mesh.cells.shape == (17444, 3)
    assert found.cell_data["scar"].sum() == 558
    scarred = found.mesh.measures[found.cell_data["scar"] == 1].sum() / found.mesh.measures.sum()
    assert scarred == pytest.approx(0.03, abs=0.005)
    assert "fibres taken from cell array 'fibers' (not from: cell array 'l_cell')" in found.notes
    assert not any("placeholder" in note for note in found.notes)
    # The tensors are inverse squared velocities: 1/0.6^2 in the smallest direction of healthy tissue.
    assert found.cell_data["diff_tensors"].shape == (17444, 3, 3)
    assert np.median(found.cell_data["eval_1"]) == pytest.approx(1 / 0.6**2, rel=1e-3)
    assert found.point_data["activation_times"].max() == pytest.approx(178.8, abs=0.1)


def test_electroanatomical_map(data):
    found = read_vtk_legacy(data / "eam_map" / "openep_mesh_2_dense.vtk")
    lat = found.point_data["LAT"]
    assert found.mesh.points.shape == (8848, 3)
    assert found.mesh.cells.shape == (16942, 3)
    assert np.isnan(lat).sum() == 62
    assert (np.nanmin(lat), np.nanmax(lat)) == (20.0, 175.0)
    assert any("placeholder" in note for note in found.notes)
