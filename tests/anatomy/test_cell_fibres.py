"""Fibres on cells: unit vectors, or none at all, from the reader to the diffusion tensor."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin._results import InputError
from jaxtwin.anatomy import across_fibres, atrial_shell, read_mesh, refine, repair, write_mesh
from jaxtwin.anatomy.fibres import place_fibres
from jaxtwin.monodomain import turned_tensor


@pytest.fixture(scope="module")
def gap():
    """An atrium with a region without fibres, and the mask of that region."""
    shell = atrial_shell(4.0)
    without = shell.regions == np.bincount(shell.regions).argmax()
    return jt.Mesh(
        shell.points, shell.cells, np.where(without[:, None], 0.0, shell.fibres), shell.regions
    ), without


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_cells_without_a_fibre_stay_without(gap, nothing):
    mesh, without = gap
    axes = np.where(without[:, None], nothing, mesh.fibres)
    fibres, notes = place_fibres(mesh.points, mesh.cells, axes)
    np.testing.assert_allclose(fibres, mesh.fibres, atol=1e-12)
    said = f"{without.sum()} of {len(without)} cells without a fibre (zero or NaN): isotropic"
    assert any(note.startswith(said) for note in notes)


def test_a_fibre_normal_to_its_cell_follows_its_neighbours_and_a_missing_one_does_not():
    mesh = jt.sheet(10.0, 10.0, 1.0)
    points = np.pad(mesh.points, ((0, 0), (0, 1)))
    axes = np.pad(mesh.fibres, ((0, 0), (0, 1)))
    axes[7], axes[9] = (0.0, 0.0, 1.0), 0.0
    fibres, notes = place_fibres(points, mesh.cells, axes)
    assert abs(fibres[7, 0]) == pytest.approx(1.0)
    assert not fibres[9].any()
    assert any("1 of" in note and "isotropic" in note for note in notes)


@pytest.mark.parametrize("name", ["heart.vtu", "heart.pts"])
def test_they_survive_a_round_trip_repair_and_refinement(gap, tmp_path, name):
    mesh, without = gap
    write_mesh(tmp_path / name, mesh)
    found = read_mesh(tmp_path / name).mesh
    np.testing.assert_array_equal(~found.fibres.any(axis=1), without)
    assert (~refine(found).fibres.any(axis=1)).sum() == 4 * without.sum()
    # a sliver in the region without fibres, so that its neighbours change
    cell = int(np.flatnonzero(without)[0])
    a, b, c = mesh.cells[cell]
    inside = mesh.points[[a, b, c]].T @ [0.499, 0.499, 0.002]
    split = [[a, b, len(mesh.points)], [b, c, len(mesh.points)], [c, a, len(mesh.points)]]
    cells = np.concatenate([np.delete(mesh.cells, cell, axis=0), split])
    fibres = np.concatenate([np.delete(mesh.fibres, cell, axis=0), np.zeros((3, 3))])
    mended = repair(jt.Mesh(np.concatenate([mesh.points, inside[None]]), cells, fibres))
    assert not mended.report.clean
    np.testing.assert_array_equal(mended.mesh.fibres.any(axis=1), fibres[mended.cells].any(axis=1))


def test_the_tensor_there_is_the_transverse_one_in_both_parameterisations(gap):
    mesh, without = gap
    across = across_fibres(mesh)
    assert not across[without].any()
    tensor = np.asarray(jt.diffusion_tensor(mesh.fibres, 0.3, 4.0))
    np.testing.assert_allclose(tensor[without], np.tile(0.075 * np.eye(3), (without.sum(), 1, 1)))
    count = len(without)
    half = jnp.full(count, 0.5 * np.log(4.0))
    turned = turned_tensor(mesh.fibres, across, jnp.full(count, 0.3), half, 0.0 * half)
    np.testing.assert_allclose(turned[without], tensor[without], rtol=1e-12)
    along = np.einsum("ci,cij,cj->c", mesh.fibres, np.asarray(turned), mesh.fibres)
    np.testing.assert_allclose(along[~without], 0.3, rtol=1e-12)


def test_other_lengths_are_refused():
    with pytest.raises(InputError, match="1 fibres that are not unit vectors, the first in cell 0"):
        jt.Mesh([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0, 1, 2]], [[0.5, 0.0]])
