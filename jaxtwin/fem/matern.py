"""Matern random fields on a mesh: a few modes with independent standard normal coefficients."""

from hashlib import sha256
from math import gamma, pi, sqrt
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import robust_laplacian
import scipy.sparse as sp
from jaxtyping import Array, Float
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, splu
from scipy.special import beta, betainc

from .._results import InputError, SolveError
from ..anatomy import Mesh
from ..anatomy.topology import boundary_facets
from .p1 import lumped_mass, p1_gradients

FEWEST = 25  # modes that are computed; more are this times a power of two
DENSE = 2000  # nodes up to which a dense eigensolver is as fast as a sparse one
SHIFT = 1e-4  # shift of the spectrum, relative to the scale of its first nonzero eigenvalue


class MaternModes(eqx.Module):
    """A Matern field `modes @ z` with z ~ N(0, I): mean 0 and, on average over the surface, variance 1.

    - `modes`: (nodes, modes), scaled, the smoothest first.
    - `correlation_length`: mm; two points this far apart have a correlation of about 0.14.
    - `captured`: fraction of the variance of the Matern field that the kept modes carry.
    - `eigenvalues`: (modes,), of the Laplacian, 1/mm2. `dim`: of the cells.
    """

    modes: Float[Array, "nodes modes"]
    correlation_length: float = eqx.field(static=True)
    captured: float = eqx.field(static=True)
    eigenvalues: Float[np.ndarray, " modes"]
    dim: int = eqx.field(static=True)

    def __call__(self, z: Float[Array, " modes"]) -> Float[Array, " nodes"]:
        """The field at the nodes."""
        return self.modes @ z


def matern_modes(
    mesh: Mesh,
    *,
    correlation_length: float,
    count: int,
    smoothness: float = 1.0,
    boundary: Literal["neumann", "robin"] = "neumann",
) -> MaternModes:
    """Returns the leading modes of the Matern field of the Laplace-Beltrami operator of a mesh.

    The field solves (kappa^2 - Laplacian)^(alpha/2) u = white noise, with kappa = sqrt(8 nu) / rho and alpha
    = nu + d/2, d the dimension of the cells (1: segments, 2: triangles, 3: tetrahedra). In the eigenpairs K
    phi = lambda M phi of stiffness and lumped mass, phi^T M phi = 1, it is u = sum_k (kappa^2 +
    lambda_k)^(-alpha/2) phi_k z_k, here truncated after `count` modes and scaled to unit mean variance. The
    first mode is the constant. K and M are those of P1 elements, on a surface those of its intrinsic Delaunay
    triangulation.

    **Arguments:**

    - `correlation_length`: rho, mm. `count`: number of modes. `smoothness`: nu.
    - `boundary`: the condition on open edges. `"neumann"` doubles the variance there; `"robin"` (n . grad u =
      -kappa/1.42 u) keeps it nearly uniform, but the first mode is then not exactly constant.

    **Returns:** `MaternModes`.

    **Raises:** `InputError` for a mesh with nodes that belong to no cell of positive size, for a correlation
    length or a smoothness that is not positive and finite, and for a `count` that is not between 1 and the
    number of nodes; `SolveError` if the eigenvalues do not converge.

    **Example:**

    ```python
    modes = jt.matern_modes(mesh, correlation_length=15.0, count=100)
    tissue_map = jt.LogDiffusivity(jt.field(modes), reference=0.3, floor=0.02, ceiling=2.0)
    ```

    Lindgren, Rue, Lindstrom 2011, doi 10.1111/j.1467-9868.2011.00777.x; the Robin coefficient is from
    Roininen, Huttunen, Lasanen 2014, doi 10.3934/ipi.2014.8.561.
    """
    _check(mesh, correlation_length, count, smoothness)
    dim = mesh.corners - 1
    kappa = sqrt(8.0 * smoothness) / correlation_length
    if boundary == "robin":
        stiffness, mass = _laplacian(mesh)
        stiffness = stiffness + sp.diags_array(kappa / 1.42 * _boundary_mass(mesh))
        lam, phi = _eigenpairs(stiffness, mass, count)
    else:
        lam, phi, mass = _MODES.of(mesh, count)
    power = spectrum(lam, correlation_length, smoothness, dim)
    kept = power.sum()
    # Weyl: N(lambda) = ball |domain| lambda^(d/2) / (2 pi)^d eigenvalues lie below lambda. The integral of
    # the spectral density over those above the last kept one is an incomplete beta function.
    ball = pi ** (dim / 2) / gamma(dim / 2 + 1)
    density = ball * mass.sum() * dim / 2 / (2 * pi) ** dim
    cut = kappa**2 / (kappa**2 + lam[-1])
    tail = (
        density * kappa ** (-2 * smoothness) * beta(smoothness, dim / 2) * betainc(smoothness, dim / 2, cut)
    )
    scale = np.sqrt(power * mass.sum() / kept)
    return MaternModes(
        jnp.asarray(phi * scale, dtype=float),
        float(correlation_length),
        float(kept / (kept + tail)),
        lam,
        dim,
    )


