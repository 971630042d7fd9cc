"""From an exported surface to a mesh: cut, clean, of one size, with the fields of the map on it."""

import sys

import numpy as np
import pytest

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import atrial_shell, sheet
from jaxtwin.anatomy.meshfile import read_mesh
from jaxtwin.anatomy.quality import quality, stiffness_bound
from jaxtwin.anatomy.remesh import edge_share
from jaxtwin.anatomy.surface import Surface
from jaxtwin.anatomy.topology import boundary_facets, components, euler_characteristic, facets
from jaxtwin.chamber.chamber import chamber


@pytest.fixture(scope="module")
def shell():
    return atrial_shell(2.5)


def lidded(mesh):
    """The shell with a lid over each opening, and the marks of the lids."""
    from jaxtwin.anatomy.openings import openings

    points, cells, lid = [mesh.points], [mesh.cells], [np.zeros(len(mesh.cells), bool)]
    count = len(mesh.points)
    for ring in openings(mesh):
        points.append(ring.centre[None])
        after = np.roll(ring.nodes, -1)
        cells.append(np.stack([ring.nodes, after, np.full(len(after), count)], axis=1))
        lid.append(np.ones(len(after), bool))
        count += 1
    return np.concatenate(points), np.concatenate(cells), np.concatenate(lid)


def test_lids_are_cut_and_fields_carried(shell):
    points, cells, lid = lidded(shell)
    lat = points @ [1.0, 2.0, 3.0]
    gaps = lat.copy()
    gaps[:10] = np.nan
    surface = Surface(points, cells, cut_out=lid, fields={"lat_ms": lat, "bipolar_mv": gaps})
    found = chamber(surface, edge_mm=1.5)
    mesh = found.mesh
    assert len(found.rings) == 5
    assert quality(mesh).min() >= 0.3
    assert edge_share(mesh, 1.5) >= 0.99
    assert np.isclose(mesh.measures.sum(), shell.measures.sum(), rtol=0.02)
    np.testing.assert_allclose(found.fields["lat_ms"], mesh.points @ [1.0, 2.0, 3.0], atol=1e-10)
    np.testing.assert_array_equal(found.carry(lat), found.fields["lat_ms"])
    assert 5 <= np.isnan(found.fields["bipolar_mv"]).sum() < 200
    assert not lid[found.cells_from()].any()
    text = "\n".join(found.lines)
    for part in (
        f"cut out as the system marked them: {lid.sum()}",
        "Edges of 1.5 mm: 99.",
        "Openings found: 5",
        "stiffness",
    ):
        assert part in text
    closed = chamber(surface, edge_mm=1.5, cut_out=False)
    assert closed.rings == ()
    assert euler_characteristic(closed.mesh.cells) == 2


def test_a_closed_bag_is_cut_where_one_says(shell):
    points, cells, _ = lidded(shell)
    found = chamber(Surface(points, cells), edge_mm=2.0, cuts=[(points[-1], 5.0), ((0.0, 0.0, -13.0), 10.0)])
    assert len(found.rings) == 2
    assert sum("Opening of" in line for line in found.lines) == 2


def test_triangles_without_common_nodes_are_joined(shell):
    """As some systems write them: three nodes of its own for each triangle."""
    soup = Surface(shell.points[shell.cells].reshape(-1, 3), np.arange(shell.cells.size).reshape(-1, 3))
    found = chamber(soup, edge_mm=3.0)
    assert euler_characteristic(found.mesh.cells) == euler_characteristic(shell.cells)
    assert len(found.rings) == 5
    assert np.isclose(found.mesh.measures.sum(), shell.measures.sum(), rtol=0.02)


def torn(mesh, count, seed=0):
    """The mesh without the cells around some of its nodes, off its rims."""
    rim = np.unique(boundary_facets(mesh.cells))
    gap = np.linalg.norm(mesh.points[:, None] - mesh.points[rim], axis=2).min(axis=1)
    nodes = np.random.default_rng(seed).permutation(np.flatnonzero(gap > 6.0))
    chosen: list[int] = []
    for node in nodes.tolist():
        if len(chosen) < count and all(
            np.linalg.norm(mesh.points[node] - mesh.points[c]) > 6.0 for c in chosen
        ):
            chosen.append(node)
    return mesh.cells[~np.isin(mesh.cells, chosen).any(axis=1)], len(chosen)


def test_small_holes_are_closed_and_reported(shell):
    cells, count = torn(shell, 20)
    assert count == 20
    found = chamber(Surface(shell.points, cells), edge_mm=2.0)
    assert len(found.rings) == 5
    assert any(line.startswith("Closed 20 holes of 1") for line in found.lines)
    assert quality(found.mesh).min() >= 0.3
    assert len(chamber(Surface(shell.points, cells), edge_mm=2.0, close_mm=0.0).rings) == 25


def test_an_opening_that_the_system_cut_stays_open(shell):
    """As small as a hole: not closed again."""
    cells, _ = torn(shell, 3)
    out = ~(shell.cells[:, None] == cells[None]).all(axis=2).any(axis=1)
    marked = chamber(Surface(shell.points, shell.cells, cut_out=out), edge_mm=2.5)
    assert len(marked.rings) == 8
    assert not any("Closed" in line for line in marked.lines)


