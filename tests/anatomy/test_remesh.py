"""Remeshing gives cells of one size and good shape, and keeps shape, rims, borders, fields and fibres."""

import sys

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from jaxtwin._results import InputError
from jaxtwin.anatomy.closest import closest
from jaxtwin.anatomy.generate import atrial_shell, cable, sheet, slab
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.openings import openings
from jaxtwin.anatomy.quality import quality
from jaxtwin.anatomy.remesh import edge_share, remesh
from jaxtwin.anatomy.topology import boundary_facets, euler_characteristic, facets, reversed_cells


@pytest.fixture(scope="module")
def shell():
    return atrial_shell(2.5)


def kept(old, new, edge):
    """What every remeshed surface keeps; the old nodes lie within an edge of the new surface."""
    mesh = new.mesh
    assert quality(mesh).min() >= 0.3
    assert edge_share(mesh, edge) >= 0.99
    assert np.bincount(facets(mesh.cells)[1].ravel()).max() <= 2
    assert euler_characteristic(mesh.cells) == euler_characteristic(old.cells)
    assert not reversed_cells(mesh.cells)[0].any()
    assert np.array_equal(np.unique(mesh.cells), np.arange(len(mesh.points)))
    np.testing.assert_allclose(new.carry(old.points), mesh.points, atol=1e-9)
    np.testing.assert_allclose(new.weights.sum(axis=1), 1.0, rtol=1e-12)
    assert (new.weights >= 0).all()
    assert closest(mesh, old.points).distance.max() <= edge
    assert np.array_equal(old.regions[new.cells], mesh.regions)


@pytest.mark.parametrize("edge", [1.4, 2.5, 5.0])
def test_a_surface_finer_and_coarser(shell, edge):
    whole = Mesh(shell.points, shell.cells, shell.fibres)
    found = remesh(whole, edge)
    kept(whole, found, edge)
    before, after = openings(shell), openings(found.mesh)
    assert len(after) == len(before) == 5
    for one in before:
        two = min(after, key=lambda each: np.linalg.norm(each.centre - one.centre))
        assert two.perimeter_mm == pytest.approx(one.perimeter_mm, rel=0.05)
        assert (one.normal * two.normal).sum() > 0.9


def test_borders_between_regions(shell):
    found = remesh(shell, 2.0)
    kept(shell, found, 2.0)
    old, new = (np.bincount(m.regions, m.measures) for m in (shell, found.mesh))
    np.testing.assert_allclose(new, old, rtol=0.05)
    tags = np.array([-7, 12])[(shell.centroids[:, 2] > 0).astype(int)]
    named = remesh(Mesh(shell.points, shell.cells, shell.fibres, tags), 2.0).mesh
    assert np.array_equal(np.unique(named.regions), [-7, 12])
    assert (named.centroids[named.regions == 12, 2] > -2.0).all()


def test_fibres_lie_in_the_surface(shell):
    found = remesh(shell, 1.4)
    mesh = found.mesh
    span = mesh.points[mesh.cells[:, 1:]] - mesh.points[mesh.cells[:, :1]]
    normal = np.cross(span[:, 0], span[:, 1])
    assert np.abs((normal * mesh.fibres).sum(axis=1) / np.linalg.norm(normal, axis=1)).max() < 1e-12
    cosine = np.abs((mesh.fibres * shell.fibres[found.cells]).sum(axis=1))
    assert np.degrees(np.arccos(np.minimum(np.percentile(cosine, 2), 1.0))) < 25.0
    bare = shell.fibres.copy()
    bare[shell.centroids[:, 2] > 0] = 0.0
    none = remesh(Mesh(shell.points, shell.cells, bare, shell.regions), 2.0)
    assert np.array_equal(none.mesh.fibres.any(axis=1), bare[none.cells].any(axis=1))


@pytest.mark.parametrize("flat", [True, False], ids=["plane", "space"])
def test_a_flat_patch_keeps_its_outline_and_linear_fields(flat):
    old = sheet(12.0, 8.0, 1.0, 0.3, 0.2, 3)
    tags = (old.centroids[:, 0] > 5.0).astype(int)
    points = old.points if flat else np.pad(old.points, ((0, 0), (0, 1))) @ np.linalg.qr(np.eye(3) + 0.3)[0]
    old = Mesh(points, old.cells, None, tags)
    found = remesh(old, 0.7)
    kept(old, found, 0.7)
    assert found.mesh.dim == old.dim
    assert found.mesh.measures.sum() == pytest.approx(96.0, rel=1e-9)
    rims = [m.points[boundary_facets(m.cells)] for m in (old, found.mesh)]
    lengths = [np.linalg.norm(rim[:, 1] - rim[:, 0], axis=1).sum() for rim in rims]
    assert lengths[1] == pytest.approx(lengths[0], rel=1e-9)
    slope = np.arange(1.0, old.dim + 1.0)
    np.testing.assert_allclose(found.carry(old.points @ slope), found.mesh.points @ slope, atol=1e-12)


