"""Shape and stiffness of cells whose values are known by hand."""

import numpy as np
import pytest

from jaxtwin.anatomy.generate import sheet
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.quality import altitudes, measures, quality, stiffness_bound


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_measures_and_altitudes_of_the_unit_simplex(dim):
    """Segment, triangle or tetrahedron on the axes, alone and lifted into space."""
    points = np.concatenate([np.zeros((1, dim)), np.eye(dim)])
    cell = np.arange(dim + 1)[None]
    size = {1: 1.0, 2: 1 / 2, 3: 1 / 6}[dim]
    height = [1 / np.sqrt(dim)] + [1.0] * dim
    for lifted in (points, np.pad(points, ((0, 0), (0, 3 - dim)))):
        assert np.allclose(measures(lifted, cell), size)
        assert np.allclose(altitudes(lifted, cell), [height])


def test_stiffness_bound_of_a_known_patch():
    """At an inner node of a union jack K_ii = 4, with eight or four triangles of area 1/8 round it."""
    mesh = sheet(4.0, 4.0, 0.5)
    inner = ((mesh.points > 0.6) & (mesh.points < 3.4)).all(axis=1)
    many = np.bincount(mesh.cells.ravel()) == 8
    assert np.allclose(stiffness_bound(mesh)[inner & many], 2 * 4 / (8 * 0.125 / 3))
    assert np.allclose(stiffness_bound(mesh)[inner & ~many], 2 * 4 / (4 * 0.125 / 3))


def test_quality_is_one_for_equilateral_cells_and_nought_for_flat_ones():
    triangle = Mesh([[0, 0], [1, 0], [0.5, np.sqrt(0.75)], [0.5, 0]], [[0, 1, 2], [0, 1, 3]])
    assert np.allclose(quality(triangle), [1, 0])
    cube = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0], [0, 1, 0]])
    solid = Mesh(cube, [[0, 1, 2, 3], [0, 4, 1, 5]])
    assert np.allclose(quality(solid), [1, 0])
