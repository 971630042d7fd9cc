"""Circling waves are refused; waves from a source are not, whatever block, scar and noise do to them."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import atrial_shell, cable, sheet, slab
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.meshfile import read_mesh
from jaxtwin.anatomy.repair import repair
from jaxtwin.mapping.data import MappingData
from jaxtwin.mapping.reentry import refuse_reentry, seams

AXES = np.array([24.0, 20.0, 18.0])
SHELL, SHEET = atrial_shell(2.0, tuple(AXES)), sheet(60.0, 60.0, 2.0, distortion=0.15)
SPEED = 0.4  # mm/ms, slow enough for ranges of 150 ms and more


def travel(mesh, sources, cells=None, slow=None):
    """Arrival at the nodes, ms, along edges of `cells`; `slow` divides the speed at the nodes."""
    part = Mesh(mesh.points, mesh.cells if cells is None else mesh.cells[cells])
    cost = part.edge_lengths / SPEED
    if slow is not None:
        cost = cost * slow[part.edges].mean(axis=1)
    graph = sp.csr_array((cost, part.edges.T), shape=(len(mesh.points),) * 2)
    return dijkstra(graph, directed=False, indices=sources, min_only=True)


def nearest(mesh, place):
    return int(np.linalg.norm(mesh.points - place, axis=1).argmin())


def measured(mesh, lat, rng, count=300, noise=5.0, outliers=0.1, cycle=None):
    """A map at random nodes: Student-t noise and gross outliers; annotated within a window if circling."""
    nodes = rng.permutation(np.flatnonzero(np.isfinite(lat)))[:count]
    times = lat[nodes] + noise / np.sqrt(3) * rng.standard_t(3, len(nodes))
    low, high = (0.0, cycle) if cycle else (lat[nodes].min() - 50, lat[nodes].max() + 50)
    if cycle:
        times %= cycle
    gross = rng.random(len(nodes)) < outliers
    times[gross] = rng.uniform(low, high, gross.sum())
    return MappingData(mesh.points[nodes] + rng.normal(0, 0.3, (len(nodes), mesh.dim)), times)


def angle(points, centre=(0.0, 0.0)):
    return np.arctan2(points[:, 1] - centre[1], points[:, 0] - centre[0])


def from_a_source(name, rng):
    """Mesh and times of a wave that starts somewhere."""
    if name == "one source on a sheet":
        return SHEET, travel(SHEET, [rng.integers(len(SHEET.points))])
    if name == "one source on a shell":
        return SHELL, travel(SHELL, [rng.integers(len(SHELL.points))])
    if name == "three sources":
        return SHELL, 2 * travel(SHELL, rng.integers(len(SHELL.points), size=3))
    if name == "late patch round a vein":
        slow = np.where(
            np.abs(np.linalg.norm(SHELL.points / AXES - [0.75, 0.1, 0.65], axis=1) - 0.5) < 0.1, 6, 1
        )
        return SHELL, travel(SHELL, [rng.integers(len(SHELL.points))], slow=slow)
    centre, turn = rng.uniform(25, 35, 2), rng.uniform(-np.pi, np.pi)
    if name == "scar that conducts slowly":
        along = (SHEET.points - centre) @ [np.cos(turn), np.sin(turn)]
        across = (SHEET.points - centre) @ [-np.sin(turn), np.cos(turn)]
        slow = np.where((np.abs(across) < 4) & (np.abs(along) < 20), 8, 1)
        return SHEET, travel(SHEET, [rng.integers(len(SHEET.points))], slow=slow)
    if name == "line of block":
        along = (SHEET.centroids - centre) @ [np.cos(turn), np.sin(turn)]
        across = (SHEET.centroids - centre) @ [-np.sin(turn), np.cos(turn)]
        source = centre + 4 * np.array([-np.sin(turn), np.cos(turn)])
        return SHEET, travel(SHEET, [nearest(SHEET, source)], (np.abs(across) > 1.5) | (np.abs(along) > 14))
    # the wave starts at the back of a C and leaves through its mouth: early meets late across the back
    radius = rng.uniform(10, 16)
    apart = np.linalg.norm(SHEET.centroids - centre, axis=1)
    mouth = np.cos(angle(SHEET.centroids, centre) - turn) > np.cos(0.4)
    source = centre - 0.7 * radius * np.array([np.cos(turn), np.sin(turn)])
    return SHEET, travel(SHEET, [nearest(SHEET, source)], mouth | (np.abs(apart - radius) > 1.3))


def circling(name, rng):
    """Mesh, times and cycle of a re-entrant wave."""
    cycle, start, side = rng.uniform(170, 260), rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
    if name == "spiral":
        centre = rng.uniform(22, 38, 2)
        mesh = SHEET
        phase = side * angle(mesh.points, centre) + 0.1 * np.linalg.norm(mesh.points - centre, axis=1)
    elif name == "figure of eight":
        # through the isthmus between two lines of block, back round the ends of both
        half, apart = rng.uniform(10, 14), rng.uniform(8, 11)
        x, y = np.abs(SHEET.centroids - 30).T
        block = (x < half) & (np.abs(y - apart) < 2.0)
        gate = (y < apart) & (np.abs(SHEET.centroids[:, 0] - 31) < 1.3)
        beside = np.unique(SHEET.cells[gate])
        after = SHEET.points[beside, 0] > 31
        lat = travel(SHEET, beside[after], ~block & ~gate)
        mesh, phase = SHEET, 2 * np.pi * lat / (lat[beside[~after]].min() + 2.0 / SPEED)
        phase[np.isinf(phase)] = np.nan
    elif name == "round the mitral valve":
        mesh = SHELL
        phase = side * angle(mesh.points) + rng.uniform(-0.03, 0.03) * mesh.points[:, 2]
    else:
        mesh = SHELL
        axis = np.array([0.75, 0.12, 0.65])
        first = np.cross(axis, [0, 1, 0.3])
        phase = angle(mesh.points / AXES @ np.stack([first, np.cross(axis, first)], axis=1)) * side
    return mesh, cycle * ((phase + start) / (2 * np.pi) % 1.0), cycle


SOURCES = [
    "one source on a sheet", "one source on a shell", "three sources", "late patch round a vein",
    "scar that conducts slowly", "line of block", "C of block",
]  # fmt: skip
CIRCUITS = ["spiral", "figure of eight", "round the mitral valve", "round a vein"]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    ("count", "noise", "outliers"), [(200, 5.0, 0.1), (1000, 10.0, 0.1), (1000, 0.0, 0.0)]
)
def test_waves_from_a_source_pass(name, count, noise, outliers):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        mesh, lat = from_a_source(name, rng)
        refuse_reentry(mesh, measured(mesh, lat, rng, count, noise, outliers))


@pytest.mark.parametrize("name", CIRCUITS)
@pytest.mark.parametrize(
    ("count", "noise", "outliers"), [(500, 5.0, 0.1), (1000, 10.0, 0.1), (1000, 0.0, 0.0)]
)
def test_circling_waves_are_refused(name, count, noise, outliers):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        mesh, lat, cycle = circling(name, rng)
        data = measured(mesh, lat, rng, count, noise, outliers, cycle)
        with pytest.raises(InputError, match="early meets late"):
            refuse_reentry(mesh, data)


def test_the_jump_across_a_c_of_block_is_a_whole_cycle_in_one_place_only():
    """What tells it from re-entry is how much of the line has such a jump, not how large the jump is."""
    mesh, lat = from_a_source("C of block", np.random.default_rng(34))
    reached = np.isfinite(lat)
    (seam,) = seams(mesh, mesh.points[reached], lat[reached])
    assert seam.jump > 0.9
    assert seam.pairs >= 5  # as many as a circuit needs
    assert 0.2 < seam.share < 0.35
    refuse_reentry(mesh, MappingData(mesh.points[reached], lat[reached]))


@pytest.mark.parametrize("centre", [(30.0, 30.0), (30.0, 0.0), (0.0, 0.0)])
def test_a_late_patch_has_no_winding_even_if_the_whole_range_lies_between(centre):
    """Within the surface its seam is closed, at the edge it returns to the rim where it began."""
    lat = np.where(np.linalg.norm(SHEET.points - centre, axis=1) < 18, 200.0, SHEET.points[:, 0] / 10)
    cells = SHEET.cells.copy()
    turn = np.random.default_rng(0).random(len(cells)) < 0.5
    cells[turn] = cells[turn][:, ::-1]  # nor does it matter which way the triangles are turned
    for mesh in (SHEET, Mesh(SHEET.points, cells)):
        assert seams(mesh, mesh.points, lat) == []


def test_the_message_names_map_place_and_jump():
    rng = np.random.default_rng(0)
    mesh, lat, cycle = circling("spiral", rng)
    focal = measured(mesh, travel(mesh, [0]), rng)
    round_ = measured(mesh, lat, rng, cycle=cycle)
    both = MappingData(
        np.concatenate([focal.positions, round_.positions]),
        np.concatenate([focal.lat_ms, round_.lat_ms]),
        map_index=np.repeat([0, 1], [len(focal.lat_ms), len(round_.lat_ms)]),
        names=("pacing", "tachycardia"),
    )
    refuse_reentry(mesh, focal)
    with pytest.raises(InputError, match=r"map 'tachycardia'.*about \(\d+, \d+\) mm") as error:
        refuse_reentry(mesh, both)
    assert "line of block" in error.value.do
    (seam,) = (s for s in seams(mesh, round_.positions, round_.lat_ms) if s.reentrant)
    assert f"{seam.pairs} pairs" in error.value.got
    assert 0.8 * cycle < seam.cycle < 1.02 * cycle  # medians fall short of both ends
    assert seam.jump == pytest.approx(1.0, abs=0.1)
    away = np.abs(lat / cycle - 0.5)[np.linalg.norm(mesh.points - seam.place, axis=1) < 3]
    assert away.min() > 0.35  # the place is on the front, where the times are first or last
    refuse_reentry(mesh, both.of_map(0))


def test_the_flutter_goes_round_both_rims_and_has_no_core():
    """Between the mitral valve and a vein, with the others passed by."""
    rng = np.random.default_rng(3)
    mesh, lat, _ = circling("round the mitral valve", rng)
    ring = np.abs(mesh.centroids[:, 2]) < 9
    band = Mesh(mesh.points, mesh.cells[ring])
    nodes = np.unique(band.cells)
    found = [s for s in seams(band, mesh.points[nodes], lat[nodes]) if s.reentrant]
    assert [s.rimmed for s in found] == [True]
    assert found[0].share > 0.9


def test_cells_may_be_turned_and_nodes_unused():
    rng = np.random.default_rng(5)
    for mesh, lat, refused in (
        (*circling("round the mitral valve", rng)[:2], True),
        (*from_a_source("late patch round a vein", rng), False),
    ):
        cells = mesh.cells.copy()
        turn = rng.random(len(cells)) < 0.5
        cells[turn] = cells[turn][:, ::-1]
        mixed = Mesh(np.concatenate([mesh.points, [[90.0, 0, 0]]]), cells)
        one, two = (seams(m, mesh.points, lat) for m in (mesh, mixed))
        assert [(s.pairs, s.share) for s in one] == [(s.pairs, pytest.approx(s.share)) for s in two]
        assert any(s.reentrant for s in two) == refused


def test_a_line_of_block_taken_out_of_the_mesh_is_not_crossed():
    """A beat paced beside a complete line of block, from a hole to the edge: a seam from rim to rim until the
    mesh has the line too."""
    ring = np.abs(SHEET.centroids - 30).max(axis=1) > 5
    line = (np.abs(SHEET.centroids[:, 1] - 30) < 1.5) & (SHEET.centroids[:, 0] > 30)
    lat = travel(SHEET, [nearest(SHEET, [50.0, 33.0])], ring & ~line)
    reached = np.isfinite(lat)
    crossed, opened = (Mesh(SHEET.points, SHEET.cells[cells]) for cells in (ring, ring & ~line))
    (seam,) = seams(crossed, SHEET.points[reached], lat[reached])
    assert seam.rimmed
    assert not seam.reentrant
    assert seams(opened, SHEET.points[reached], lat[reached]) == []


def test_the_outside_of_a_volume():
    block = slab(40.0, 40.0, 4.0, 2.0)
    phase = angle(block.points, (20.0, 20.0))
    data = MappingData(block.points, 200.0 * (phase / (2 * np.pi) % 1.0))
    with pytest.raises(InputError, match="early meets late"):
        refuse_reentry(block, data)
    refuse_reentry(block, MappingData(block.points, 4 * block.points[:, 0]))


def test_where_no_circuit_can_be_told():
    rng = np.random.default_rng(0)
    line = cable(200.0, 1.0)
    refuse_reentry(line, MappingData(line.points, 200 * rng.random(201)))
    mesh, lat, _ = circling("spiral", rng)
    refuse_reentry(mesh, MappingData(mesh.points[::30], lat[::30]))  # 33 points
    refuse_reentry(mesh, MappingData(mesh.points, 0.3 * lat))  # faster than tissue recovers
    refuse_reentry(mesh, MappingData(mesh.points, np.full(len(lat), 7.0)))


def test_the_real_map_passes(data):
    file = read_mesh(data / "eam_map" / "openep_mesh_2_dense.vtk")
    repaired = repair(file.mesh)
    points = MappingData.from_mesh_array(repaired.mesh.points, repaired.carry(file.point_data["LAT"]))
    refuse_reentry(repaired.mesh, points)
    rng = np.random.default_rng(0)
    for count in (200, 1000):
        refuse_reentry(repaired.mesh, measured(repaired.mesh, points.lat_ms, rng, count))


@pytest.mark.parametrize("name", ["activation_times", "activation_times_scar"])
def test_computed_times_with_a_scar_pass(data, name):
    file = read_mesh(data / "atrium_scar" / "LA_model.vtk")
    rng = np.random.default_rng(0)
    lat = np.asarray(file.point_data[name], float)
    refuse_reentry(file.mesh, MappingData(file.mesh.points, lat))
    refuse_reentry(file.mesh, measured(file.mesh, lat, rng))
