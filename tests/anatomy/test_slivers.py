"""Removing slivers: each guard against folds, pinches and lost area has a mesh on which it alone decides."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from jaxtwin.anatomy.generate import cable, sheet, slab
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.quality import altitudes
from jaxtwin.anatomy.repair import repair
from jaxtwin.anatomy.slivers import remove_slivers
from jaxtwin.anatomy.topology import boundary_facets, components, euler_characteristic


def signed(mesh):
    corner = mesh.points[mesh.cells]
    return np.linalg.det(corner[:, 1:] - corner[:, :1])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_wild_delaunay_meshes_come_out_valid(seed):
    """Uniformly random nodes: many slivers, of which some at the rim cannot go."""
    rng = np.random.default_rng(seed)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1.0]])
    points = 10 * np.concatenate([rng.random((150, 2)), corners])
    mesh = Mesh(points, Delaunay(points).simplices)
    result = repair(mesh)
    assert (signed(result.mesh) > 0).all()
    assert abs(result.mesh.measures.sum() - 100) < 2
    assert euler_characteristic(result.mesh.cells) == 1
    thinnest = [altitudes(m.points, m.cells).min() for m in (mesh, result.mesh)]
    assert thinnest[1] >= thinnest[0]
    assert repair(result.mesh).report.clean


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_no_cell_turns_over_where_cells_are_too_small_to_show_in_the_area(seed):
    """Clusters a thousandth of the size of the rest: only the direction of normals can tell a fold."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 10, 11)] * 2), axis=-1).reshape(-1, 2)
    clusters = 0.01 * rng.random((3, 12, 2)) + (rng.integers(1, 9, (3, 1, 2)) + 0.4)
    points = np.concatenate([grid, clusters.reshape(-1, 2)])
    result = repair(Mesh(points, Delaunay(points).simplices), stiffness_ratio=1.5)
    assert result.report.collapsed_nodes > 0
    assert (signed(result.mesh) > 0).all()
    assert np.isclose(result.mesh.measures.sum(), 100, rtol=1e-9)


def test_an_edge_is_not_flipped_across_a_reflex_corner():
    """Two flat triangles that make over half a turn at node 0; a large one hides the change of area."""
    quad = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 1e-3], [-1.0, -1e-4]])
    large = np.array([[5.0, 0.0], [9.0, 0.0], [7.0, 4.0], [9.0, 4.0], [7.0, 8.0]])
    cells = np.array([[0, 1, 2], [1, 0, 3], [4, 5, 6], [5, 7, 6], [6, 7, 8]])
    points = np.concatenate([quad, large])
    swept = remove_slivers(points, cells, 0.05, 5.0)
    assert swept.flips == 0
    assert (signed(Mesh(points, swept.cells)) > 0).all()


def test_a_tube_is_not_squeezed_shut_at_a_short_edge():
    """Three nodes round a tube are a ring and no triangle: the link condition keeps their short edge."""
    rings, corners = 8, np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.9]])
    points = np.array([[x, y, 0.5 * z] for z in range(rings) for x, y in corners])
    points[3 * 4 + 1, :2] = [0.001, 0.0]
    i, k = np.indices((rings - 1, 3)).reshape(2, -1)
    a, b = 3 * i + k, 3 * i + (k + 1) % 3
    mesh = Mesh(points, np.concatenate([np.stack([a, b, b + 3], 1), np.stack([a, b + 3, a + 3], 1)]))
    result = repair(mesh)
    assert euler_characteristic(result.mesh.cells) == euler_characteristic(mesh.cells) == 0
    assert result.report.nonmanifold_facets == 0
    assert components(boundary_facets(result.mesh.cells), len(points)).max() == 1


def test_a_narrow_waist_is_not_pinched():
    """Two nodes of the rim that an inner edge joins must stay two, in the plane and in a body."""
    flat = sheet(4.0, 1.0, 1.0)
    points = flat.points.copy()
    waist = points[:, 0] == 2
    points[waist, 1] = 0.5 + 0.001 * (points[waist, 1] - 0.5)
    result = repair(Mesh(points, flat.cells))
    assert np.bincount(boundary_facets(result.mesh.cells).ravel()).max() == 2
    assert result.report.thin_cells_left > 0

    box = slab(4.0, 1.0, 1.0, 1.0)
    points = box.points.copy()
    waist = points[:, 0] == 2
    points[waist, 1] = 0.5 + 0.001 * (points[waist, 1] - 0.5)
    mesh = Mesh(points, box.cells)
    result = repair(mesh)
    assert result.report.collapsed_nodes == 0
    assert np.isclose(result.mesh.measures.sum(), mesh.measures.sum())


def test_a_long_thorn_is_kept_for_the_sake_of_its_area():
    whole = sheet(6.0, 6.0, 0.6)
    a, b = boundary_facets(whole.cells)[0]
    middle = whole.points[[a, b]].mean(axis=0)
    tip = middle + 30 * np.sign(np.round(middle - 3.0, 9)) * (np.abs(middle - 3.0) > 2.99)
    mesh = Mesh(
        np.concatenate([whole.points, [tip]]), np.concatenate([whole.cells, [[a, b, len(whole.points)]]])
    )
    report = repair(mesh).report
    assert np.isclose(repair(mesh).mesh.measures.sum(), 36 + 9)
    assert report.thin_cells_left == 1


def test_tetrahedra_are_turned_and_slivers_collapse_without_loss_of_volume():
    box = slab(3.0, 3.0, 3.0, 0.75, distortion=0.1)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(box.cells), 3, replace=False)
    weight = np.array([0.0005, 0.0005, 0.0005, 0.9985])
    fresh = weight @ box.points[box.cells[chosen]]
    number = (len(box.points) + np.arange(3))[:, None]
    split = [np.concatenate([np.delete(box.cells[chosen], i, axis=1), number], axis=1) for i in range(4)]
    cells = np.concatenate([np.delete(box.cells, chosen, axis=0), *split])
    mesh = Mesh(np.concatenate([box.points, fresh]), cells)
    result = repair(mesh)
    assert result.report.turned_cells > 0
    assert result.report.collapsed_nodes == 3
    assert (signed(result.mesh) > 0).all()
    assert np.isclose(result.mesh.measures.sum(), 27)
    assert result.report.stiffness_after < 0.01 * result.report.stiffness_before
    assert repair(result.mesh).report.clean


def test_a_cable_loses_its_short_segment():
    line = cable(10.0, 0.25)
    points = np.concatenate([line.points, [[5.0001]]])
    cells = line.cells.copy()
    cells[20, 0] = len(points) - 1
    mesh = Mesh(points, np.concatenate([cells, [[20, len(points) - 1]]]))
    result = repair(mesh)
    assert result.report.collapsed_nodes == 1
    assert np.isclose(result.mesh.measures.sum(), 10)
