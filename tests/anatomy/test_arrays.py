"""Fibres and regions are found under the names of neighbouring tools, on cells or on points."""

import numpy as np
import pytest

from jaxtwin.anatomy import Mesh, atrial_shell, read_mesh, write_mesh
from jaxtwin.anatomy.arrays import find_fibres, find_regions
from jaxtwin.anatomy.grid import Grid

CELLS = np.array([[0, 1, 2], [0, 2, 3]])
Z, X = np.tile([0.0, 0.0, 1.0], (2, 1)), np.tile([1.0, 0.0, 0.0], (2, 1))


@pytest.mark.parametrize(
    "name",
    ["fibers", "fibres", "fiber", "Fiber", "fibre", "f0", "l_cell", "longitudinal_fibres", "Fibre Direction"],
)
def test_fibres_of_neighbouring_tools(name):
    axes, note = find_fibres({}, {name: Z}, CELLS)
    np.testing.assert_array_equal(axes, Z)
    assert note == f"fibres taken from cell array {name!r}"


@pytest.mark.parametrize(
    "name", ["regions", "region", "cell_region", "elemTag", "tag", "anatomical_tags", "gmsh:physical"]
)
def test_regions_of_neighbouring_tools(name):
    tags, note = find_regions({name: np.array([3.0, 4.0])}, 2)
    assert tags.tolist() == [3, 4]
    assert note == f"regions taken from cell array {name!r}"


def test_of_several_the_most_specific_wins_and_the_others_are_named():
    nodes = np.tile([0.0, 1.0, 0.0], (4, 1))
    axes, note = find_fibres({"fibres": nodes}, {"f0": -Z, "longitudinal_fibres": Z}, CELLS)
    np.testing.assert_array_equal(axes, Z)
    assert "'longitudinal_fibres' (not from: cell array 'f0', point array 'fibres')" in note
    # a placeholder comes last
    axes, note = find_fibres({"fibres": nodes}, {"fibers": X}, CELLS)
    np.testing.assert_allclose(np.abs(axes), nodes[:2])
    assert note.endswith("point array 'fibres', averaged to cells as axes (not from: cell array 'fibers')")
    tags, note = find_regions({"material": np.zeros(2, int), "elemTag": np.array([1, 2])}, 2)
    assert tags.tolist() == [1, 2]
    assert note.endswith("'elemTag' (not from: 'material')")


def test_what_is_not_taken_is_named():
    _, note = find_fibres({"endo": np.ones((4, 3))}, {"Normals": Z}, CELLS)
    assert note == "no vectors named like fibres (vectors of other names: Normals, endo)"
    _, note = find_regions({"scar": np.array([0, 1]), "share": np.array([0.5, 1])}, 2)
    assert note.endswith("all cells in region 0 (whole numbers of other names: scar)")


def test_fibres_on_points_are_averaged_without_regard_to_sign(tmp_path):
    shell = atrial_shell(4.0)
    axes = np.cross(shell.points, [0.0, 0.0, 1.0])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(axes), 1))
    grid = Grid(
        shell.points, np.full(len(shell.cells), 5), 3 * np.arange(len(shell.cells) + 1), shell.cells.ravel(),
        {"fibers": signs * axes}, {},
    )  # fmt: skip
    found = grid.mesh_file()
    exact = np.cross(shell.centroids, [0.0, 0.0, 1.0])
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    # two triangles of the shell lie on its axis, where the field is singular
    away = np.linalg.norm(shell.centroids[:, :2], axis=1) > 4.0
    assert np.abs((found.mesh.fibres * exact).sum(axis=1))[away].min() > 0.97
    assert any("point array 'fibers', averaged to cells as axes" in note for note in found.notes)
    assert not any("placeholder" in note for note in found.notes)


def test_a_corner_without_a_fibre_does_not_count():
    axes, _ = find_fibres({"f0": np.array([[0.0, 0, 2], [0, 0, 0], [np.nan, 0, 0], [0, 0, 0]])}, {}, CELLS)
    np.testing.assert_allclose(np.abs(axes), Z)
    axes, _ = find_fibres({"f0": np.zeros((4, 3))}, {}, CELLS)
    assert not axes.any()


def test_names_of_our_own_files_come_back(tmp_path):
    mesh = Mesh([[0.0, 0, 0], [9, 0, 0], [0, 9, 0]], [[0, 1, 2]], [[0.0, 1, 0]], [5])
    write_mesh(tmp_path / "a.vtu", mesh, cell_data={"fiber": np.array([[1.0, 0, 0]])})
    found = read_mesh(tmp_path / "a.vtu")
    np.testing.assert_array_equal(found.mesh.fibres, mesh.fibres)
    assert found.mesh.regions.tolist() == [5]
