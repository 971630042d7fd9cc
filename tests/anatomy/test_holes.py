"""Small holes are closed, openings are not, and a surface is cut apart where it branches."""

import numpy as np
import pytest

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import atrial_shell, sheet
from jaxtwin.anatomy.holes import _least_area, close_holes
from jaxtwin.anatomy.intersections import intersecting
from jaxtwin.anatomy.manifold import manifold
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.openings import openings
from jaxtwin.anatomy.remesh import remesh
from jaxtwin.anatomy.topology import boundary_facets, components, euler_characteristic, facets, reversed_cells


@pytest.fixture(scope="module")
def shell():
    return atrial_shell(2.0)


def pierced(mesh, places, radius):
    """The mesh without the cells within a radius of some cells."""
    gap = np.linalg.norm(mesh.centroids[:, None] - mesh.centroids[places], axis=2).min(axis=1)
    left = gap > radius
    return Mesh(mesh.points, mesh.cells[left], mesh.fibres[left], mesh.regions[left])


def inner_places(mesh, count):
    rim = mesh.points[np.unique(boundary_facets(mesh.cells))]
    gap = np.linalg.norm(mesh.centroids[:, None] - rim[None], axis=2).min(axis=1)
    free = np.flatnonzero((gap > 6.0) & (mesh.centroids[:, 2] < 5.0))
    chosen = [free[0]]
    for _ in range(count - 1):
        away = np.linalg.norm(mesh.centroids[free, None] - mesh.centroids[chosen], axis=2).min(axis=1)
        chosen.append(free[away.argmax()])
    return np.array(chosen)


def test_holes_are_closed_and_openings_kept(shell):
    torn = pierced(shell, inner_places(shell, 20), 2.5)
    before = openings(torn)
    assert len(before) == 25
    found = close_holes(torn)
    whole = found.mesh
    assert len(openings(whole)) == 5
    assert len(found.perimeters_mm) == 20
    np.testing.assert_allclose(found.perimeters_mm, [o.perimeter_mm for o in before[5:]])
    assert euler_characteristic(whole.cells) == euler_characteristic(shell.cells)
    assert whole.measures.sum() == pytest.approx(shell.measures.sum(), rel=0.02)
    assert np.array_equal(found.cells[: len(torn.cells)], np.arange(len(torn.cells)))
    assert np.array_equal(whole.regions, torn.regions[found.cells])
    lid = whole.points[whole.cells[len(torn.cells) :]].mean(axis=1)
    assert np.linalg.norm(lid - torn.centroids[found.cells[len(torn.cells) :]], axis=1).max() < 7.0
    assert np.bincount(facets(whole.cells)[1].ravel()).max() == 2
    assert not reversed_cells(whole.cells)[0].any()
    values = np.arange(len(torn.points), dtype=float)
    assert np.array_equal(found.carry(values), values)


def test_what_stays_open(shell):
    torn = pierced(shell, inner_places(shell, 3), 2.5)
    largest = openings(torn)[5].perimeter_mm
    assert len(close_holes(torn, 0.0).perimeters_mm) == 0
    assert len(close_holes(torn, largest).perimeters_mm) == 2
    marked = np.zeros(len(torn.points), bool)
    marked[openings(torn)[6].nodes[0]] = True
    assert len(close_holes(torn, keep=marked).perimeters_mm) == 2
    # a patch has an outline, not a hole
    patch = sheet(16.0, 16.0, 1.0)
    assert len(close_holes(patch).perimeters_mm) == 0
    middle = np.linalg.norm(patch.centroids - 8.0, axis=1).argmin()
    assert len(close_holes(pierced(patch, np.array([middle]), 0.7)).perimeters_mm) == 1
    # without orientation or in the plane as well
    turned = Mesh(torn.points, torn.cells[:, ::-1], torn.fibres, torn.regions)
    assert len(close_holes(turned).perimeters_mm) == 3


def tube(radius, plate):
    """A plate with a round hole, from whose rim a tube goes up or does not."""
    flat = sheet(60.0, 60.0, 1.0)
    middle = flat.points - [30.0, 30.0]
    left = np.linalg.norm(middle[flat.cells].mean(axis=1), axis=1) > radius
    points = np.pad(middle, ((0, 0), (0, 1)))
    if not plate:
        gap = np.linalg.norm(middle, axis=1)
        up = np.clip(2.0 * radius - gap, 0.0, None)
        points[:, 2] = 4.0 * up
    return Mesh(points, flat.cells[left])


