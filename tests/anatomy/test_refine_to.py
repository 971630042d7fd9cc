"""Local refinement splits what is too long, and keeps shape, topology and linear fields."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import atrial_shell, sheet, slab
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.meshfile import read_mesh
from jaxtwin.anatomy.quality import measures, quality
from jaxtwin.anatomy.refine_to import refine_to
from jaxtwin.anatomy.repair import repair
from jaxtwin.anatomy.topology import boundary_facets, euler_characteristic, facets, reversed_cells

MESHES = {
    "sheet": lambda: sheet(4.0, 3.0, 0.6, 0.2, 0.2, 3),
    "atrium": lambda: atrial_shell(4.0),
}


def smallest_angle(mesh):
    corner = mesh.points[mesh.cells]
    one, two = np.roll(corner, -1, axis=1) - corner, np.roll(corner, 1, axis=1) - corner
    lengths = np.linalg.norm(one, axis=2) * np.linalg.norm(two, axis=2)
    return np.arccos(np.clip((one * two).sum(axis=2) / lengths, -1, 1)).min()


def check(coarse, edge):
    result = refine_to(coarse, edge)
    fine = result.mesh
    assert fine.edge_lengths.max() <= edge
    assert np.bincount(facets(fine.cells)[1].ravel()).max() <= 2
    assert euler_characteristic(fine.cells) == euler_characteristic(coarse.cells)
    assert not reversed_cells(fine.cells)[0].any()
    inner, outer = (boundary_facets(m.cells) for m in (coarse, fine))
    assert np.isclose(
        measures(fine.points, outer).sum(), measures(coarse.points, inner).sum(), rtol=1e-12, atol=0
    )
    area = np.bincount(result.cells, fine.measures, len(coarse.cells))
    np.testing.assert_allclose(area, coarse.measures, rtol=1e-10, atol=0)
    assert abs(fine.measures.sum() / coarse.measures.sum() - 1) < 1e-12
    rounding = 1e-12 * np.abs(fine.points).max()
    np.testing.assert_allclose(result.carry(coarse.points), fine.points, atol=rounding)
    assert np.array_equal(fine.points[: len(coarse.points)], coarse.points)
    np.testing.assert_allclose(result.weights.sum(axis=1), 1.0, rtol=1e-15)
    assert (result.weights >= 0).all()
    # the parents are corners of one coarse cell, of which some fine cell round the node is a part
    for corner in fine.cells.T:
        used = np.where(result.weights[corner] > 0, result.parents[corner], result.parents[corner][:, :1])
        inside = (used[:, :, None] == coarse.cells[result.cells][:, None]).any(axis=2)
        assert inside.all()
    return result


@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("part", [0.9, 0.5, 0.23])
def test_properties(name, part):
    coarse = MESHES[name]()
    result = check(coarse, part * float(coarse.edge_lengths.max()))
    assert len(result.mesh.cells) > len(coarse.cells)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 1.2))
def test_any_flat_surface(seed, edge):
    rng = np.random.default_rng(seed)
    coarse = sheet(2.0, 1.0, 0.5, 0.0, 0.2, int(seed % 1000))
    stretch = np.array([1.0, rng.uniform(0.05, 2.0)])
    coarse = Mesh(coarse.points * stretch, coarse.cells)
    result = check(coarse, edge)
    assert smallest_angle(result.mesh) >= 0.5 * smallest_angle(coarse) - 1e-9


def test_each_template():
    """One, two and three long edges, with an obtuse and an acute corner."""
    for points, edge, children in (
        ([[0, 0], [1.0, 0], [0.5, 0.7]], 0.9, 2),
        ([[0, 0], [1.0, 0], [0.1, 0.85]], 0.88, 3),
        ([[0, 0], [1.0, 0], [0.9, 0.85]], 0.88, 3),
        ([[0, 0], [1.0, 0], [0.5, 0.9]], 0.9, 4),
        ([[0, 0], [1.0, 0], [0.5, 0.1]], 0.505, 4),
    ):
        for turn in range(3):
            cell = np.roll([0, 1, 2], turn)[None]
            coarse = Mesh(np.array(points, float), cell)
            fine = refine_to(coarse, edge).mesh
            assert len(fine.cells) == children
            assert abs(fine.measures.sum() / coarse.measures.sum() - 1) < 1e-12
            span = fine.points[fine.cells][:, 1:] - fine.points[fine.cells][:, :1]
            assert (np.linalg.det(span) > 0).all()


def test_nothing_to_do():
    mesh = sheet(1.0, 1.0, 0.5)
    result = refine_to(mesh, 5.0)
    assert np.array_equal(result.mesh.points, mesh.points)
    assert np.array_equal(result.mesh.cells, mesh.cells)


def test_only_long_edges_are_split():
    points = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [-1.0, 0.0], [-1.0, 1.0], [-2.0, 0.0]])
    mesh = Mesh(points, [[0, 1, 2], [3, 4, 5]])
    result = refine_to(mesh, 2.0)
    assert (result.cells == 1).sum() == 1


def test_regions_and_fibres_are_inherited():
    mesh = atrial_shell(4.0)
    tagged = Mesh(mesh.points, mesh.cells, mesh.fibres, np.arange(len(mesh.cells)))
    result = refine_to(tagged, 2.0)
    assert np.array_equal(result.mesh.regions, result.cells)
    assert np.array_equal(result.mesh.fibres, mesh.fibres[result.cells])


def test_missing_values():
    mesh = Mesh(np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), [[0, 1, 2]])
    result = refine_to(mesh, 1.5)
    values = np.array([np.nan, 1.0, 3.0])
    out = result.carry(values)
    unknown = np.where(result.parents == 0, result.weights, 0.0).sum(axis=1)
    np.testing.assert_array_equal(np.isnan(out), unknown > 0)
    assert (out[np.isfinite(out)] >= 1.0).all()
    assert (out[np.isfinite(out)] <= 3.0).all()
    several = result.carry(np.stack([values, [0.0, 1.0, 2.0]], axis=1))
    np.testing.assert_array_equal(several[:, 0], out)
    assert np.isfinite(several[:, 1]).all()
    assert np.isnan(result.carry(np.full(3, np.nan))).all()


def test_a_real_map(data):
    coarse = repair(read_mesh(data / "eam_map/openep_mesh_2_dense.vtk").mesh).mesh
    result = check(coarse, 1.5)
    assert 2 * len(coarse.points) < len(result.mesh.points) < 4 * len(coarse.points)
    assert np.percentile(quality(result.mesh), 5) > np.percentile(quality(coarse), 5)
    assert quality(result.mesh).min() > 0.5 * quality(coarse).min()


def test_bad_input():
    mesh = sheet(1.0, 1.0, 0.5)
    for edge in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="an edge of"):
            refine_to(mesh, edge)
    with pytest.raises(InputError, match="cells or more"):
        refine_to(mesh, 1e-6)
    with pytest.raises(InputError, match="4 corners"):
        refine_to(slab(1.0, 1.0, 1.0, 0.5), 0.2)
