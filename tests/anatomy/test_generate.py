"""Generated meshes: conforming, oriented, of the size asked for, with the fibres their rules say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import (
    ATRIAL_REGIONS,
    VENTRICULAR_REGIONS,
    atrial_shell,
    cable,
    sheet,
    slab,
    ventricular_ellipsoid,
)
from jaxtwin.anatomy.quality import quality
from jaxtwin.anatomy.topology import (
    boundary_facets,
    components,
    euler_characteristic,
    facets,
    neighbours,
    reversed_cells,
)


def signed(mesh):
    corner = mesh.points[mesh.cells]
    return np.linalg.det(corner[:, 1:] - corner[:, :1])


def conforms(mesh):
    shared = np.bincount(facets(mesh.cells)[1].ravel())
    used = len(np.unique(mesh.cells)) == len(mesh.points)
    return shared.max() <= 2 and used and components(mesh.cells, len(mesh.points)).max() == 0


def test_cable_spans_its_length_in_one_coordinate():
    mesh = cable(10.0, 0.3)
    assert (mesh.dim, mesh.corners) == (1, 2)
    assert np.isclose(mesh.measures.sum(), 10.0)
    assert len(boundary_facets(mesh.cells)) == 2
    assert (signed(mesh) > 0).all()


@settings(max_examples=20, deadline=None)
@given(st.floats(1, 6), st.floats(1, 6), st.floats(0.2, 1), st.floats(0, 0.2), st.integers(0, 99))
def test_sheet_fills_its_rectangle_whatever_the_distortion(width, height, edge, distortion, seed):
    mesh = sheet(width, height, edge, 0.4, distortion, seed)
    assert conforms(mesh)
    assert euler_characteristic(mesh.cells) == 1
    assert (signed(mesh) > 0).all()
    assert np.isclose(mesh.measures.sum(), width * height)
    assert np.allclose(mesh.fibres, [np.cos(0.4), np.sin(0.4)])


@settings(max_examples=10, deadline=None)
@given(st.floats(1, 3), st.floats(1, 3), st.floats(0.3, 1), st.floats(0, 0.2), st.integers(0, 99))
def test_slab_fills_its_box_whatever_the_distortion(lx, ly, edge, distortion, seed):
    mesh = slab(lx, ly, 1.0, edge, (0, 3, 4), distortion, seed)
    assert conforms(mesh)
    assert euler_characteristic(mesh.cells) == 1
    assert (signed(mesh) > 0).all()
    assert np.isclose(mesh.measures.sum(), lx * ly)
    assert np.allclose(mesh.fibres, [0, 0.6, 0.8])


def test_union_jack_has_nodes_of_four_and_of_eight_triangles():
    mesh = sheet(4.0, 4.0, 1.0)
    inner = mesh.cells[((mesh.points > 0.5) & (mesh.points < 3.5)).all(axis=1)[mesh.cells].any(axis=1)]
    met = np.bincount(inner.ravel())
    assert set(met[np.flatnonzero(((mesh.points > 0.5) & (mesh.points < 3.5)).all(axis=1))]) == {4, 8}


def test_distortion_is_repeatable_and_leaves_the_rim():
    options = [(0.0, 0), (0.2, 1), (0.2, 1), (0.2, 2)]
    straight, one, again, other = (sheet(3.0, 2.0, 0.25, 0.0, *option) for option in options)
    assert np.array_equal(one.points, again.points)
    assert not np.array_equal(one.points, other.points)
    rim = np.unique(boundary_facets(one.cells))
    assert np.array_equal(one.points[rim], straight.points[rim])


@pytest.fixture(scope="module")
def atrium():
    return atrial_shell()


@settings(max_examples=12, deadline=None)
@given(st.floats(0.9, 4.0))
def test_atrium_has_the_edge_asked_for_and_five_openings(edge):
    mesh = atrial_shell(edge)
    assert conforms(mesh)
    assert euler_characteristic(mesh.cells) == 2 - 5
    assert abs(mesh.edge_lengths.mean() / edge - 1) < 0.1
    assert quality(mesh).min() > 0.4
    assert np.median(quality(mesh)) > 0.9
    assert not reversed_cells(mesh.cells)[0].any()
    rim = boundary_facets(mesh.cells)
    assert set(np.bincount(rim.ravel())) == {0, 2}
    assert components(rim, len(mesh.points)).max() == 4


def test_atrium_normals_point_outwards_and_fibres_lie_in_the_surface(atrium):
    corner = atrium.points[atrium.cells]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    assert ((normal * atrium.centroids).sum(axis=1) > 0).all()
    assert np.abs((normal * atrium.fibres).sum(axis=1)).max() < 1e-9
    assert np.allclose(np.linalg.norm(atrium.fibres, axis=1), 1)


def test_atrium_fibres_turn_smoothly(atrium):
    a, b = neighbours(atrium.cells).T
    assert np.abs((atrium.fibres[a] * atrium.fibres[b]).sum(axis=1)).min() > 0.8


def test_atrium_fibres_circle_the_valve_and_cross_the_roof(atrium):
    x, y, z = atrium.centroids.T
    low, top = z < -5, (z > 17) & (np.hypot(x, y) < 6)
    around = np.stack([-y / 20**2, x / 24**2], axis=1)
    around /= np.linalg.norm(around, axis=1)[:, None]
    assert np.abs((atrium.fibres[low, :2] * around[low]).sum(axis=1)).min() > 0.99
    assert np.abs(atrium.fibres[top, 0]).min() > 0.9


def test_atrium_regions_lie_where_they_are_called(atrium):
    centre = {
        name: atrium.centroids[atrium.regions == tag].mean(axis=0) for name, tag in ATRIAL_REGIONS.items()
    }
    assert set(np.unique(atrium.regions)) == set(ATRIAL_REGIONS.values())
    assert centre["left superior vein"][0] > 0 > centre["right superior vein"][0]
    assert centre["left superior vein"][2] > centre["left inferior vein"][2]
    assert centre["mitral rim"][2] < -10


def cup_volume(short, long, base):
    return np.pi * short**2 * (base - base**3 / (3 * long**2) + 2 * long / 3)


@pytest.fixture(scope="module")
def ventricle():
    return ventricular_ellipsoid(3.0)


def test_ventricle_is_a_conforming_solid_cup_of_the_right_volume(ventricle):
    assert conforms(ventricle)
    assert (signed(ventricle) > 0).all()
    assert euler_characteristic(ventricle.cells) == 1
    assert euler_characteristic(boundary_facets(ventricle.cells)) == 2
    exact = cup_volume(25, 50, 12) - cup_volume(16, 41, 12)
    assert abs(ventricle.measures.sum() / exact - 1) < 0.01
    assert quality(ventricle).min() > 0.5
    assert abs(ventricle.edge_lengths.mean() / 3.0 - 1) < 0.2
    assert np.isclose(ventricle.points[:, 2].max(), 12)


def test_ventricular_fibres_turn_from_plus_to_minus_sixty_degrees(ventricle):
    x, y, z = ventricle.centroids.T
    middle = np.abs(z) < 3
    around = np.stack([-y, x], axis=1) / np.hypot(x, y)[:, None]
    angle = np.rad2deg(np.arctan2(ventricle.fibres[:, 2], (ventricle.fibres[:, :2] * around).sum(axis=1)))
    depth = (np.hypot(x / 25, y / 25) / np.sqrt(1 - (z / 50) ** 2) - 16 / 25) / (9 / 25)
    slope, start = np.polyfit(depth[middle], angle[middle], 1)
    assert abs(start - 60) < 4
    assert abs(slope + 120) < 8
    assert set(np.unique(ventricle.regions)) == set(VENTRICULAR_REGIONS.values())
    assert angle[middle & (ventricle.regions == VENTRICULAR_REGIONS["endocardium"])].min() > 15


def test_ventricular_fibres_lie_along_the_wall(ventricle):
    x, y, z = ventricle.centroids.T
    outward = np.stack([x / 20.5**2, y / 20.5**2, z / 45.5**2], axis=1)
    outward /= np.linalg.norm(outward, axis=1)[:, None]
    assert np.abs((outward * ventricle.fibres).sum(axis=1)).max() < 0.25


@pytest.mark.parametrize(
    "make",
    [
        lambda: cable(1.0, 0.0),
        lambda: cable(1.0, 2.0),
        lambda: cable(np.inf, 1.0),
        lambda: sheet(1.0, np.nan, 0.1),
        lambda: sheet(1.0, 1.0, -0.1),
        lambda: sheet(1.0, 0.5, 0.7),
        lambda: sheet(1.0, 1.0, 0.1, np.nan),
        lambda: sheet(1.0, 1.0, 0.1, 0.0, 0.3),
        lambda: slab(1.0, 1.0, 1.0, 0.5, (0.0, 0.0, 0.0)),
        lambda: slab(1.0, 1.0, 1.0, 0.5, (1.0, 0.0)),
        lambda: slab(1.0, 1.0, 1.0, np.nan),
        lambda: atrial_shell(0.0),
        lambda: atrial_shell(6.0),
        lambda: atrial_shell(1.0, (20.0, -3.0, 18.0)),
        lambda: ventricular_ellipsoid(20.0),
        lambda: ventricular_ellipsoid(np.nan),
        lambda: ventricular_ellipsoid(2.0, wall=30.0),
        lambda: ventricular_ellipsoid(2.0, base=60.0),
    ],
)
def test_impossible_sizes_are_refused_in_one_paragraph(make):
    with pytest.raises(InputError, match=r"^Got .*\. Wanted .*\. .*\.$"):
        make()
