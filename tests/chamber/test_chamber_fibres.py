"""Rule-based fibres lie in the surface, follow the rule, and are as good as the docstring says."""

import numpy as np
import pytest

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import atrial_shell, sheet
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.meshfile import read_mesh
from jaxtwin.anatomy.openings import cut, openings
from jaxtwin.anatomy.refine import refine
from jaxtwin.anatomy.repair import repair
from jaxtwin.chamber.fibres import (
    BODY,
    LEFT_VEINS,
    RIGHT_VEINS,
    VALVE,
    carried_fibres,
    fibre_angle,
    rule_fibres,
)


def check(mesh, found):
    normal = np.cross(*(mesh.points[mesh.cells[:, 1:]] - mesh.points[mesh.cells[:, :1]]).swapaxes(0, 1))
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    np.testing.assert_allclose(np.linalg.norm(found.fibres, axis=1), 1.0, rtol=1e-9)
    assert np.abs((found.fibres * normal).sum(axis=1)).max() < 1e-6
    assert found.bundles.shape == (len(mesh.cells),)


def tube(radius=10.0, height=30.0, edge=1.5):
    """A cylinder open at both ends, the lower one of which can be closed."""
    around, up = round(2 * np.pi * radius / edge), round(height / edge)
    turn, z = np.meshgrid(2 * np.pi * np.arange(around) / around, height * np.arange(up + 1) / up)
    points = np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=2).reshape(-1, 3)
    k, row = np.meshgrid(np.arange(around), np.arange(up))
    a, b = row * around + k, row * around + (k + 1) % around
    cells = np.concatenate(
        [np.stack([a, b, b + around], -1), np.stack([a, b + around, a + around], -1)]
    ).reshape(-1, 3)
    return points, cells, around


@pytest.fixture(scope="module")
def shell():
    return atrial_shell(2.0)


def test_an_atrium_has_all_bundles(shell):
    found = rule_fibres(shell)
    check(shell, found)
    assert set(np.unique(found.bundles)) == {BODY, VALVE, LEFT_VEINS, RIGHT_VEINS}
    x = shell.centroids[:, 0]
    assert x[found.bundles == LEFT_VEINS].min() > x[found.bundles == RIGHT_VEINS].max()
    low = shell.centroids[:, 2]
    assert low[found.bundles == VALVE].max() < np.median(low)
    # fibres of the valve and of the veins run round them
    for ring, bundle in zip(openings(shell), (VALVE, None, None, None, None), strict=True):
        at = np.isin(shell.cells, ring.nodes).sum(axis=1) == 2
        both = np.isin(shell.cells[at], ring.nodes)
        ends = np.stack([row[keep] for row, keep in zip(shell.cells[at], both, strict=True)])
        rim = shell.points[ends[:, 1]] - shell.points[ends[:, 0]]
        rim /= np.linalg.norm(rim, axis=1)[:, None]
        assert np.median(fibre_angle(found.fibres[at], rim)) < 5.0
        assert bundle is None or (found.bundles[at] == bundle).all()


def test_sides_may_be_given(shell):
    rings = openings(shell)
    right = [k for k in range(1, 5) if rings[k].centre[0] < 0]
    found = rule_fibres(shell, rings, left=right)
    x = shell.centroids[:, 0]
    assert x[found.bundles == LEFT_VEINS].max() < 0 < x[found.bundles == RIGHT_VEINS].min()


def test_fewer_openings(shell):
    rings = openings(shell)
    for some in (rings[:1], rings[:2], rings[:3], rings[:4]):
        check(shell, rule_fibres(shell, some))
    tip = rule_fibres(shell, appendage=(20.0, -10.0, 0.0))
    check(shell, tip)
    assert fibre_angle(tip.fibres, rule_fibres(shell).fibres).max() > 10.0


@pytest.mark.parametrize("closed", [False, True])
def test_round_a_tube(closed):
    """One or two openings: fibres run round the axis, but where a closed end has no direction of its own."""
    points, cells, around = tube()
    if closed:
        points = np.concatenate([points, [[0.0, 0.0, 0.0]]])
        k = np.arange(around)
        lid = np.stack([(k + 1) % around, k, np.full(around, len(points) - 1)], axis=1)
        cells = np.concatenate([cells, lid])
    mesh = Mesh(points, cells)
    found = rule_fibres(mesh)
    check(mesh, found)
    centre = mesh.centroids
    wall = np.hypot(centre[:, 0], centre[:, 1]) > 9.0
    round_it = np.cross([0.0, 0.0, 1.0], centre)
    round_it /= np.linalg.norm(round_it, axis=1)[:, None]
    assert fibre_angle(found.fibres, round_it)[wall].max() < 3.0


