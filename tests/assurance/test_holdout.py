"""Splits: three sets that share no point, and a patch without any point of the fit."""

import numpy as np
import pytest

from jaxtwin._results import InputError
from jaxtwin.anatomy.generate import atrial_shell
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.assurance.holdout import hold_out
from jaxtwin.fem.geodesic import geodesic
from jaxtwin.fem.p1 import lumped_mass
from jaxtwin.mapping.data import MappingData


@pytest.fixture(scope="module")
def shell():
    mesh = atrial_shell(3.0)
    lat = np.linspace(0.0, 100.0, len(mesh.points))
    lat[::7] = np.nan
    return mesh, MappingData(mesh.points, lat)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_sets_are_disjoint_and_the_patch_is_whole(shell, seed):
    mesh, data = shell
    sets = hold_out(mesh, data, fit=100, held_out=60, patch_fraction=0.2, seed=seed)
    assert (sets.fit.sum(), sets.points.sum()) == (100, 60)
    together = sets.fit.astype(int) + sets.points + sets.patch
    assert together.max() == 1
    assert not (together.astype(bool) & ~data.valid).any()
    share = lumped_mass(mesh)[sets.patch].sum() / lumped_mass(mesh)[data.valid].sum()
    assert share == pytest.approx(0.2, abs=0.03)
    # A disc: from its middle, every point of it is nearer than every valid point that is not in it.
    inside = np.flatnonzero(sets.patch)
    reach = geodesic(mesh, inside)
    central = reach[reach[:, inside].max(axis=1).argsort()[:20]]
    others = data.valid & ~sets.patch
    assert (central[:, inside].max(axis=1) <= central[:, others].min(axis=1)).any()


def test_seeds_repeat_and_differ(shell):
    mesh, data = shell
    one, same, other = (hold_out(mesh, data, fit=50, held_out=50, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.fit, same.fit)
    assert (one.patch != other.patch).any()


def test_points_to_fit_are_spread_evenly_over_each_map(shell):
    """Nine tenths of the points of the first map lie in one place, and the second map has a fifth of all."""
    mesh, _ = shell
    crowd = np.repeat(mesh.points[:1], 540, axis=0) + np.linspace(0.0, 0.5, 540)[:, None]
    positions = np.concatenate([crowd, mesh.points[:60], mesh.points[-150:]])
    data = MappingData(positions, np.zeros(750), map_index=np.repeat([0, 1], [600, 150]), names=("a", "b"))
    sets = hold_out(mesh, data, fit=50, patch_fraction=0.0)
    assert np.bincount(data.map_index[sets.fit]).tolist() == [40, 10]
    assert sets.fit[:540].sum() <= 3


def test_all_that_is_left_and_no_patch(shell):
    mesh, data = shell
    sets = hold_out(mesh, data, held_out=10, patch_fraction=0.0)
    assert not sets.patch.any()
    assert sets.points.sum() == 10
    np.testing.assert_array_equal(sets.fit | sets.points, data.valid)


def test_the_patch_lies_on_the_largest_part(shell):
    mesh, _ = shell
    speck = np.array([[100.0, 0, 0], [101, 0, 0], [100, 1, 0]])
    cells = np.concatenate([mesh.cells, len(mesh.points) + np.arange(3)[None]])
    both = Mesh(np.concatenate([mesh.points, speck]), cells)
    data = MappingData(both.points, np.zeros(len(both.points)))
    for seed in range(3):
        sets = hold_out(both, data, fit=10, patch_fraction=0.1, seed=seed)
        assert sets.patch.sum() > 10
        assert not sets.patch[-3:].any()
    alone = MappingData(both.points, np.where(np.arange(len(both.points)) < len(mesh.points), np.nan, 1.0))
    with pytest.raises(InputError, match="largest part"):
        hold_out(both, alone, fit=1)


@pytest.mark.parametrize(
    "numbers", [{"fit": 10_000}, {"fit": 0}, {"held_out": 10_000}, {"held_out": -1}, {"patch_fraction": 1.0}]
)
def test_numbers_that_cannot_be_met(shell, numbers):
    with pytest.raises(InputError):
        hold_out(*shell, **numbers)


def test_silent_points_outside_the_patch_are_fitted():
    mesh = atrial_shell(4.0)
    silent = np.arange(len(mesh.points)) % 7 == 0
    data = MappingData(mesh.points, mesh.points[:, 0], silent=silent)
    sets = hold_out(mesh, data, fit=100, held_out=100, patch_fraction=0.2)
    assert (sets.fit & data.valid).sum() == 100
    assert not ((sets.points | sets.patch) & silent).any()
    kept = sets.fit & silent
    assert 0.7 < kept.sum() / silent.sum() < 0.9