def test_missing_values_stay_missing():
    old = sheet(10.0, 10.0, 1.0)
    found, values = remesh(old, 0.5), old.points @ [1.0, 2.0]
    values[old.points[:, 0] < 3.0] = np.nan
    carried = found.carry(values)
    touched = (np.isnan(values)[found.parents] & (found.weights > 0)).any(axis=1)
    assert np.array_equal(np.isnan(carried), touched)
    assert np.isnan(carried[found.mesh.points[:, 0] < 2.9]).all()
    assert np.isfinite(carried[found.mesh.points[:, 0] > 4.1]).all()
    both = found.carry(np.stack([values, old.points[:, 1]], axis=1))
    np.testing.assert_array_equal(both[:, 0], carried)
    np.testing.assert_allclose(both[:, 1], found.mesh.points[:, 1], atol=1e-12)


def test_sets_and_origins_of_nodes():
    old = sheet(10.0, 10.0, 1.0)
    found = remesh(old, 0.5)
    left = found.carry_set(old.points[:, 0] < 5.5)
    assert (left == (found.mesh.points[:, 0] <= 5.5)).mean() > 0.95
    own = found.origin >= 0
    assert 4 <= own.sum() < len(old.points)  # the corners at least
    np.testing.assert_allclose(found.mesh.points[own], old.points[found.origin[own]], atol=1e-5)


def test_the_same_input_gives_the_same_mesh(shell):
    one, two = remesh(shell, 2.0), remesh(shell, 2.0)
    for part in ("points", "cells", "fibres", "regions"):
        assert np.array_equal(getattr(one.mesh, part), getattr(two.mesh, part))
    assert np.array_equal(one.parents, two.parents)


def test_nothing_is_printed(shell, capfd):
    remesh(shell, 3.0)
    remesh(slab(3.0, 3.0, 3.0, 1.0), 0.9)
    assert capfd.readouterr() == ("", "")


def test_tetrahedra_keep_volume_regions_and_fields():
    old = slab(8.0, 6.0, 4.0, 1.0)
    old = Mesh(old.points, old.cells, old.fibres, 3 + (old.centroids[:, 0] > 4.0))
    for edge in (0.8, 2.0):
        found = remesh(old, edge)
        mesh = found.mesh
        assert mesh.corners == 4
        assert mesh.measures.sum() == pytest.approx(8.0 * 6.0 * 4.0, rel=1e-9)
        np.testing.assert_allclose(np.bincount(mesh.regions, mesh.measures)[3:], 96.0, rtol=1e-9)
        assert quality(mesh).min() > 0.3
        assert np.abs(np.median(mesh.edge_lengths) / edge - 1.0) < 0.2
        assert np.array_equal(old.regions[found.cells], mesh.regions)
        np.testing.assert_allclose(found.carry(old.points), mesh.points, atol=1e-9)
        np.testing.assert_allclose(mesh.fibres, old.fibres[found.cells], atol=1e-12)


def strip(twist, n=48):
    """A closed band of 48 x 4 quadrilaterals, twisted by `twist` half turns."""
    u, w = np.linspace(0, 2 * np.pi, n, endpoint=False), np.linspace(-3.0, 3.0, 5)
    a, v = np.repeat(u, 5), np.tile(w, n)
    r = 12.0 + v * np.cos(0.5 * twist * a)
    points = np.stack([r * np.cos(a), r * np.sin(a), v * np.sin(0.5 * twist * a)], axis=1)
    row, step = np.meshgrid(np.arange(n), np.arange(4), indexing="ij")

    def node(i, j):
        return np.where(i < n, i * 5 + j, 4 - j if twist % 2 else j)

    a, b = node(row, step), node(row + 1, step)
    c, d = node(row + 1, step + 1), node(row, step + 1)
    return Mesh(points, np.stack([a, b, c, a, c, d], axis=2).reshape(-1, 3))


