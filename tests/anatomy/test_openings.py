"""Rings round openings are closed and ordered, and cuts take what they should."""

import numpy as np
import pytest

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import atrial_shell, sheet, slab
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.meshfile import read_mesh
from jaxtwin.anatomy.openings import cut, cut_at, openings
from jaxtwin.anatomy.refine import refine
from jaxtwin.anatomy.repair import repair
from jaxtwin.anatomy.topology import boundary_facets, euler_characteristic


def ball(radius=10.0, times=3):
    """A closed sphere with normals outwards."""
    corner = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    mesh = Mesh(corner, faces)
    for _ in range(times):
        mesh = refine(mesh)
        mesh = Mesh(mesh.points / np.linalg.norm(mesh.points, axis=1)[:, None], mesh.cells)
    return Mesh(radius * mesh.points, mesh.cells)


def check(mesh):
    """Consecutive nodes are open edges, and all of these are in one ring."""
    rings = openings(mesh)
    edges = {tuple(edge) for edge in boundary_facets(mesh.cells).tolist()}
    seen = [
        tuple(sorted(pair))
        for ring in rings
        for pair in zip(ring.nodes.tolist(), np.roll(ring.nodes, -1).tolist(), strict=True)
    ]
    assert len(seen) == len(set(seen))
    assert all(len(set(ring.nodes.tolist())) == len(ring.nodes) for ring in rings)
    assert set(seen) == edges
    assert (np.diff([ring.perimeter_mm for ring in rings]) < 1e-5).all()
    return rings


def test_an_atrium():
    mesh = atrial_shell(2.0)
    rings = check(mesh)
    assert len(rings) == 5
    assert rings[0].normal @ [0, 0, -1] > 0.99
    for ring in rings:
        assert np.isclose(np.linalg.norm(ring.normal), 1.0)
        assert ring.normal @ (ring.centre - mesh.points.mean(axis=0)) > 0
        place = mesh.points[ring.nodes] - ring.centre
        turn = np.cross(place, np.roll(place, -1, axis=0)).sum(axis=0)
        assert turn @ ring.normal > 0


def test_orientation_does_not_matter():
    mesh = atrial_shell(2.0)
    rng = np.random.default_rng(0)
    turned = mesh.cells.copy()
    some = rng.random(len(turned)) < 0.7
    turned[some] = turned[some][:, ::-1]
    for one, two in zip(openings(mesh), check(Mesh(mesh.points, turned)), strict=True):
        np.testing.assert_allclose(one.normal, two.normal)
        assert set(one.nodes) == set(two.nodes)


def test_a_sheet_and_a_ball():
    ring = check(sheet(3.0, 2.0, 0.5))[0]
    assert np.isclose(ring.perimeter_mm, 10.0)
    np.testing.assert_allclose(ring.centre, [1.5, 1.0])
    np.testing.assert_array_equal(ring.normal, [0.0, 0.0])
    assert openings(ball()) == ()


def test_rings_that_touch_in_a_node():
    """Two square holes in a sheet share a corner."""
    flat = sheet(8.0, 8.0, 1.0)
    centre = flat.centroids
    out = ((centre > 2) & (centre < 4)).all(axis=1) | ((centre > 4) & (centre < 6)).all(axis=1)
    left = cut(flat, out).mesh
    rings = check(left)
    assert [round(ring.perimeter_mm, 9) for ring in rings] == [32.0, 8.0, 8.0]


def test_parts_that_touch_in_a_node():
    """Triangles joined by their corners have a ring each."""
    corner = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 1.0], [0.0, 2.0], [1.0, 2.0]])
    rings = check(Mesh(corner, [[0, 1, 2], [1, 3, 4], [2, 6, 5]]))
    assert [len(ring.nodes) for ring in rings] == [3, 3, 3]


def test_a_cut_keeps_the_largest_part():
    mesh = sheet(10.0, 1.0, 0.5)
    across = mesh.centroids[:, 0]
    band = (across > 3.0) & (across < 4.0)
    left = cut(mesh, band)
    assert left.mesh.points[:, 0].min() >= 4.0
    assert np.array_equal(mesh.points[left.origin], left.mesh.points)
    assert np.array_equal(left.origin[left.mesh.cells], mesh.cells[left.cells])
    np.testing.assert_array_equal(left.carry(mesh.points), left.mesh.points)
    both = cut(mesh, band, largest=False)
    assert both.mesh.points[:, 0].min() == 0.0


def test_a_round_hole_in_a_ball():
    mesh = ball(10.0, 4)
    left = cut_at(mesh, np.array([0.0, 0.0, 10.0]), 4.0)
    (ring,) = check(left.mesh)
    assert ring.normal[2] > 0.99
    assert 0.9 * 2 * np.pi * 4 < ring.perimeter_mm < 1.5 * 2 * np.pi * 4
    assert euler_characteristic(left.mesh.cells) == 1


def test_the_wall_behind_stays():
    """A radius that reaches through a flat bag takes the near wall alone."""
    bag = ball(10.0, 4)
    bag = Mesh(bag.points * [1.0, 1.0, 0.1], bag.cells)
    left = cut_at(bag, np.array([0.0, 0.0, 1.0]), 4.0)
    assert len(check(left.mesh)) == 1
    assert (left.mesh.points[:, 2] < -0.9).any()


def test_real_surfaces(data):
    for name, count in (("eam_map/openep_mesh_2_dense.vtk", 7), ("atrium_scar/LA_model.vtk", 5)):
        mesh = repair(read_mesh(data / name).mesh).mesh
        assert len(check(mesh)) == count


def test_bad_input():
    mesh = ball()
    with pytest.raises(InputError, match="takes all"):
        cut(mesh, np.ones(len(mesh.cells), bool))
    with pytest.raises(InputError, match="takes all"):
        cut_at(mesh, np.zeros(3), 100.0)
    with pytest.raises(InputError, match="marks for 3"):
        cut(mesh, np.ones(3, bool))
    with pytest.raises(InputError, match="from the nearest cell"):
        cut_at(mesh, np.array([100.0, 0.0, 0.0]), 5.0)
    with pytest.raises(InputError, match="a radius of"):
        cut_at(mesh, mesh.points[0], -1.0)
    for centre in (np.zeros(2), np.array([0.0, np.nan, 0.0])):
        with pytest.raises(InputError, match="a centre"):
            cut_at(mesh, centre, 1.0)
    with pytest.raises(InputError, match="4 corners"):
        openings(slab(1.0, 1.0, 1.0, 0.5))


def test_torn_surfaces_are_refused():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0.5, 0, 1]], float)
    strip = [[0, 1, 2], [1, 0, 3], [0, 1, 4]]  # three triangles at one edge
    with pytest.raises(InputError, match="Clean it with repair"):
        openings(Mesh(points, strip))
    turn = 2 * np.pi * np.arange(8) / 8
    out = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    wide = (np.cos(turn / 2)[:, None] * out + np.sin(turn / 2)[:, None] * [0, 0, 1]) * 0.3
    points = np.concatenate([out - wide, out + wide])
    one, two = [*range(8), 8], [*range(8, 16), 0]
    moebius = [[one[k], one[k + 1], two[k]] for k in range(8)]
    moebius += [[one[k + 1], two[k + 1], two[k]] for k in range(8)]
    with pytest.raises(InputError, match="one side only"):
        openings(Mesh(points, moebius))
