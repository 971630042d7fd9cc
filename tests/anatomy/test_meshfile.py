"""One verb for every format: which reader is chosen, what is told, and foreign formats through meshio."""

import shutil

import meshio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_meshes import assert_same, damage, meshes, random_mesh, read_or_refuse

from jaxtwin._results import InputError
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.meshfile import read_mesh, write_mesh


@given(mesh=meshes, name=st.sampled_from(["heart", "heart.pts", "heart.elem", "heart.vtu"]))
@settings(max_examples=30, deadline=None)
def test_round_trip(tmp_path_factory, mesh, name):
    path = tmp_path_factory.mktemp("mesh") / name
    write_mesh(path, mesh)
    assert_same(read_mesh(path).mesh, mesh)
    assert_same(read_mesh(str(path)).mesh, mesh)


def test_arrays_go_where_they_can(tmp_path):
    mesh = random_mesh(2, 3)
    lat, sheets = np.arange(float(len(mesh.points))), np.roll(mesh.fibres, 1, axis=1)
    write_mesh(tmp_path / "a.vtu", mesh, {"LAT": lat}, {"sheets": sheets, "regions": mesh.regions})
    np.testing.assert_array_equal(read_mesh(tmp_path / "a.vtu").point_data["LAT"], lat)
    write_mesh(tmp_path / "a.pts", mesh, None, {"sheets": sheets, "regions": mesh.regions})
    np.testing.assert_array_equal(read_mesh(tmp_path / "a").cell_data["sheets"], sheets)
    with pytest.raises(InputError, match="arrays LAT for openCARP files"):
        write_mesh(tmp_path / "b.pts", mesh, {"LAT": lat})
    with pytest.raises(InputError, match=r"b\.stl"):
        write_mesh(tmp_path / "b.stl", mesh)
    assert not list(tmp_path.glob("b*"))


def test_content_decides_before_the_ending(tmp_path):
    mesh = random_mesh(2, 3)
    write_mesh(tmp_path / "a.vtu", mesh)
    shutil.copy(tmp_path / "a.vtu", tmp_path / "a.vtk")
    assert_same(read_mesh(tmp_path / "a.vtk").mesh, mesh)


@pytest.mark.parametrize("ending", ["msh", "xdmf", "mesh", "vtk", "inp", "med", "ply", "obj", "stl"])
def test_foreign_formats(tmp_path, ending):
    mesh = random_mesh(4, 3)
    path = tmp_path / f"a.{ending}"
    # meshio writes .msh as ANSYS unless told, and ANSYS files it never ends reading when cut short.
    meshio.write(
        path, meshio.Mesh(mesh.points, [("triangle", mesh.cells)]), "gmsh" if ending == "msh" else None
    )
    found = read_mesh(path)
    corners = found.mesh.points[found.mesh.cells]  # STL has no numbers of nodes
    np.testing.assert_allclose(corners, mesh.points[mesh.cells], rtol=1e-5)
    assert found.sources == (path,)
    assert any("no vectors named like fibres" in note for note in found.notes)
    assert any("placeholder" in note for note in found.notes)


def test_gmsh_regions_and_lower_cells(tmp_path):
    points = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]])
    cells = [("line", [[0, 1]]), ("triangle", [[0, 1, 2], [0, 1, 3]])]
    tags = {
        "gmsh:physical": [np.array([1]), np.array([5, 6])],
        "gmsh:geometrical": [np.array([1]), np.array([2, 2])],
    }
    meshio.gmsh.write(tmp_path / "a.msh", meshio.Mesh(points, cells, cell_data=tags), fmt_version="2.2")
    found = read_mesh(tmp_path / "a.msh")
    np.testing.assert_array_equal(found.mesh.cells, [[0, 1, 2], [0, 1, 3]])
    np.testing.assert_array_equal(found.mesh.regions, [5, 6])
    assert "1 cells of lower dimension dropped" in found.notes


def test_plane_points_get_a_third_coordinate(tmp_path):
    points = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    meshio.write(tmp_path / "a.xdmf", meshio.Mesh(points, [("triangle", [[0, 1, 2]])]))
    assert read_mesh(tmp_path / "a.xdmf").mesh.dim == 3
    write_mesh(tmp_path / "a.vtu", Mesh(points, [[0, 1, 2]]))
    np.testing.assert_array_equal(read_mesh(tmp_path / "a.vtu").mesh.points[:, :2], points)


def test_other_cells_are_refused(tmp_path):
    points = np.random.default_rng(0).uniform(0, 9, (20, 3))
    meshio.write(tmp_path / "a.xdmf", meshio.Mesh(points, [("hexahedron20", np.arange(20)[None])]))
    with pytest.raises(InputError, match=r"1 cells of a kind that cannot be split.*Split the cells"):
        read_mesh(tmp_path / "a.xdmf")


def test_units_hold_for_every_format(tmp_path):
    mesh = random_mesh(4, 4)
    write_mesh(tmp_path / "a.vtu", Mesh(mesh.points * 1000.0, mesh.cells, mesh.fibres))
    np.testing.assert_allclose(read_mesh(tmp_path / "a.vtu").mesh.points, mesh.points)
    write_mesh(tmp_path / "b.vtu", Mesh(mesh.points / 1000.0, mesh.cells, mesh.fibres))
    with pytest.raises(InputError, match="Give the unit"):
        read_mesh(tmp_path / "b.vtu")
    np.testing.assert_allclose(read_mesh(tmp_path / "b.vtu", unit="m").mesh.points, mesh.points)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.vtu", b"nonsense"),
        ("a.stl", b"nonsense"),
        ("a.msh", b"$MeshFormat\n"),
        ("a.ply", b"ply\nformat ascii 1.0\n"),
        ("a.xyz", b"1 2 3"),
        ("a", b""),
    ],
)
def test_nonsense_is_refused_without_noise(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_mesh(tmp_path / name)
    assert capsys.readouterr() == ("", "")


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "nothing.vtu", tmp_path / "nothing", tmp_path):
        with pytest.raises(InputError, match="which cannot be read"):
            read_mesh(path)


@given(change=damage(), ending=st.sampled_from(["msh", "ply", "stl", "mesh"]))
@settings(max_examples=60, deadline=None)
def test_damaged_foreign_files_never_crash(tmp_path_factory, change, ending):
    path = tmp_path_factory.mktemp("mesh") / f"a.{ending}"
    mesh = random_mesh(7, 3)
    binary = {} if ending == "mesh" else {"binary": False}
    form = "gmsh" if ending == "msh" else None
    meshio.write(path, meshio.Mesh(mesh.points, [("triangle", mesh.cells)]), form, **binary)
    path.write_bytes(change(path.read_bytes()))
    read_or_refuse(read_mesh, path)


@pytest.mark.parametrize(
    ("name", "nodes", "cells"),
    [
        ("atrium_dtmri/Labelled", 60100, 119477),
        ("atrium_ct/LA_1", 12639, 24854),
        ("atrium_scar/LA_model.vtk", 8843, 17444),
        ("eam_map/openep_mesh_2_dense.vtk", 8848, 16942),
    ],
)
def test_real_files_survive_a_round_trip(data, tmp_path, name, nodes, cells):
    found = read_mesh(data / name)
    assert (len(found.mesh.points), len(found.mesh.cells)) == (nodes, cells)
    write_mesh(tmp_path / "copy.vtu", found.mesh, found.point_data, found.cell_data)
    again = read_mesh(tmp_path / "copy.vtu")
    assert_same(again.mesh, found.mesh)
    assert set(found.cell_data) <= set(again.cell_data)
    assert set(found.point_data) == set(again.point_data)
