"""Matern modes: eigenpairs, the closed-form covariance, and what must not change them."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.linalg import ArpackNoConvergence
from scipy.special import kv

from jaxtwin._results import InputError, SolveError
from jaxtwin.anatomy.generate import cable, sheet, slab
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.fem.matern import _eigenpairs, _laplacian, laplace_modes, matern_modes
from jaxtwin.fem.p1 import lumped_mass

RHO = 16.0  # mm


@pytest.fixture(scope="module")
def square():
    """48 x 48 mm with edges of 1 mm: fine enough for the modes that carry 97 % of the variance."""
    mesh = sheet(48.0, 48.0, 1.0)
    return mesh, matern_modes(mesh, correlation_length=RHO, count=190)


@pytest.mark.parametrize("dense", [0, 2000])
def test_eigenpairs_of_both_solvers(dense, monkeypatch):
    monkeypatch.setattr("jaxtwin.fem.matern.DENSE", dense)
    mesh = sheet(30.0, 20.0, 1.0, distortion=0.1)
    stiffness, mass = _laplacian(mesh)
    lam, phi = _eigenpairs(stiffness, mass, 30)
    np.testing.assert_allclose(phi.T @ (mass[:, None] * phi), np.eye(30), atol=1e-10)
    np.testing.assert_allclose(stiffness @ phi, mass[:, None] * phi * lam, atol=1e-5)
    exact = np.sort([(np.pi * i / 30) ** 2 + (np.pi * j / 20) ** 2 for i in range(12) for j in range(12)])
    np.testing.assert_allclose(lam, exact[:30], rtol=0.06, atol=1e-9)
    assert lam[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("corners", [3, 4])
def test_slivers_change_no_mode(corners, monkeypatch):
    """Needles and caps whose diagonal is 1e5 times that of healthy nodes: a bump of no volume on a face."""
    monkeypatch.setattr("jaxtwin.fem.matern.DENSE", 0)
    mesh = sheet(30.0, 20.0, 1.0) if corners == 3 else slab(12.0, 8.0, 4.0, 1.0)
    cells = np.random.default_rng(0).choice(len(mesh.cells), 20, replace=False)
    corner, rest = mesh.cells[cells, :1], mesh.cells[cells, 1:]
    new = len(mesh.points) + np.arange(20)[:, None]
    # a point of the cell next to its first corner cuts it into slivers and one large cell
    points = mesh.points[corner[:, 0]] * (1 - 1e-5) + mesh.points[rest].mean(axis=1) * 1e-5
    parts = [np.delete(mesh.cells, cells, axis=0)]
    for k in range(corners):
        part = mesh.cells[cells].copy()
        part[:, k] = new[:, 0]
        parts.append(part)
    spoilt = Mesh(np.concatenate([mesh.points, points]), np.concatenate(parts))
    clean, found = (laplace_modes(m, 20)[0] for m in (mesh, spoilt))
    np.testing.assert_allclose(found, clean, rtol=0.02, atol=1e-6)


def test_eigenvalues_that_do_not_converge(monkeypatch):
    def never(*arguments, **more):
        raise ArpackNoConvergence("no convergence", np.zeros(0), np.zeros((0, 0)))

    monkeypatch.setattr("jaxtwin.fem.matern.DENSE", 0)
    monkeypatch.setattr("jaxtwin.fem.matern.eigsh", never)
    with pytest.raises(SolveError, match="50 modes of 651 nodes did not converge"):
        laplace_modes(sheet(30.0, 20.0, 1.0), 50)


def test_the_field_has_the_covariance_of_matern(square):
    mesh, field = square
    modes = np.asarray(field.modes)
    mass = lumped_mass(mesh)
    variance = (modes**2).sum(axis=1)
    assert np.average(variance, weights=mass) == pytest.approx(1.0, abs=1e-10)
    assert field.captured > 0.96
    distance = np.linalg.norm(mesh.points - 24.0, axis=1)
    centre = int(distance.argmin())
    correlation = modes @ modes[centre] / np.sqrt(variance * variance[centre])
    scaled = np.sqrt(8.0) * distance / RHO
    with np.errstate(invalid="ignore"):
        closed = np.where(scaled > 0, scaled * kv(1, scaled), 1.0)
    inside = distance < 12
    np.testing.assert_allclose(
        correlation[inside], closed[inside], atol=0.04
    )  # 3 % of the variance is left out
    at_rho = np.abs(distance - RHO) < 0.6
    assert correlation[at_rho].mean() == pytest.approx(0.139, abs=0.02)


def test_variance_on_the_edge(square):
    mesh, neumann = square
    robin = matern_modes(mesh, correlation_length=RHO, count=190, boundary="robin")
    edge = np.isclose(mesh.points, 0.0).sum(axis=1) == 1
    edge &= (np.abs(mesh.points - 24) < 12).any(axis=1)
    inner = (np.abs(mesh.points - 24) < 8).all(axis=1)
    variance = [(np.asarray(m.modes) ** 2).sum(axis=1) for m in (neumann, robin)]
    ratio = [v[edge].mean() / v[inner].mean() for v in variance]
    assert ratio[0] == pytest.approx(2.0, abs=0.15)
    assert ratio[1] == pytest.approx(1.0, abs=0.25)
    first = np.asarray(neumann.modes[:, 0])
    np.testing.assert_allclose(first, first[0], rtol=1e-6)
    assert first[0] > 0


def test_captured_grows_to_one():
    mesh = sheet(48.0, 48.0, 2.0)
    captured = [matern_modes(mesh, correlation_length=RHO, count=n).captured for n in (25, 100)]
    assert captured == sorted(captured)
    # kappa^2 / (kappa^2 + lambda) of the variance lies beyond lambda for nu = 1 in two dimensions.
    lam, kappa2 = 4 * np.pi * 100 / 48**2, 8 / RHO**2
    assert 1 - captured[-1] == pytest.approx(kappa2 / (kappa2 + lam), rel=0.15)


def test_rotation_and_repetition_change_nothing():
    flat = sheet(30.0, 21.0, 1.0, distortion=0.2)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turned = Mesh(np.pad(flat.points, ((0, 0), (0, 1))) @ turn.T + 50.0, flat.cells)
    one, again, other = (matern_modes(m, correlation_length=RHO, count=30) for m in (flat, flat, turned))
    np.testing.assert_array_equal(one.modes, again.modes)
    a, b = np.asarray(one.modes), np.asarray(other.modes)
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-6)


def test_a_cable_and_a_rougher_field():
    mesh = cable(200.0, 0.5)
    field = matern_modes(mesh, correlation_length=RHO, count=60, smoothness=0.5, boundary="robin")
    modes = np.asarray(field.modes)
    correlation = modes @ modes[200] / (modes[200] @ modes[200])
    # nu = 1/2 is the exponential covariance; 60 modes leave out its cusp at distance 0.
    np.testing.assert_allclose(correlation[220:280], np.exp(-2.0 * np.arange(10, 40, 0.5) / RHO), atol=0.05)
    assert field(jnp.ones(60)).shape == (401,)
    assert field.captured == pytest.approx(1 - 2 / np.pi * np.arctan(2 / RHO / (np.pi * 60 / 200)), abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correlation_length": 0.0}, "positive"),
        ({"count": 0}, "0 modes"),
        ({"count": 1000}, "1000 modes"),
        ({"smoothness": -1.0}, "positive"),
    ],
)
def test_numbers_out_of_range(change, message):
    with pytest.raises(InputError, match=message):
        matern_modes(sheet(5.0, 5.0, 1.0), **({"correlation_length": RHO, "count": 5} | change))


def test_a_node_without_tissue_is_refused():
    mesh = Mesh([[0.0, 0], [1, 0], [0, 1], [5, 5]], [[0, 1, 2]])
    with pytest.raises(InputError, match="node 3"):
        matern_modes(mesh, correlation_length=RHO, count=2)
