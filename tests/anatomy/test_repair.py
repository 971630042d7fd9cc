"""Repair: injected defects go, everything else stays, and data at nodes come along."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import atrial_shell, sheet
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.meshfile import read_mesh
from jaxtwin.anatomy.quality import measures, quality, stiffness_bound
from jaxtwin.anatomy.repair import repair
from jaxtwin.anatomy.topology import boundary_facets, components, euler_characteristic, facets, reversed_cells


def signed(mesh):
    corner = mesh.points[mesh.cells]
    return np.linalg.det(corner[:, 1:] - corner[:, :1])


def same_shape(one, other):
    return np.array_equal(one.points, other.points) and np.array_equal(one.cells, other.cells)


def planar(seed):
    """A distorted mesh of a square of 10 x 10 mm."""
    return sheet(10.0, 10.0, 0.6, 0.5, 0.2, seed)


def duplicated(mesh, rng):
    """Some cells get nodes of their own at the same places."""
    chosen = rng.random(len(mesh.cells)) < 0.3
    cells = mesh.cells.copy()
    fresh = len(mesh.points) + np.arange(3 * chosen.sum())
    points = np.concatenate([mesh.points, mesh.points[cells[chosen]].reshape(-1, 2)])
    cells[chosen] = fresh.reshape(-1, 3)
    return Mesh(points, cells, mesh.fibres, mesh.regions)


def degenerate(mesh, rng):
    cells = mesh.cells[rng.integers(0, len(mesh.cells), 5)].copy()
    cells[:, 2] = cells[:, 1]
    return Mesh(mesh.points, np.concatenate([mesh.cells, cells]))


def twice(mesh, rng):
    again = rng.permuted(mesh.cells[rng.integers(0, len(mesh.cells), 5)], axis=1)
    return Mesh(mesh.points, np.concatenate([mesh.cells, again]))


def stray(mesh, rng):
    """A small part far away that comes first in the file."""
    far = rng.random((4, 2)) + 50.0
    more = np.array([[0, 1, 2], [0, 1, 3]])
    return Mesh(np.concatenate([far, mesh.points]), np.concatenate([more, mesh.cells + 4]))


def inverted(mesh, rng):
    cells = mesh.cells.copy()
    chosen = rng.random(len(cells)) < 0.3
    cells[chosen] = cells[chosen][:, ::-1]
    return Mesh(mesh.points, cells)


def unused(mesh, rng):
    front = rng.random((3, 2))
    return Mesh(np.concatenate([front, mesh.points]), mesh.cells + 3)


def slivers(mesh, rng):
    """Nodes a hair beside an edge or beside a corner, within some cells."""
    chosen = rng.choice(len(mesh.cells), 4, replace=False)
    weight = np.array([[0.5, 0.5, 0.0], [0.999, 0.0005, 0.0005], [0.3, 0.699, 0.001], [0.0, 1.0, 0.0]])
    weight = 0.9999 * weight + 0.0001 / 3
    fresh = np.einsum("ck,ckd->cd", weight, mesh.points[mesh.cells[chosen]])
    number = len(mesh.points) + np.arange(4)
    a, b, c = mesh.cells[chosen].T
    thirds = np.concatenate([np.stack(x, 1) for x in ([a, b, number], [b, c, number], [c, a, number])])
    cells = np.concatenate([np.delete(mesh.cells, chosen, axis=0), thirds])
    return Mesh(np.concatenate([mesh.points, fresh]), cells)


DEFECTS = [slivers, duplicated, degenerate, twice, stray, inverted, unused]  # splitting a twin would overlap


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.sampled_from(DEFECTS), min_size=1, max_size=7, unique=True))
def test_injected_defects_are_removed_and_the_area_stays(seed, defects):
    rng = np.random.default_rng(seed)
    mesh = planar(seed)
    for inject in sorted(defects, key=DEFECTS.index):
        mesh = inject(mesh, rng)
    result = repair(mesh)
    clean, report = result.mesh, result.report
    assert np.isclose(clean.measures.sum(), 100.0, atol=0.05)
    assert euler_characteristic(clean.cells) == 1
    assert components(clean.cells, len(clean.points)).max() == 0
    assert np.bincount(facets(clean.cells)[1].ravel()).max() == 2
    assert np.array_equal(np.unique(clean.cells), np.arange(len(clean.points)))
    assert (signed(clean) > 0).all()
    assert quality(clean).min() > 0.05
    stiffness = stiffness_bound(clean)
    assert stiffness.max() <= 5 * np.percentile(stiffness, 95)
    assert not report.clean
    assert report.nodes == len(clean.points)
    dropped = report.unused_nodes + report.merged_nodes + report.stray_nodes + report.collapsed_nodes
    assert report.nodes + dropped == report.nodes_before

    kept = result.nodes >= 0
    assert np.array_equal(result.nodes[result.origin], np.arange(len(clean.points)))
    assert np.array_equal(clean.points, mesh.points[result.origin])
    assert np.linalg.norm(mesh.points[kept] - clean.points[result.nodes[kept]], axis=1).max() < 1.0

    again = repair(clean)
    assert again.report.clean
    assert same_shape(again.mesh, clean)


@pytest.mark.parametrize(
    ("inject", "counted"),
    [
        (duplicated, "merged_nodes"),
        (degenerate, "degenerate_cells"),
        (twice, "duplicate_cells"),
        (stray, "stray_nodes"),
        (inverted, "turned_cells"),
        (unused, "unused_nodes"),
        (slivers, "flipped_edges"),
        (slivers, "collapsed_nodes"),
    ],
)
def test_each_defect_is_counted_and_told(inject, counted):
    report = repair(inject(planar(1), np.random.default_rng(1))).report
    assert getattr(report, counted) > 0
    assert repair(planar(1)).report.clean
    assert len(report.lines()) > len(repair(planar(1)).report.lines())
    assert all(line.endswith(".") for line in report.lines())


def test_regions_and_fibres_follow_their_cells():
    mesh = inverted(twice(planar(2), np.random.default_rng(2)), np.random.default_rng(2))
    angle = np.linspace(0, 3, len(mesh.cells))
    tagged = Mesh(mesh.points, mesh.cells, np.stack([np.cos(angle), np.sin(angle)], 1), np.arange(len(angle)))
    result = repair(tagged)
    assert np.array_equal(result.mesh.regions, result.cells)
    assert np.allclose(result.mesh.fibres, tagged.fibres[result.cells])
    assert np.allclose(result.mesh.centroids, tagged.centroids[result.cells])


def test_carry_prefers_a_nodes_own_value_then_the_first_finite_one():
    points = np.array([[0, 0], [1, 0], [0, 1], [1, 0], [0, 1], [1, 1], [0, 1.0]])
    result = repair(Mesh(points, [[0, 1, 2], [3, 5, 4], [5, 6, 3]]))
    assert result.nodes.tolist() == [0, 1, 2, 1, 2, 3, 2]
    lat = np.array([1.0, 2.0, np.nan, 9.0, 4.0, 5.0, 7.0])
    assert result.carry(lat).tolist() == [1.0, 2.0, 4.0, 5.0]
    pair = np.stack([lat, lat[::-1]], axis=1)
    assert np.array_equal(result.carry(pair)[:, 0], result.carry(lat))
    assert result.carry(pair)[:, 1].tolist() == [7.0, 5.0, 4.0, 2.0]
    assert result.carry(np.arange(7)).tolist() == [0, 1, 2, 5]


def test_components_are_kept_on_demand():
    mesh = stray(planar(3), np.random.default_rng(3))
    assert components(repair(mesh, keep="all").mesh.cells, len(mesh.points)).max() == 1


def two_sheets(width):
    """A sheet of 10 x 10 mm and, 20 mm above it, one of `width` x 10 mm."""
    one, two = sheet(10.0, 10.0, 1.0), sheet(width, 10.0, 1.0)
    points = np.concatenate([np.pad(each.points, ((0, 0), (0, 1))) for each in (one, two)])
    points[len(one.points) :, 2] = 20.0
    return Mesh(points, np.concatenate([one.cells, two.cells + len(one.points)]))


def test_a_considerable_part_is_never_dropped_unasked():
    mesh = two_sheets(4.0)
    message = r"2 parts that do not touch, of 71.4 % and 28.6 % of the mesh, the second about .*, 20\).*keep"
    with pytest.raises(InputError, match=message):
        repair(mesh)
    assert repair(mesh, keep="all").mesh.measures.sum() == pytest.approx(140.0)
    largest = repair(mesh, keep="largest")
    assert largest.mesh.measures.sum() == pytest.approx(100.0)
    assert largest.report.stray_share == pytest.approx(2 / 7)
    assert any(
        line.startswith("Smaller components dropped: 1, 29 % of the mesh") for line in largest.report.lines()
    )


def test_a_stray_is_told_with_its_size_and_place():
    mesh = Mesh(
        np.concatenate([two_sheets(4.0).points[:121], [[0, 0, 20.0], [1, 0, 20], [0, 1, 20]]]),
        np.concatenate([two_sheets(4.0).cells[:200], [[121, 122, 123]]]),
    )
    report = repair(mesh).report
    assert (report.stray_components, report.stray_nodes) == (1, 3)
    assert (
        "Smaller components dropped: 1, 0.5 % of the mesh, the largest about (0.3333, 0.3333, 20) mm"
        in " ".join(report.lines())
    )


def test_merge_distance():
    points = np.array([[0, 0], [1, 0], [0, 1], [1, 0.001], [0, 1.001], [1, 1.0]])
    mesh = Mesh(points, [[0, 1, 2], [3, 5, 4]])
    assert repair(mesh, merge_distance=0.01).report.merged_nodes == 2
    assert repair(mesh, keep="all").report.merged_nodes == 0
    same = Mesh(np.round(points, 2), mesh.cells)
    assert repair(same).report.merged_nodes == 2
    assert repair(same, merge_distance=0.0, keep="all").report.clean


def test_a_surface_is_oriented_as_most_of_it_was():
    shell = atrial_shell(3.0)
    cells = shell.cells.copy()
    cells[::5] = cells[::5][:, ::-1]
    result = repair(Mesh(shell.points, cells, shell.fibres))
    assert np.array_equal(np.sort(result.mesh.cells, axis=1), np.sort(shell.cells, axis=1))
    corner, right = result.mesh.points[result.mesh.cells], shell.points[shell.cells]
    normal, given = (np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]) for c in (corner, right))
    assert np.allclose(normal, given)
    assert result.report.turned_cells == len(cells[::5])


def test_a_moebius_strip_is_told_and_left():
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    rim = [
        np.stack([(1 + w * np.cos(turn / 2)) * np.cos(turn), (1 + w * np.cos(turn / 2)) * np.sin(turn)], 1)
        for w in (-0.1, 0.1)
    ]
    points = np.concatenate(
        [np.column_stack([r, w * np.sin(turn / 2)]) for r, w in zip(rim, (-0.1, 0.1), strict=True)]
    )
    i = np.arange(40)
    a, b = i, i + 40
    c, d = np.where(i < 39, i + 41, 0), np.where(i < 39, i + 1, 40)
    report = repair(Mesh(points, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))).report
    assert not report.orientable
    assert report.turned_cells == 0
    assert any("Moebius" in line for line in report.lines())


def test_fins_are_dropped_and_true_branches_reported():
    flat = sheet(3.0, 3.0, 0.5)
    points = np.pad(flat.points, ((0, 0), (0, 1)))
    a, b = flat.cells[20, :2]
    tip = points[[a]] + [[0.1, 0.1, 0.5]]
    finned = Mesh(np.concatenate([points, tip]), np.concatenate([flat.cells, [[a, b, len(points)]]]))
    result = repair(finned)
    assert result.report.fin_cells == 1
    assert np.array_equal(result.mesh.cells, flat.cells)

    upright = points[:, [0, 2, 1]] + [0.0, 1.5, 0.0]
    above = flat.cells[points[flat.cells].mean(axis=1)[:, 1] > 0]
    branched = Mesh(np.concatenate([points, upright]), np.concatenate([flat.cells, above + len(points)]))
    result = repair(branched)
    assert result.report.nonmanifold_facets == 6
    assert result.report.merged_nodes == 7
    assert np.isclose(result.mesh.measures.sum(), 18)


@pytest.mark.parametrize(
    "options",
    [
        {"merge_distance": -1.0},
        {"merge_distance": np.nan},
        {"min_quality": 0.9},
        {"min_quality": np.nan},
        {"stiffness_ratio": 0.5},
        {"merge_distance": 100.0},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(InputError, match=r"^Got .*\. Wanted .*\. .*\.$"):
        repair(planar(1), **options)


def test_a_thin_part_of_its_own_does_not_vanish():
    """An island of one needle-shaped triangle cannot be made better, only told."""
    whole = planar(4)
    island = np.array([[20, 0], [21, 0], [21, 0.01]])
    mesh = Mesh(
        np.concatenate([whole.points, island]),
        np.concatenate([whole.cells, [len(whole.points) + np.arange(3)]]),
    )
    report = repair(mesh, keep="all").report
    assert report.nodes == report.nodes_before
    assert report.thin_cells_left == 1


def test_a_mesh_without_area_is_refused():
    with pytest.raises(InputError, match="without length, area or volume"):
        repair(Mesh([[0, 0], [1, 0], [2, 0]], [[0, 1, 2]]))


def test_the_real_atrium_loses_its_slivers_and_nothing_else(data):
    """60,100 nodes, five openings; the largest rate falls from 2.7e5 to below 300 /ms at 0.3 mm2/ms."""
    mesh = read_mesh(data / "atrium_dtmri" / "Labelled.pts").mesh
    result = repair(mesh)
    report = result.report
    assert 0.3 * report.stiffness_before > 1e5
    assert 0.3 * report.stiffness_after < 300
    assert report.collapsed_nodes < 0.005 * report.nodes_before
    assert report.turned_cells == 1
    assert report.thin_cells_left == 0
    assert euler_characteristic(result.mesh.cells) == euler_characteristic(mesh.cells) == -3
    assert components(boundary_facets(result.mesh.cells), report.nodes).max() == 4
    assert abs(result.mesh.measures.sum() / mesh.measures.sum() - 1) < 1e-4
    assert not reversed_cells(result.mesh.cells)[0].any()
    corner = result.mesh.points[result.mesh.cells]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    assert np.abs((normal * result.mesh.fibres).sum(axis=1)).max() < 1e-4
    again = repair(result.mesh)
    assert again.report.clean
    assert same_shape(again.mesh, result.mesh)


def test_the_real_map_becomes_one_clean_component(data):
    """An exported map surface: 8,848 nodes, of which 62 in a second part; activation times come along."""
    file = read_mesh(data / "eam_map" / "openep_mesh_2_dense.vtk")
    mesh, points = file.mesh, file.mesh.points
    result = repair(mesh)
    report = result.report
    main = components(mesh.cells, len(points)) == 0
    assert report.stray_components == 1
    assert report.stray_nodes == 62
    assert components(result.mesh.cells, report.nodes).max() == 0
    assert euler_characteristic(result.mesh.cells) == euler_characteristic(mesh.cells[main])
    assert len(boundary_facets(result.mesh.cells)) == report.boundary_after < report.boundary_before
    assert quality(result.mesh).min() > 0.05
    assert report.collapsed_nodes < 0.01 * len(points)
    assert report.stiffness_after < 0.05 * report.stiffness_before
    assert abs(result.mesh.measures.sum() / measures(points, mesh.cells[main]).sum() - 1) < 1e-4
    assert repair(result.mesh).report.clean
    times, known = file.point_data["LAT"], np.isfinite(file.point_data["LAT"])
    carried = result.carry(times)
    kept = known[result.origin]
    assert np.array_equal(carried[kept], times[result.origin][kept])
    assert np.isfinite(carried).sum() >= kept.sum()