def needles(mesh):
    """Triangles split at points beside an edge or a corner, a hundred-thousandth of the edge away."""
    points, cells = [mesh.points], [mesh.cells]
    count, out = len(mesh.points), np.zeros(len(mesh.cells), bool)
    for cell, weights in zip(range(0, len(mesh.cells), 15), np.tile(np.eye(3), (1000, 1)), strict=False):
        cap = cell % 2 == 0
        share = 1e-5 * weights + (1 - 1e-5) * (np.roll(weights, 1) if not cap else 0.5 * (1 - weights))
        a, b, c = mesh.cells[cell]
        points.append(share[None] @ mesh.points[[a, b, c]])
        cells.append([[a, b, count], [b, c, count], [c, a, count]])
        out[cell], count = True, count + 1
    cells[0] = mesh.cells[~out]
    return np.concatenate(points), np.concatenate(cells)


def fins(mesh):
    """Two long fins on edges inside, and a sheet that passes through the wall."""
    edges = mesh.edges[:: len(mesh.edges) // 7][:6]
    tip = mesh.points[edges].mean(axis=1) * 1.3
    flat = sheet(10.0, 10.0, 2.5).points - 5.0
    wall = np.stack([25.0 + flat[:, 0], flat[:, 1], 0.3 * flat[:, 0] + 0.013], axis=1)
    first = len(mesh.points)
    beside = first + len(tip)
    cells = [mesh.cells, np.column_stack([edges, first + np.arange(len(tip))])]
    cells.append(
        np.column_stack([edges[:, 0], first + np.arange(len(tip)), np.roll(first + np.arange(len(tip)), 1)])
    )
    return np.concatenate([mesh.points, tip, wall]), np.concatenate(
        [*cells, beside + sheet(10.0, 10.0, 2.5).cells]
    )


@pytest.mark.parametrize("damage", [needles, fins])
def test_damaged_surfaces(shell, damage):
    points, cells = damage(shell)
    found = chamber(Surface(points, cells, fields={"z": points[:, 2]}), edge_mm=2.0)
    mesh = found.mesh
    assert quality(mesh).min() >= 0.3
    assert edge_share(mesh, 2.0) >= 0.99
    assert np.bincount(facets(mesh.cells)[1].ravel()).max() == 2
    assert len(found.rings) == 5
    assert mesh.measures.sum() == pytest.approx(shell.measures.sum(), rel=0.03)
    np.testing.assert_allclose(found.fields["z"], mesh.points[:, 2], atol=1e-6)
    assert len(found.cells_from()) == len(mesh.cells)


def test_a_surface_through_itself_is_said(shell):
    """A bag pushed through its opposite wall."""
    points, cells, _ = lidded(shell)
    push = np.exp(-(np.linalg.norm(points[:, 1:], axis=1) ** 2) / 60.0) * (points[:, 0] > 0)
    points = points - 1.3 * np.ptp(points[:, 0]) * push[:, None] * [1.0, 0.0, 0.0]
    found = chamber(Surface(points, cells), edge_mm=2.0)
    assert any("passes through itself" in line for line in found.lines)
    assert quality(found.mesh).min() >= 0.3


def test_a_surface_that_cannot_be_remeshed(shell, monkeypatch):
    def fails(mesh, edge_mm):
        raise InputError("a mesh that MMG cannot remesh", "another", "Repair it")

    monkeypatch.setattr(sys.modules["jaxtwin.chamber.chamber"], "remesh", fails)
    found = chamber(Surface(shell.points, shell.cells), edge_mm=2.0)
    assert "Not remeshed, but refined: a mesh that MMG cannot remesh." in found.lines
    assert found.mesh.edge_lengths.max() <= 2.0


def test_a_real_map(data):
    file = read_mesh(data / "eam_map/openep_mesh_2_dense.vtk")
    surface = Surface(file.mesh.points, file.mesh.cells, fields={"lat_ms": file.point_data["LAT"]})
    found = chamber(surface, edge_mm=1.5)
    mesh, lat = found.mesh, found.fields["lat_ms"]
    assert len(found.rings) == 7
    assert edge_share(mesh, 1.5) >= 0.99
    assert quality(mesh).min() >= 0.3
    assert components(mesh.cells, len(mesh.points)).max() == 0
    assert np.bincount(facets(mesh.cells)[1].ravel()).max() == 2
    assert stiffness_bound(mesh).max() < 50.0
    assert len(lat) == len(mesh.points)
    assert np.isfinite(lat).mean() > 0.99
    assert np.nanmin(lat) >= 20.0
    assert np.nanmax(lat) <= 175.0
    assert any("Openings found: 7, perimeters 12" in line for line in found.lines)


def test_bad_input(shell):
    surface = Surface(shell.points, shell.cells)
    for edge in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="an edge of"):
            chamber(surface, edge_mm=edge)
    with pytest.raises(InputError, match="without triangles"):
        chamber(Surface(shell.points, np.zeros((0, 3), int)), edge_mm=1.0)
    everything = Surface(shell.points, shell.cells, cut_out=np.ones(len(shell.cells), bool))
    with pytest.raises(InputError, match="takes all"):
        chamber(everything, edge_mm=1.0)
    with pytest.raises(InputError, match="from the nearest cell"):
        chamber(surface, edge_mm=2.0, cuts=[((500.0, 0.0, 0.0), 5.0)])