def test_cells_without_a_gradient_follow_their_neighbours():
    """A second part without a ring of its own to the valve: the solution is flat there."""
    points, cells, _ = tube(edge=3.0)
    mesh = Mesh(points, cells)
    rings = openings(mesh)
    both_ends = rule_fibres(Mesh(points, cells), [rings[0]])
    check(mesh, both_ends)
    cap = cut(mesh, mesh.centroids[:, 2] > 12.0).mesh
    check(cap, rule_fibres(cap))


def test_carried_from_a_finer_mesh(shell):
    fine = refine(shell)
    found = carried_fibres(shell, fine)
    check(shell, found)
    assert np.median(fibre_angle(found.fibres, shell.fibres)) < 1e-3
    np.testing.assert_array_equal(found.bundles, shell.regions)
    assert found.distance_mm.max() < 1e-9
    assert found.on(shell).regions is not found.bundles
    np.testing.assert_array_equal(found.on(shell, regions=True).regions, found.bundles)


def test_what_is_far_follows_its_neighbours(shell):
    part = cut(shell, shell.centroids[:, 0] > 12.0).mesh
    found = carried_fibres(shell, part, furthest_mm=2.0)
    check(shell, found)
    assert (found.distance_mm > 2.0).any()
    assert any("too far" in note for note in found.notes)
    with pytest.raises(InputError, match="same coordinates"):
        carried_fibres(shell, Mesh(shell.points + 100.0, shell.cells, shell.fibres))


def test_against_fibres_by_another_rule(data):
    """FiberNet's atrium: 26 degrees in the median, 8 round the valve; at random it would be 45."""
    mesh = repair(read_mesh(data / "atrium_scar/LA_model.vtk").mesh).mesh
    found = rule_fibres(mesh)
    check(mesh, found)
    angle = fibre_angle(found.fibres, mesh.fibres)
    assert np.median(angle) < 28.0
    assert np.median(angle[found.bundles == VALVE]) < 10.0
    rng = np.random.default_rng(0)
    frame = np.linalg.qr((mesh.points[mesh.cells[:, 1:]] - mesh.points[mesh.cells[:, :1]]).swapaxes(1, 2))[0]
    turn = rng.uniform(0, np.pi, len(mesh.cells))
    chance = frame[:, :, 0] * np.cos(turn)[:, None] + frame[:, :, 1] * np.sin(turn)[:, None]
    assert abs(np.median(fibre_angle(chance, mesh.fibres)) - 45.0) < 1.0


def test_against_measured_fibres(data):
    """Diffusion tensors of one heart: better than chance in the left veins, not in the body. Said so in the
    docstring; a rule that did better would be welcome, and this test then wants another number."""
    mesh = read_mesh(data / "atrium_dtmri/Labelled.pts").mesh  # not repaired: it takes 6 s and 54 nodes
    found = rule_fibres(mesh, left=(1, 4))  # x grows to the right in this file: the appendage tells
    check(mesh, found)
    angle = fibre_angle(found.fibres, mesh.fibres)
    assert np.median(angle[np.isin(mesh.regions, (21, 23))]) < 32.0
    assert 46.0 < np.median(angle) < 54.0


def test_bad_input(shell):
    rings = openings(shell)
    with pytest.raises(InputError, match="in 2 dimensions"):
        rule_fibres(sheet(1.0, 1.0, 0.5))
    with pytest.raises(InputError, match="without an opening"):
        rule_fibres(shell, ())
    for bad in ({"valve": 5}, {"valve": -1}, {"left": (0, 1)}, {"left": (7,)}):
        with pytest.raises(InputError, match="different numbers"):
            rule_fibres(shell, rings, **bad)
    with pytest.raises(InputError, match="an appendage at"):
        rule_fibres(shell, appendage=(0.0, float("nan"), 0.0))
    with pytest.raises(InputError, match="a distance of"):
        carried_fibres(shell, shell, furthest_mm=0.0)
    small = cut(shell, shell.centroids[:, 2] > -8.0).mesh
    with pytest.raises(InputError, match="rings of this mesh"):
        rule_fibres(small, rings)
    with pytest.raises(InputError, match="up to 8 veins"):
        rule_fibres(shell, rings * 2)
    flat = Mesh(shell.points, np.concatenate([shell.cells, [[0, 1, 1]]]))
    with pytest.raises(InputError, match="without area"):
        rule_fibres(flat)
