"""Rays of a front: the delays of plane waves exactly, the derivative of the monodomain equation nearly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.monodomain import eikonal, magnitude, rays, turned_tensor

SHEET = jt.sheet(12.0, 8.0, 0.5, fibre_angle=0.5, distortion=0.15)
NODES = len(SHEET.points)


@pytest.mark.parametrize("mesh", [SHEET, jt.slab(6.0, 4.0, 3.0, 1.0, distortion=0.1)], ids=["2-D", "3-D"])
def test_a_plane_wave_is_delayed_on_its_way_and_nowhere_else(mesh):
    """T = x/c in uniform tissue: d T_i/dq summed over the nodes is -T_i, and only nodes with less x count."""
    along = np.asarray(jt.diffusion_tensor(np.eye(mesh.dim)[np.zeros(len(mesh.cells), int)], 0.2, 1.0))
    x = mesh.points[:, 0]
    found = rays(mesh, along, x / 0.5, np.flatnonzero(x == 0.0))
    pulled = -found.push(np.eye(len(x)))
    np.testing.assert_allclose(pulled.sum(axis=1), -x / 0.5, atol=1e-9)
    assert np.abs(pulled[x[:, None] < x[None] - 1e-9]).max() == 0.0
    assert (found.delay >= 0).all()


def test_delays_that_are_pushed_along_rays_are_those_that_are_pulled_back():
    random = np.random.default_rng(2)
    lat = np.linalg.norm(SHEET.points, axis=1) + 0.3 * random.random(NODES)  # rays from later nodes too
    tensor = np.asarray(jt.diffusion_tensor(SHEET.fibres, 0.2, 4.0))
    found = rays(SHEET, tensor, lat, np.flatnonzero(lat < 2.0))
    slower = random.normal(0.0, 0.1, (NODES, 3))
    pulled = -found.push(np.eye(NODES))
    pushed = found.push(slower)
    np.testing.assert_allclose(pushed, -pulled @ slower, atol=1e-6)
    weights = random.normal(0.0, 1.0, (NODES, 3))
    collected = found.collect(weights)
    np.testing.assert_allclose(np.vdot(collected, slower), np.vdot(weights, pushed), rtol=1e-9)
    np.testing.assert_allclose(collected, -(pulled.T @ weights), atol=1e-6)


def test_nodes_without_a_wave_have_no_rays():
    lat = np.where(SHEET.points[:, 0] < 6.0, SHEET.points[:, 0], np.nan)
    tensor = np.asarray(jt.diffusion_tensor(SHEET.fibres, 0.2, 4.0))
    found = rays(SHEET, tensor, lat, np.flatnonzero(lat == 0.0))
    pulled = -found.push(np.eye(NODES))
    assert np.isfinite(pulled).all()
    assert not found.delay[np.isnan(lat)].any()


def test_the_derivative_along_rays_is_close_to_that_of_the_equation():
    """Eight Matern modes of log D on a sheet with anisotropy: within 10 % away from the stimulus, in all; a
    ray that ran along the gradient instead of D times the gradient would miss by more than twice that."""
    modes = jt.matern_modes(SHEET, correlation_length=10.0, count=8)
    model = jt.LogDiffusivity(jt.field(modes, 0.3), reference=0.2, floor=0.02, ceiling=1.0, ratio=4.0)
    stimulus = jt.pulse(jt.in_sphere(SHEET, [0.0, 0.0], 1.6), NODES)
    twin = jt.Twin(
        SHEET, cells=jt.MitchellSchaeffer(), tissue_map=model, beats=(stimulus,),
        times=jt.Times(60.0, 0.2), adjoint=jt.ForwardMode(),
    )  # fmt: skip
    truth = jnp.asarray(np.random.default_rng(0).standard_normal(9))
    theta = twin.mean() | {"tissue": {"diffusivity": truth}}

    def activation(z):
        return twin.solve(theta | {"tissue": {"diffusivity": z}}, twin.beats[0]).activation

    exact = np.asarray(jax.jit(jax.jacfwd(activation))(truth))
    lat = np.asarray(activation(truth))
    starts, _ = stimulus.starts()
    paths = rays(SHEET, np.asarray(twin.diffusivity(theta)), lat, starts)

    def pace(z):
        d = twin.diffusivity(theta | {"tissue": {"diffusivity": z}})[paths.cell]
        return 0.5 * jnp.log(jnp.einsum("nd,nde,ne->n", paths.slope, d, paths.slope) + 1e-12)

    nearly = -paths.push(np.eye(NODES)) @ np.asarray(jax.jacfwd(pace)(truth))
    far = np.linalg.norm(SHEET.points, axis=1) > 5.0
    # what happens at the stimulus shifts all points alike, which the clock of a map takes out
    gap = (nearly - exact)[far]
    gap -= gap.mean(axis=0)
    assert np.linalg.norm(gap) < 0.1 * np.linalg.norm(exact[far])


def test_the_turned_tensor_is_the_one_of_turned_fibres():
    """Fibres turned by 0.4 rad with a ratio of 5, and the same from the coordinates of log D."""
    angle, ratio, count = 0.4, 5.0, 3
    f, p = np.tile([1.0, 0.0], (count, 1)), np.tile([0.0, 1.0], (count, 1))
    turned = np.tile([np.cos(angle), np.sin(angle)], (count, 1))
    beta = 0.5 * np.log(ratio)
    stretch, shear = (jnp.full(count, beta * g(2 * angle)) for g in (np.cos, np.sin))
    found = turned_tensor(f, p, jnp.full(count, 0.3), stretch, shear)
    np.testing.assert_allclose(found, jt.diffusion_tensor(turned, 0.3, ratio), rtol=1e-12)


def test_the_turned_tensor_has_a_derivative_where_there_is_no_direction():
    """At stretch and shear 0: that of log D itself, f f^T - p p^T."""
    f, p, one, zero = np.asarray([[1.0, 0.0]]), np.asarray([[0.0, 1.0]]), jnp.ones(1), jnp.zeros(1)

    def tensor(b):
        # the mean over all directions stays as it is
        return turned_tensor(f, p, one * jnp.exp(magnitude(b, 0.0)), b, zero)

    np.testing.assert_allclose(tensor(zero)[0], np.eye(2))
    slope = (tensor(zero + 1e-4) - tensor(zero - 1e-4))[0] / 2e-4
    np.testing.assert_allclose(slope, [[1.0, 0.0], [0.0, -1.0]], atol=1e-6)


def wave(mesh, ratio: float):
    """Times of an eikonal wave from one corner, from exact ones around it, and the exact times: ms."""
    tensor = np.asarray(jt.diffusion_tensor(jnp.asarray(mesh.fibres), 0.3, ratio), np.float64)
    metric = np.linalg.inv(tensor[0])
    exact = np.sqrt(np.einsum("ni,ij,nj->n", mesh.points, metric, mesh.points)) / 0.8
    starts = np.flatnonzero(np.linalg.norm(mesh.points, axis=1) < 3.0)
    return eikonal(mesh, tensor, 0.8, starts, exact[starts])[0], exact


@pytest.mark.parametrize("ratio", [1.0, 4.0, 25.0])
def test_eikonal_waves_are_first_order_on_a_sheet(ratio):
    """Also where the metric of D makes needles of the triangles; never early."""
    errors = []
    for edge in (1.0, 0.5, 0.25):
        found, exact = wave(jt.sheet(20.0, 20.0, edge, fibre_angle=0.5, distortion=0.15), ratio)
        assert (found > exact - 1e-9).all()
        errors.append((found - exact).mean())
    orders = np.log2(np.asarray(errors[:-1]) / errors[1:])
    assert orders.min() > 0.8
    assert errors[-1] < 0.02 * exact.max()


def test_eikonal_waves_are_first_order_in_a_slab():
    errors = []
    for edge in (1.5, 0.75):
        found, exact = wave(jt.slab(12.0, 9.0, 6.0, edge, distortion=0.1), 4.0)
        assert (found > exact - 1e-9).all()
        errors.append((found - exact).mean())
    assert np.log2(errors[0] / errors[1]) > 0.7


def test_the_rays_of_an_eikonal_wave_are_its_derivative():
    """By tensors that change in size and in direction, against central differences."""
    random, cells = np.random.default_rng(0), len(SHEET.cells)
    tensor = np.asarray(jt.diffusion_tensor(jnp.asarray(SHEET.fibres), 0.3, 4.0), np.float64)
    tensor = tensor * np.exp(0.3 * random.standard_normal(cells))[:, None, None]
    change = 0.01 * random.standard_normal((cells, 2, 2))
    change = change + change.swapaxes(1, 2)
    starts, onset = np.array([0, 1]), np.array([0.0, 0.5])

    def arrival(step):
        return eikonal(SHEET, tensor + step * change, 0.6, starts, onset)

    numbers = (arrival(1e-6)[0] - arrival(-1e-6)[0]) / 2e-6
    _, found = arrival(0.0)
    slope, cell = found.slope, found.cell
    passed = found.delay > 0
    rate = np.einsum("nd,nde,ne->n", slope, 0.36 * tensor[cell], slope)
    np.testing.assert_allclose(rate[passed], 1.0, rtol=1e-12)
    faster = 0.5 * np.einsum("nd,nde,ne->n", slope, 0.36 * change[cell], slope)
    pulled = -found.push(np.eye(NODES)) @ faster
    np.testing.assert_allclose(pulled, numbers, atol=1e-6 * np.abs(numbers).max())


def test_eikonal_waves_start_at_their_onset_and_stay_in_their_part():
    """Two squares without a common node: the second has no wave; a start that is overrun keeps its time."""
    one = jt.sheet(4.0, 4.0, 1.0)
    mesh = jt.Mesh(
        np.concatenate([one.points, one.points + 10.0]),
        np.concatenate([one.cells, one.cells + len(one.points)]),
        np.concatenate([one.fibres, one.fibres]),
    )  # fmt: skip
    tensor = np.tile(0.2 * np.eye(2), (len(mesh.cells), 1, 1))
    found, paths = eikonal(mesh, tensor, 1.0, np.array([0, 7]), np.array([3.0, 50.0]))
    assert found[0] == 3.0
    assert found[7] == 50.0
    assert np.isfinite(found[: len(one.points)]).all()
    assert np.isnan(found[len(one.points) :]).all()
    assert np.isfinite(paths.push(np.eye(len(found)))).all()


def test_eikonal_waves_need_a_start_and_a_speed():
    tensor = np.tile(0.2 * np.eye(2), (len(SHEET.cells), 1, 1))
    with pytest.raises(jt.InputError, match="no node where a wave starts"):
        eikonal(SHEET, tensor, 1.0, np.zeros(0, int), np.zeros(0))
    found, paths = eikonal(SHEET, tensor, 0.0, np.array([5]), np.array([2.0]))
    assert np.flatnonzero(np.isfinite(found)).tolist() == [5]
    assert not paths.delay.any()