def spectrum(
    eigenvalues: Float[np.ndarray, " modes"], correlation_length: float, smoothness: float, dim: int
) -> Float[np.ndarray, " modes"]:
    """Variances of the modes of a Matern field, up to a common factor: (kappa^2 + lambda)^-alpha."""
    return (8.0 * smoothness / correlation_length**2 + eigenvalues) ** -(smoothness + dim / 2)


def laplace_modes(
    mesh: Mesh, count: int
) -> tuple[Float[np.ndarray, " modes"], Float[np.ndarray, "nodes modes"]]:
    """Returns the `count` smallest eigenvalues of the Laplacian, 1/mm2, and their eigenvectors, orthonormal
    in the lumped mass.

    Matern fields of all correlation lengths on one mesh share them (`spectrum`). Neumann condition at open
    edges.

    **Raises:** as `matern_modes`.
    """
    _check(mesh, 1.0, count, 1.0)
    return _MODES.of(mesh, count)[:2]


class _LastModes:
    """The Laplace modes of the last mesh: fields of several correlation lengths on one mesh share them. Their
    number is rounded up, so that fields of similar size do too; what a field gets never depends on what was
    asked for before."""

    def __init__(self):
        self._key, self._modes = b"", {}

    def of(self, mesh: Mesh, count: int):
        """Eigenvalues, eigenvectors and the lumped mass."""
        most = FEWEST
        while most < count:
            most *= 2
        most = min(most, len(mesh.points))
        arrays = np.asarray(mesh.points), np.asarray(mesh.cells)
        key = sha256(b"".join(f"{a.dtype}{a.shape}".encode() + a.tobytes() for a in arrays)).digest()
        if self._key != key:
            self._key, self._modes = key, {}
        if most not in self._modes:
            stiffness, mass = _laplacian(mesh)
            self._modes[most] = (*_eigenpairs(stiffness, mass, most), mass)
        lam, phi, mass = self._modes[most]
        return lam[:count], phi[:, :count], mass


_MODES = _LastModes()


def p1_stiffness(mesh: Mesh) -> sp.csr_array:
    """Stiffness of the Laplacian, K_ij = integral of grad N_i . grad N_j, for unit diffusivity."""
    gradients, measures = p1_gradients(mesh), mesh.measures
    local = np.einsum("c,cid,cjd->cij", measures, gradients, gradients)
    corners, nodes = mesh.corners, len(mesh.points)
    rows, columns = np.repeat(mesh.cells, corners, axis=1), np.tile(mesh.cells, corners)
    return sp.coo_array((local.ravel(), (rows.ravel(), columns.ravel())), shape=(nodes, nodes)).tocsr()