def test_a_strip_with_one_side_and_parts_that_do_not_touch(shell):
    once = remesh(strip(1), 1.2).mesh
    assert not reversed_cells(once.cells)[1]
    assert once.measures.sum() == pytest.approx(strip(1).measures.sum(), rel=0.05)
    twice = Mesh(
        np.concatenate([shell.points, shell.points + np.array([100.0, 0.0, 0.0])]),
        np.concatenate([shell.cells, shell.cells + len(shell.points)]),
    )
    kept(twice, found := remesh(twice, 2.5), 2.5)
    assert (found.parents.max(axis=1) < len(shell.points)).sum() == (found.mesh.points[:, 0] < 50.0).sum()


def test_a_surface_that_branches(shell):
    """A sheet stands on the middle of another: the three parts meet at edges of three triangles."""
    flat = sheet(10.0, 10.0, 1.0)
    floor = np.pad(flat.points, ((0, 0), (0, 1)))
    upright = np.stack([flat.points[:, 0], np.full(len(floor), 5.0), flat.points[:, 1]], axis=1)
    points = np.concatenate([floor, upright[flat.points[:, 1] > 0]])
    foot = np.flatnonzero(flat.points[:, 1] == 0)
    number = np.full(len(floor), -1)
    number[flat.points[:, 1] > 0] = len(floor) + np.arange((flat.points[:, 1] > 0).sum())
    below = [np.flatnonzero((floor[:, 0] == x) & (floor[:, 1] == 5.0))[0] for x in floor[foot, 0]]
    number[foot] = below
    old = Mesh(points, np.concatenate([flat.cells, number[flat.cells]]))
    assert np.bincount(facets(old.cells)[1].ravel()).max() == 3
    mesh = remesh(old, 0.8).mesh
    assert np.bincount(facets(mesh.cells)[1].ravel()).max() == 2
    assert quality(mesh).min() >= 0.3
    assert mesh.measures.sum() == pytest.approx(200.0, rel=0.03)


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.integers(0, 2**31), st.sampled_from([0.6, 1.0, 2.5]))
def test_any_bad_surface(seed, edge):
    """Rough, torn, with needles, caps and repeated triangles: a manifold whose cells have area."""
    rng = np.random.default_rng(seed)
    flat = sheet(6.0, 4.0, 0.7, 0.0, 0.2, int(seed % 1000))
    points = np.pad(flat.points, ((0, 0), (0, 1)))
    points[:, 2] = 0.6 * np.sin(points[:, 0]) + rng.normal(0, 0.1, len(points))
    moved = rng.integers(0, len(points), 6)
    points[moved] = points[flat.cells[rng.integers(0, len(flat.cells), 6), 0]] + 1e-5 * rng.normal(
        size=(6, 3)
    )
    cells = flat.cells[rng.random(len(flat.cells)) > 0.05]
    cells = np.concatenate([cells, cells[:3]])
    found = remesh(Mesh(points, cells), edge)
    mesh = found.mesh
    assert np.bincount(facets(mesh.cells)[1].ravel()).max() <= 2
    assert quality(mesh).min() > 0
    assert np.isfinite(found.carry(points)).all()


def test_bad_input(shell):
    for edge in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="an edge of"):
            remesh(shell, edge)
    with pytest.raises(InputError, match="cells or more"):
        remesh(shell, 1e-4)
    with pytest.raises(InputError, match="2 corners"):
        remesh(cable(5.0, 0.5), 0.2)


def test_what_mmg_refuses_is_said(shell, monkeypatch):
    """In the first pass; a later one that fails leaves what the first has made."""

    class Refuses:
        def __init__(self):
            self.tool, self.pass_ = mmgpy_surface(), len(made)
            made.append(self)

        def __getattr__(self, name):
            return getattr(self.tool, name)

        def remesh(self, **options):
            if self.pass_ >= good:
                raise RuntimeError("cannot remesh")
            return self.tool.remesh(**options)

    module = sys.modules["jaxtwin.anatomy.remesh"]
    mmgpy_surface, made, good = module.mmgpy.MmgMeshS, [], 0
    monkeypatch.setattr(module.mmgpy, "MmgMeshS", Refuses)
    with pytest.raises(InputError, match="MMG cannot remesh to edges of 2 mm"):
        remesh(shell, 2.0)
    monkeypatch.setattr(module, "LEAST_QUALITY", 0.99)  # as if no pass were good enough
    made, good = [], 1
    assert quality(remesh(shell, 2.0).mesh).min() > 0.2
    assert len(made) == 2
