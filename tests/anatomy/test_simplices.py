"""Cells of any kind become simplices that fill the same space, fit to each other and lose no node."""

import itertools

import meshio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxtwin._results import InputError
from jaxtwin.anatomy import Mesh, read_mesh, repair
from jaxtwin.anatomy.grid import Grid
from jaxtwin.anatomy.simplices import (
    HEXAHEDRON,
    LINE,
    PYRAMID,
    QUADRILATERAL,
    TETRAHEDRON10,
    TRIANGLE,
    TRIANGLE6,
    VOXEL,
    WEDGE,
    simplices,
)
from jaxtwin.anatomy.topology import boundary_facets, edges_of_cells, facets

BOX = np.array([2, 3, 2])


def split(points, cells):
    """Cells as (type, nodes) pairs to a mesh of simplices and the notes."""
    offsets = np.concatenate([[0], np.cumsum([len(nodes) for _, nodes in cells])])
    types = np.array([kind for kind, _ in cells])
    found, parent, notes = simplices(points, types, offsets, np.concatenate([nodes for _, nodes in cells]))
    return Mesh(points, found), parent, notes


def bricks(rng, cells_of):
    """A box of 2 x 3 x 2 bricks, its inner nodes moved and all nodes numbered at random. `cells_of`: the
    cells made of the corners of a brick in the order of VTK and the number of the node in its centre."""
    side = BOX + 1
    points = np.stack(np.meshgrid(*map(np.arange, side), indexing="ij"), axis=-1).reshape(-1, 3).astype(float)
    inside = ((points > 0) & (points < BOX)).all(axis=1)
    points[inside] += rng.uniform(-0.15, 0.15, (inside.sum(), 3))
    centres, cells = [], []
    for corner in itertools.product(*map(range, BOX)):
        steps = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
        steps = np.concatenate([steps, steps + np.array([0, 0, 1])])
        nodes = np.ravel_multi_index((corner + steps).T, side)
        cells += cells_of(nodes, len(points) + len(centres))
        centres.append(points[nodes].mean(axis=0))
    points = np.concatenate([points, centres])
    number = rng.permutation(len(points))
    moved = np.empty_like(points)
    moved[number] = points
    return moved, [(kind, number[np.asarray(nodes)]) for kind, nodes in cells]


def hexahedra(n, _):
    return [(HEXAHEDRON, n)]


def voxels(n, _):
    return [(VOXEL, n[[0, 1, 3, 2, 4, 5, 7, 6]])]


def wedges(n, _):
    return [(WEDGE, n[[0, 1, 2, 4, 5, 6]]), (WEDGE, n[[0, 2, 3, 4, 6, 7]])]


def pyramids(n, centre):
    faces = ([0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7])
    return [(PYRAMID, [*n[face], centre]) for face in faces]


def mixed(n, centre):
    return (hexahedra if centre % 3 else pyramids)(n, centre)


@pytest.mark.parametrize("kind", [hexahedra, voxels, wedges, pyramids, mixed])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_bricks_fill_the_box_and_neighbours_agree(kind, seed):
    points, cells = bricks(np.random.default_rng(seed), kind)
    mesh, parent, notes = split(points, cells)
    assert mesh.measures.sum() == pytest.approx(BOX.prod())
    rim = boundary_facets(mesh.cells)
    area = Mesh(points, rim).measures.sum()
    assert area == pytest.approx(2 * (BOX[0] * BOX[1] + BOX[1] * BOX[2] + BOX[0] * BOX[2]))
    assert np.bincount(facets(mesh.cells)[1].ravel()).max() == 2
    assert set(mesh.cells.ravel()) == set(np.concatenate([nodes for _, nodes in cells]))
    assert (np.diff(parent) >= 0).all()
    assert any("split into" in note and "tetrahedra" in note for note in notes)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_quadrilaterals_keep_their_area_even_where_they_are_not_convex(seed):
    """Two quadrilaterals of a square, which meet in a broken line with its corner anywhere inside."""
    x, y = np.random.default_rng(seed).uniform(0.05, 0.95, 2)
    points = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [x, y, 0]])
    mesh, parent, notes = split(points, [(QUADRILATERAL, [0, 1, 2, 4]), (QUADRILATERAL, [2, 3, 0, 4])])
    assert mesh.measures.sum() == pytest.approx(1.0)
    assert parent.tolist() == [0, 0, 1, 1]
    assert notes == ("2 quadrilaterals split into 4 triangles",)


def quadratic(mesh):
    """The same mesh with mid-edge nodes on straight edges, in the order of VTK."""
    edges, of_cell = edges_of_cells(mesh.cells)
    points = np.concatenate([mesh.points, mesh.points[edges].mean(axis=1)])
    order = [0, 2, 1] if mesh.corners == 3 else [0, 3, 1, 2, 4, 5]
    return points, np.concatenate([mesh.cells, len(mesh.points) + of_cell[:, order]], axis=1)


