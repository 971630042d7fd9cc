"""Refinement halves every edge, keeps the body, and carries linear fields exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import atrial_shell, cable, sheet, slab, ventricular_ellipsoid
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.quality import measures, quality
from jaxtwin.anatomy.refine import refine, refine_with_map
from jaxtwin.anatomy.topology import boundary_facets, euler_characteristic, facets, reversed_cells

MESHES = {
    "cable": lambda: cable(3.0, 0.4),
    "sheet": lambda: sheet(2.0, 1.0, 0.3, 0.2, 0.2, 3),
    "slab": lambda: slab(1.0, 1.5, 1.0, 0.5, (1, 2, 3), 0.2, 3),
    "atrium": lambda: atrial_shell(4.0),
    "ventricle": lambda: ventricular_ellipsoid(6.0),
}


@pytest.fixture(params=MESHES, scope="module")
def coarse(request):
    return MESHES[request.param]()


def test_body_boundary_and_topology_stay(coarse):
    fine = refine(coarse)
    parts = 2 ** (coarse.corners - 1)
    assert len(fine.cells) == len(coarse.cells) * parts
    assert np.isclose(fine.measures.sum(), coarse.measures.sum())
    assert np.allclose(
        fine.measures, np.repeat(coarse.measures, 2 ** (coarse.corners - 1)) / 2 ** (coarse.corners - 1)
    )
    inner, outer = (boundary_facets(m.cells) for m in (coarse, fine))
    assert len(outer) == len(inner) * parts // 2
    assert np.isclose(measures(fine.points, outer).sum(), measures(coarse.points, inner).sum())
    assert np.bincount(facets(fine.cells)[1].ravel()).max() == 2
    assert euler_characteristic(fine.cells) == euler_characteristic(coarse.cells)


def test_orientation_is_kept(coarse):
    fine = refine(coarse)
    corner = fine.points[fine.cells]
    if fine.corners == fine.dim + 1:
        assert (np.linalg.det(corner[:, 1:] - corner[:, :1]) > 0).all()
    else:
        assert not reversed_cells(fine.cells)[0].any()


def test_inverted_tetrahedra_stay_inverted():
    coarse = slab(1.0, 1.0, 1.0, 0.5)
    fine = refine(Mesh(coarse.points, coarse.cells[:, [0, 1, 3, 2]]))
    corner = fine.points[fine.cells]
    assert (np.linalg.det(corner[:, 1:] - corner[:, :1]) < 0).all()


def test_linear_fields_and_indices_are_carried(coarse):
    result = refine_with_map(coarse)
    slope = np.arange(1.0, coarse.dim + 1)
    assert np.allclose(result.carry(coarse.points @ slope), result.mesh.points @ slope)
    assert np.allclose(result.carry(coarse.points), result.mesh.points)
    count = len(coarse.points)
    assert np.array_equal(result.mesh.points[:count], coarse.points)
    assert np.array_equal(result.parents[:count], np.stack([np.arange(count)] * 2, axis=1))


def test_fibres_and_regions_are_inherited(coarse):
    tagged = Mesh(coarse.points, coarse.cells, coarse.fibres, np.arange(len(coarse.cells)))
    result = refine_with_map(tagged)
    assert np.array_equal(result.mesh.regions, result.cells)
    assert np.array_equal(result.mesh.fibres, coarse.fibres[result.cells])


def test_tetrahedra_do_not_degrade_under_repetition():
    coarse = ventricular_ellipsoid(9.0)
    assert quality(refine(coarse, 3)).min() > 0.7 * quality(coarse).min()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=12, max_size=12))
def test_the_octahedron_is_cut_along_its_shortest_diagonal(numbers):
    points = np.reshape(numbers, (4, 3)) + np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3]])
    fine = refine(Mesh(points, [[0, 1, 2, 3]]))
    middle = {(0, 1): 4, (0, 2): 5, (0, 3): 6, (1, 2): 7, (1, 3): 8, (2, 3): 9}
    pairs = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    lengths = [np.linalg.norm(fine.points[middle[a]] - fine.points[middle[b]]) for a, b in pairs]
    cut = [k for k, (a, b) in enumerate(pairs) if [middle[a], middle[b]] in fine.edges.tolist()]
    assert len(cut) == 1
    assert np.isclose(lengths[cut[0]], min(lengths))


def test_times():
    mesh = sheet(1.0, 1.0, 0.5)
    assert refine(mesh, 0) is mesh
    assert np.array_equal(refine(mesh, 2).points, refine(refine(mesh)).points)
    with pytest.raises(InputError, match="refine -1 times"):
        refine(mesh, -1)