def test_the_end_of_a_vein_is_no_hole():
    for plate, closed in ((True, 1), (False, 0)):
        mesh = tube(3.0, plate)
        assert 12.0 < openings(mesh)[-1].perimeter_mm < 30.0
        assert len(close_holes(mesh).perimeters_mm) == closed


def test_a_lid_has_no_edge_that_the_surface_has_already():
    """A square with one diagonal taken is split along the other; with both taken it has no lid."""
    ring = np.array([[0, 0, 0], [1.0, 0, 0], [1, 1, 0], [0, 1.1, 0]])
    joined = np.zeros((4, 4), bool)
    for one, two in ((0, 2), (1, 3)):
        free = joined.copy()
        free[one, two] = free[two, one] = True
        lid = _least_area(ring, free)
        assert lid is not None
        assert not any({one, two} <= set(cell) for cell in lid.tolist())
        assert len(lid) == 2
    joined[[0, 2, 1, 3], [2, 0, 3, 1]] = True
    assert _least_area(ring, joined) is None


def test_bad_input(shell):
    for perimeter in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="holes with a perimeter below"):
            close_holes(shell, perimeter)


def test_remeshed_holes_are_as_good_as_the_rest(shell):
    whole = close_holes(pierced(shell, inner_places(shell, 20), 2.5)).mesh
    assert remesh(whole, 2.0).mesh.measures.sum() == pytest.approx(shell.measures.sum(), rel=0.02)


def test_branches_are_cut_apart():
    """Three half planes at one edge: the two that are straight stay joined."""
    points = np.array(
        [[0, 0, 0], [2, 0, 0], [1, 2, 0.1], [1, -2, 0.1], [1, 0, 2.0], [-1, 0, 0], [-1, 1, 0]], float
    )
    mesh = Mesh(points, [[0, 1, 2], [0, 1, 4], [0, 1, 3], [0, 5, 6]], regions=[1, 2, 3, 4])
    found = manifold(mesh)
    assert np.array_equal(found.mesh.regions, [1, 2, 3, 4])
    assert np.array_equal(found.mesh.points, points[found.origin])
    assert np.bincount(facets(found.mesh.cells)[1].ravel()).max() == 2
    label = components(found.mesh.cells, len(found.mesh.points))
    assert label[0] == label[2]
    assert len({label[0], label[1], label[3]}) == 3
    values = np.arange(7.0)
    assert np.array_equal(found.carry(values), values[found.origin])


def test_a_manifold_stays_as_it_is(shell):
    found = manifold(shell)
    assert np.array_equal(found.mesh.points, shell.points)
    assert np.array_equal(found.mesh.cells, shell.cells)


def test_cells_that_lie_twice_in_a_place(shell):
    double = Mesh(shell.points, np.concatenate([shell.cells, shell.cells[:5, ::-1]]))
    found = manifold(double)
    assert np.bincount(facets(found.mesh.cells)[1].ravel()).max() == 2
    label = components(found.mesh.cells, len(found.mesh.points))
    assert np.bincount(label).max() >= len(shell.cells)  # the others are parts of their own
    twice = Mesh(shell.points, np.concatenate([shell.cells, shell.cells]))
    assert len(manifold(twice).cells) in (len(shell.cells), len(twice.cells))


def test_a_surface_through_itself():
    flat = sheet(6.0, 6.0, 1.0, 0.0, 0.1, 1)
    floor = np.pad(flat.points, ((0, 0), (0, 1)))
    wall = floor @ np.array([[1.0, 0, 0], [0, 0, 1], [0, 0, 0]]) + [0.03, 3.05, -3.02]
    both = Mesh(np.concatenate([floor, wall]), np.concatenate([flat.cells, flat.cells + len(floor)]))
    cross = intersecting(both)
    height = np.abs(both.centroids[:, 2])
    assert cross[len(flat.cells) :].any()
    assert height[cross].max() < 1.0
    assert np.abs(both.centroids[cross, 1] - 3.05).max() < 1.0
    along = both.centroids[cross[: len(flat.cells)].nonzero()[0], 0]
    assert np.ptp(along) > 4.5
    assert not intersecting(Mesh(floor, flat.cells)).any()