def test_quadratic_tetrahedra_become_eight_each():
    coarse = split(*bricks(np.random.default_rng(1), hexahedra))[0]
    points, nodes = quadratic(coarse)
    mesh, parent, notes = split(points, [(TETRAHEDRON10, each) for each in nodes])
    assert mesh.measures.sum() == pytest.approx(BOX.prod())
    assert np.bincount(facets(mesh.cells)[1].ravel()).max() == 2
    assert len(boundary_facets(mesh.cells)) == 4 * len(boundary_facets(coarse.cells))
    assert len(np.unique(mesh.cells)) == len(np.unique(nodes))
    np.testing.assert_array_equal(np.bincount(parent), 8)
    assert notes == (f"{len(nodes)} quadratic tetrahedra split into {8 * len(nodes)} tetrahedra",)


def test_quadratic_triangles_follow_their_mid_edge_nodes():
    points = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [0.8, 0.8, 0], [0, 0.5, 0], [0.5, 0, 0]])
    mesh, _, notes = split(points, [(TRIANGLE6, np.arange(6))])
    assert len(mesh.cells) == 4
    assert mesh.measures.sum() == pytest.approx(0.5 + 0.5 * np.sqrt(2) * 0.6 / np.sqrt(2))
    assert notes == ("1 quadratic triangles split into 4 triangles",)


@pytest.mark.parametrize(
    "kind", ["quad", "quad8", "quad9", "triangle6", "tetra10", "hexahedron", "wedge", "pyramid"]
)
def test_files_with_other_cells_are_read(tmp_path, kind):
    """The reference cells of meshio, 40 mm wide, fill what they should."""
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    middle = (square + np.roll(square, -1, axis=0)) / 2
    tetra = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    ends = [[0, 1], [1, 2], [2, 0], [0, 3], [1, 3], [2, 3]]
    up = np.array([0, 0, 1])
    points, size = {
        "quad": (square, 1.0),
        "quad8": (np.concatenate([square, middle]), 1.0),
        "quad9": (np.concatenate([square, middle, [[0.5, 0.5, 0]]]), 1.0),
        "triangle6": (np.concatenate([tetra[:3], tetra[ends[:3]].mean(axis=1)]), 0.5),
        "tetra10": (np.concatenate([tetra, tetra[ends].mean(axis=1)]), 1 / 6),
        "hexahedron": (np.concatenate([square, square + up]), 1.0),
        "wedge": (np.concatenate([tetra[:3], tetra[:3] + up]), 0.5),
        "pyramid": (np.concatenate([square, [[0.5, 0.5, 1.0]]]), 1 / 3),
    }[kind]
    meshio.write(tmp_path / "a.vtu", meshio.Mesh(points * 40.0, [(kind, np.arange(len(points))[None])]))
    found = read_mesh(tmp_path / "a.vtu")
    dimension = found.mesh.corners - 1
    assert found.mesh.measures.sum() == pytest.approx(size * 40.0**dimension)
    assert len(np.unique(found.mesh.cells)) == len(points)
    assert repair(found.mesh).mesh.measures.sum() == pytest.approx(size * 40.0**dimension)
    assert any("split into" in note for note in found.notes)


def layers(lines):
    """Two parallel squares of two triangles and lines between or on them."""
    square = np.array([[0.0, 0, 0], [40, 0, 0], [40, 40, 0], [0, 40, 0]])
    points = np.concatenate([square, square + np.array([0, 0, 2]), [[9.0, 9, 9], [9, 9, 12]]])
    triangles = [(TRIANGLE, np.add(three, low)) for low in (0, 4) for three in ([0, 1, 2], [0, 2, 3])]
    cells = [*triangles, *((LINE, np.array(line, int)) for line in lines)]
    offsets = np.concatenate([[0], np.cumsum([len(nodes) for _, nodes in cells])])
    nodes = np.concatenate([nodes for _, nodes in cells])
    return Grid(points, np.array([kind for kind, _ in cells]), offsets, nodes, {}, {})


def test_lines_that_couple_the_layers_of_a_bilayer_are_refused():
    with pytest.raises(
        InputError, match=r"2 line elements that couple 2 parts of the tissue.*Take one layer"
    ):
        layers([(0, 4), (1, 5), (2, 3)]).mesh_file()
    with pytest.raises(InputError, match="couple 2 parts"):  # over nodes of their own
        layers([(0, 8), (8, 9), (9, 4)]).mesh_file()
    with pytest.raises(InputError, match="couple nodes of the tissue that no edge joins"):
        layers([(1, 3)]).mesh_file()


def test_damaged_lines_beside_triangles_do_not_matter():
    assert len(layers([(0, 1), (2,), ()]).mesh_file().mesh.cells) == 4


def test_lines_along_edges_and_trees_are_left_out_with_a_note():
    notes = layers([(0, 1), (1, 2)]).mesh_file().notes
    assert "2 cells of lower dimension dropped" in notes
    assert not any("with nodes of their own" in note for note in notes)
    notes = layers([(0, 8), (8, 9)]).mesh_file().notes
    assert any(
        "2 of them line elements, such as a Purkinje network, with nodes of their own" in n for n in notes
    )
