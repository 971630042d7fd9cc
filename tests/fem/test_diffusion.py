"""The sparse product against a stiffness matrix assembled cell by cell, with its bound and its round-off."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import eigh

import jaxtwin as jt
from jaxtwin.anatomy import Mesh
from jaxtwin.fem import Space, diffusion_operator, dispersion_operator, lumped_mass
from jaxtwin.fem.diffusion import edge_conductances


def shuffled(mesh: Mesh) -> Mesh:
    """The same nodes in random order, so that slices are neither sorted nor tight."""
    place = np.random.default_rng(3).permutation(len(mesh.points))
    return Mesh(mesh.points[np.argsort(place)], place[mesh.cells], mesh.fibres, mesh.regions)


MESHES = {
    "cable": jt.cable(3.0, 0.5),
    "sheet": jt.sheet(4.0, 3.0, 0.5, distortion=0.2),
    "shuffled sheet": shuffled(jt.sheet(4.0, 3.0, 0.5, distortion=0.2)),
    "surface": jt.atrial_shell(4.0),
    "slab": jt.reorder(jt.slab(2.0, 1.5, 1.0, 0.5, distortion=0.2)).mesh,
}


def tensors(mesh: Mesh) -> np.ndarray:
    """Another full symmetric positive definite tensor in each cell, with ratios up to about 10."""
    factor = np.random.default_rng(1).normal(size=(len(mesh.cells), mesh.dim, mesh.dim))
    return 0.1 * (factor @ factor.transpose(0, 2, 1) + np.eye(mesh.dim))


def stiffness(mesh: Mesh, tensor: np.ndarray) -> np.ndarray:
    """Cell by cell in a local orthonormal frame: another road than the Gram matrix of the package."""
    total = np.zeros((len(mesh.points), len(mesh.points)))
    hat = np.vstack([-np.ones(mesh.corners - 1), np.eye(mesh.corners - 1)])
    for cell, d, size in zip(mesh.cells, tensor, mesh.measures, strict=True):
        corner = mesh.points[cell]
        frame, triangle = np.linalg.qr((corner[1:] - corner[0]).T)
        gradient = np.linalg.solve(triangle.T, hat.T).T
        total[np.ix_(cell, cell)] += size * gradient @ (frame.T @ d @ frame) @ gradient.T
    return total


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES.keys())
def test_dispersion_is_what_lumping_took_from_the_mass_matrix(mesh):
    """Against the consistent mass matrix summed cell by cell; eigenvalues from 0 to share (d+1)/(d+2)."""
    nodes, corners = len(mesh.points), mesh.corners
    consistent = np.zeros((nodes, nodes))
    for cell, size in zip(mesh.cells, mesh.measures, strict=True):
        consistent[np.ix_(cell, cell)] += size / (corners * (corners + 1)) * (1 + np.eye(corners))
    mass = lumped_mass(mesh)
    lost = 0.5 * (np.diag(mass) - consistent)
    v = np.random.default_rng(3).normal(size=nodes)
    product = eqx.filter_jit(dispersion_operator(Space(mesh), 0.5))(jnp.asarray(v))
    np.testing.assert_allclose(product, lost @ v / mass, atol=1e-12)
    values = eigh(lost, np.diag(mass), eigvals_only=True)
    assert values[0] > -1e-12
    assert values[-1] <= 0.5 * corners / (corners + 1) + 1e-12


@eqx.filter_jit
def everything(space: Space, tensor, u):
    """The product, alone and handed on, the edge entries and the bound, in one compilation a mesh."""
    diffusion = diffusion_operator(space, tensor)
    handed_on = diffusion.then(lambda product, v, factor: factor * product + v["v"], u, {"v": u * u}, 2.0)
    return diffusion(u), handed_on, edge_conductances(space, tensor), diffusion.spectral_bound()


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES.keys())
def test_product_is_that_of_the_assembled_matrix_and_its_spectrum_is_bounded(mesh):
    """With a full tensor in each cell; the bound is a bound, and not a wasteful one."""
    space, tensor = Space(mesh), tensors(mesh)
    matrix, mass = stiffness(mesh, tensor), lumped_mass(mesh)
    u = np.random.default_rng(2).normal(size=len(mesh.points))
    product, handed_on, conductances, bound = everything(space, jnp.asarray(tensor), jnp.asarray(u))
    np.testing.assert_allclose(product, -(matrix @ u) / mass, atol=1e-11)
    np.testing.assert_allclose(handed_on, 2.0 * product + u * u, atol=1e-13)
    np.testing.assert_allclose(conductances, -matrix[tuple(mesh.edges.T)], atol=1e-13)
    largest = eigh(matrix, np.diag(mass), eigvals_only=True)[-1]
    assert largest <= float(bound) <= 2.5 * largest
    discs = np.abs(matrix - np.diag(np.diag(matrix))).sum(axis=1) / mass
    assert float(bound) == pytest.approx(2.0 * discs.max(), rel=1e-12)


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES.keys())
def test_constants_are_exact_in_single_precision(mesh):
    u = jnp.full(len(mesh.points), 0.7, jnp.float32)
    product, *_ = everything(Space(mesh, dtype=jnp.float32), jnp.asarray(tensors(mesh), jnp.float32), u)
    assert product.dtype == jnp.float32
    assert not np.asarray(product).any()


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES.keys())
def test_products_on_edges_are_the_derivative_of_the_product_by_the_edges(mesh):
    """d/dk of sum_i m_i q_i (A u)_i is -(q_j - q_i)(u_j - u_i); two pairs, each with its factor."""
    space = Space(mesh)
    rng = np.random.default_rng(4)
    k, qs, ys = rng.random(len(mesh.edges)), *rng.normal(size=(2, 2, len(mesh.points)))

    @eqx.filter_jit
    def both(space, k, qs, ys):
        diffusion = dispersion_operator(space, 0.5).with_edges(k)
        scales = [2.0, -0.3]
        by_hand = diffusion.to_edges(diffusion.edge_products(scales, qs, ys))

        def value(k):
            operator = diffusion.with_edges(k)
            return sum(
                -f * jnp.sum(space.mass * q * operator(y)) for f, q, y in zip(scales, qs, ys, strict=True)
            )

        return by_hand, jax.grad(value)(k), [r.shape for r in diffusion.no_products()]

    by_hand, wanted, shapes = both(space, *map(jnp.asarray, (k, qs, ys)))
    np.testing.assert_allclose(by_hand, wanted, atol=1e-12)
    owned = [(s.neighbours.shape[1],) for s in space.layout.slices for _ in range(s.owned)]
    assert shapes == [*owned, (space.layout.loose.shape[1],)]
