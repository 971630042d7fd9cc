"""Linear (P1) elements on simplices of any dimension, also on surfaces in 3-D."""

import numpy as np
from jaxtyping import Float, Int

from ..anatomy import Mesh
from ..anatomy.mesh import CHUNK


def p1_gradients(mesh: Mesh) -> Float[np.ndarray, "cells corners dim"]:
    """Gradients of the P1 basis functions, 1/mm.

    With the spanning vectors S_i = x_i - x_0 and their Gram matrix G = S S^T, the gradient of the i-th
    barycentric coordinate is sum_j (G^-1)_ij S_j; on a surface this is the tangential gradient. On
    tetrahedra it is the cross product of the other two over their volume.
    """
    gradients = np.empty((*mesh.cells.shape, mesh.dim))
    # in chunks that fit the cache: allocating whole arrays costs more than the arithmetic
    for start in range(0, len(mesh.cells), CHUNK):
        piece = slice(start, start + CHUNK)
        corner = [mesh.points[c] for c in mesh.cells[piece].T]
        span = [c - corner[0] for c in corner[1:]]
        if mesh.corners == 4:
            a, b, c = span
            inner = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
            inner /= np.einsum("ci,ci->c", a, inner[:, 0])[:, None, None]
        else:
            rows = np.stack(span, axis=1)
            inner = np.linalg.inv(rows @ rows.swapaxes(1, 2)) @ rows
        gradients[piece, 1:], gradients[piece, 0] = inner, -inner.sum(axis=1)
    return gradients


def lumped_mass(mesh: Mesh) -> Float[np.ndarray, " nodes"]:
    """Row sums of the mass matrix: each cell distributes its measure equally to its corners."""
    return mass_of(mesh.cells, mesh.measures, len(mesh.points))


def mass_of(
    cells: Int[np.ndarray, "cells corners"], measures: Float[np.ndarray, " cells"], nodes: int
) -> Float[np.ndarray, " nodes"]:
    """Row sums of the mass matrix, from the measures of the cells."""
    share = measures / cells.shape[1]
    return sum((np.bincount(corner, weights=share, minlength=nodes) for corner in cells.T), np.zeros(nodes))


def scaled_mass(
    mass: Float[np.ndarray, " nodes"], stiffness: Float[np.ndarray, " nodes"], fraction: float
) -> Float[np.ndarray, " nodes"]:
    """Lumped mass, raised at the nodes of the smallest cells until the total has grown by `fraction`.

    The spectrum of M^-1 K is bounded by the largest 2 K_ii/m_i, which a few slivers dominate. Raising m_i
    there to 2 K_ii/c, with one c for all nodes, adds the least mass for the bound c. c never falls below
    twice the median, so uniform meshes are unchanged.
    """
    ratio = 2.0 * stiffness / mass
    low, high = 2.0 * float(np.median(ratio)), float(ratio.max())
    if high <= low:
        return mass
    for _ in range(60):
        cap = np.sqrt(low * high)
        added = np.maximum(2.0 * stiffness / cap - mass, 0.0).sum()
        low, high = (cap, high) if added > fraction * mass.sum() else (low, cap)
    return np.maximum(mass, 2.0 * stiffness / high)
