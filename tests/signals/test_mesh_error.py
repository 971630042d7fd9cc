"""The estimated numerical error against the true one, on meshes whose wave is known."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.fem import Space
from jaxtwin.signals import numerical_error, plane_wave_speed
from jaxtwin.signals.mesh_error import error_of_blend
from jaxtwin.signals.speed import critical_coupling


def cable(edge: float, share: float) -> tuple[jt.Tissue, jt.Times, np.ndarray]:
    """20 mm of cable, D = 0.1, excited at one end by a pulse that is smooth in space."""
    mesh = jt.cable(20.0, edge)
    x = mesh.points[:, 0]
    start = jt.pulse(np.arange(len(x)), len(x), strength=0.6 / (1.0 + np.exp((x - 1.5) / 0.2)))
    tensor = jnp.full((len(mesh.cells), mesh.dim, mesh.dim), 0.1)
    return (
        jt.Tissue(Space(mesh, consistent_mass=share), jt.MitchellSchaeffer(), tensor, start),
        jt.Times(80.0, 0.1),
        x,
    )


def activation(tissue: jt.Tissue, times: jt.Times) -> np.ndarray:
    return np.asarray(jt.simulate(tissue, times, recorders=(jt.ActivationTimes(),)).records[0])


@pytest.mark.parametrize(("share", "edge"), [(0.5, 0.5), (0.0, 0.5), (0.25, 0.25)])
def test_estimate_is_of_the_size_of_the_error(share, edge):
    """Within a factor of 3 of the error against a mesh ten times as fine, judged on the same mesh."""
    fine, times, x_fine = cable(0.05, 0.5)
    tissue, _, x = cable(edge, share)
    lat = activation(tissue, times)
    true = np.interp(x, x_fine, activation(fine, times)) - lat
    error = numerical_error(tissue, times, lat)
    far = x > 5.0
    ratio = np.sqrt(np.mean(error.of_nodes[far] ** 2) / np.mean(true[far] ** 2))
    assert 1 / 3 < ratio < 3
    assert error.split == 0
    assert error.rms <= error.largest


def test_nodes_that_only_one_solve_reaches_are_counted_and_have_no_number():
    lat, other = np.array([1.0, 20.0, np.nan, 30.0]), np.array([1.0, 21.0, 25.0, np.nan])
    error = error_of_blend(lat, other, 0.5, 0.0)
    assert error.split == 2
    np.testing.assert_array_equal(np.isnan(error.of_nodes), [False, False, True, True])
    assert error.largest == pytest.approx(8.0 * 1.0 / 19.0)


def test_block_by_the_mesh_alone_is_told_from_a_wave_that_has_not_come():
    """Edges of 2 mm, D across 0.006 mm2/ms: one row conducts, as the mesh is too coarse across. In lesions
    without diffusivity and where the run ends too soon nothing of the kind is said."""
    mesh = jt.sheet(12.0, 24.0, 2.0)
    at_left = mesh.points[:, 1] < 5.0
    times = jt.Times(60.0, 0.2)

    def error(along, ratio, lesion=None):
        tensor = jt.diffusion_tensor(mesh.fibres, jnp.full(len(mesh.cells), along), ratio)
        if lesion is not None:
            tensor = jnp.where(jnp.asarray(lesion)[:, None, None], 0.0, tensor)
        tissue = jt.Tissue(Space(mesh), jt.MitchellSchaeffer(), tensor, jt.pulse(at_left, len(at_left)))
        lat = activation(tissue, times)
        return numerical_error(tissue, times, lat), np.isfinite(lat)

    coarse, reached = error(0.024, 4.0)
    np.testing.assert_array_equal(reached, at_left)
    assert (coarse.split, coarse.blocked) == (0, (~at_left).sum())
    (note,) = coarse.notes()
    assert note.startswith(f"{(~at_left).sum()} nodes are not activated in cells whose edges are too long")
    ablated, reached = error(0.1, 1.0, mesh.centroids[:, 1] > 12.0)
    assert 0.3 < reached.mean() < 0.7
    assert (ablated.blocked, ablated.notes()) == (0, [])


@pytest.mark.parametrize("ionic", [jt.MitchellSchaeffer(), jt.ModifiedMitchellSchaeffer()])
def test_a_wave_blocks_below_the_critical_coupling_and_not_above(ionic):
    critical = critical_coupling(ionic)
    for factor, travels in ((0.8, False), (1.25, True)):
        for edge in (0.5, 1.0):
            speed = plane_wave_speed(ionic, factor * critical * edge**2, edge=edge, dt=0.1)
            assert (speed > 0.0) is travels


def test_a_tissue_at_rest_has_no_estimate():
    nothing = np.full(3, np.nan)
    error = error_of_blend(nothing, nothing, 0.5, 0.0)
    assert error.split == 0
    assert np.isnan([error.rms, error.largest]).all()