def _laplacian(mesh: Mesh) -> tuple[sp.csr_array, Float[np.ndarray, " nodes"]]:
    """Stiffness of the Laplacian and lumped mass.

    For a surface, those of its intrinsic Delaunay triangulation (Sharp, Crane 2020, doi 10.1111/cgf.14069).
    Needles and caps, which repair cannot remove completely, then affect neither accuracy nor convergence, and
    edges shared by more than two triangles are handled too.
    """
    if mesh.corners != 3:
        return p1_stiffness(mesh), lumped_mass(mesh)
    points = np.pad(np.asarray(mesh.points, np.float64), ((0, 0), (0, 3 - mesh.dim)))
    stiffness, mass = robust_laplacian.mesh_laplacian(points, np.asarray(mesh.cells))
    return sp.csr_array(stiffness), mass.diagonal()


def _eigenpairs(stiffness, mass, count):
    """The `count` smallest eigenvalues and their eigenvectors, orthonormal in the mass; deterministic."""
    # With a diagonal mass this is a standard eigenproblem for M^(1/2) phi.
    root = 1.0 / np.sqrt(mass)
    matrix = sp.diags_array(root) @ stiffness @ sp.diags_array(root)
    matrix = ((matrix + matrix.T) / 2).tocsc()
    if len(mass) <= max(DENSE, 3 * count):
        lam, vectors = eigh(matrix.toarray(), subset_by_index=[0, count - 1])
    else:
        lam, vectors = _smallest(matrix, count, mass.sum())
    phi = root[:, None] * vectors
    peak = phi[np.abs(phi).argmax(axis=0), np.arange(count)]
    return np.maximum(lam, 0.0), phi * np.sign(peak)


def _smallest(matrix, count, measure):
    """Lanczos on (A + s I)^-1 by ARPACK.

    s is far below the first nonzero eigenvalue, about (2 pi)^2/measure on a surface, however fine the mesh
    and however bad its worst cell.
    """
    nodes = matrix.shape[0]
    shift = SHIFT * (2 * pi) ** 2 / measure
    factors = splu(
        (matrix + shift * sp.eye_array(nodes)).tocsc(),
        permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True},
    )  # fmt: skip
    inverse = LinearOperator(shape=(nodes, nodes), matvec=factors.solve, dtype=float)  # pyright: ignore[reportCallIssue]
    begin = np.random.default_rng(0).normal(size=nodes)
    try:
        return eigsh(matrix, count, sigma=-shift, OPinv=inverse, v0=begin)
    except ArpackNoConvergence as error:
        raise SolveError(f"{count} modes of {nodes} nodes did not converge: ask for fewer modes.") from error


def _boundary_mass(mesh):
    """Length or area of the open edges or facets, distributed to their nodes."""
    facets = boundary_facets(mesh.cells)
    nodes = len(mesh.points)
    if not len(facets):
        return np.zeros(nodes)
    # A facet of a segment is a single point, of measure 1.
    size = Mesh(mesh.points, facets).measures if facets.shape[1] > 1 else np.ones(len(facets))
    share = np.repeat(size / facets.shape[1], facets.shape[1])
    return np.bincount(facets.ravel(), weights=share, minlength=nodes)


def _check(mesh, correlation_length, count, smoothness):
    loose = lumped_mass(mesh) <= 0
    if loose.any():
        raise InputError(
            f"{int(loose.sum())} nodes that no cell of positive size uses, as node {int(loose.argmax())}",
            "a mesh in which every node carries a part of the tissue",
            "Repair the mesh first",
        )
    if not (0 < correlation_length < np.inf and 0 < smoothness < np.inf):
        raise InputError(
            f"a correlation length of {correlation_length} mm and a smoothness of {smoothness}",
            "positive numbers",
            "Take a fraction of the size of the mesh, and smoothness 1",
        )
    if not 1 <= count <= len(mesh.points):
        raise InputError(
            f"{count} modes", f"1 to {len(mesh.points)}, the number of nodes", "Choose fewer modes"
        )
