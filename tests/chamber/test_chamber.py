"""From an exported surface to a mesh: cut, clean, fine enough, with the fields of the map on it."""

import numpy as np
import pytest

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import atrial_shell
from jaxtwin.anatomy.meshfile import read_mesh
from jaxtwin.anatomy.quality import stiffness_bound
from jaxtwin.anatomy.surface import Surface
from jaxtwin.anatomy.topology import components, euler_characteristic, facets
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
    assert mesh.edge_lengths.max() <= 1.5
    assert np.isclose(mesh.measures.sum(), shell.measures.sum(), rtol=1e-12)
    np.testing.assert_allclose(found.fields["lat_ms"], mesh.points @ [1.0, 2.0, 3.0], atol=1e-10)
    np.testing.assert_array_equal(found.carry(lat), found.fields["lat_ms"])
    assert 10 <= np.isnan(found.fields["bipolar_mv"]).sum() < 200
    assert not lid[found.cells_from()].any()
    text = "\n".join(found.lines)
    for part in (
        f"cut out as the system marked them: {lid.sum()}",
        "Refined to",
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
    assert np.isclose(found.mesh.measures.sum(), shell.measures.sum(), rtol=1e-12)


def test_a_real_map(data):
    file = read_mesh(data / "eam_map/openep_mesh_2_dense.vtk")
    surface = Surface(file.mesh.points, file.mesh.cells, fields={"lat_ms": file.point_data["LAT"]})
    found = chamber(surface, edge_mm=1.5)
    mesh, lat = found.mesh, found.fields["lat_ms"]
    assert len(found.rings) == 7
    assert (mesh.edge_lengths > 1.5).mean() < 1e-3
    assert mesh.edge_lengths.max() < 3.0
    assert components(mesh.cells, len(mesh.points)).max() == 0
    assert np.bincount(facets(mesh.cells)[1].ravel()).max() == 2
    assert stiffness_bound(mesh).max() < 300.0
    assert len(lat) == len(mesh.points)
    assert np.isfinite(lat).mean() > 0.99
    assert np.nanmin(lat) >= 20.0
    assert np.nanmax(lat) <= 175.0
    assert any("7, perimeters 122.2, 98.9" in line for line in found.lines)


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
