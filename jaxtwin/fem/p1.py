"""Linear (P1) elements on simplices of any dimension, also on surfaces in 3-D."""

import numpy as np
from jaxtyping import Float

from ..anatomy import Mesh


def p1_gradients(mesh: Mesh) -> tuple[Float[np.ndarray, "cells corners dim"], Float[np.ndarray, " cells"]]:
    """Gradients of the P1 basis functions, 1/mm, and the measure of each cell (mm, mm2 or mm3).

    With the spanning vectors S_i = x_i - x_0 and their Gram matrix G = S S^T, the gradient of the i-th
    barycentric coordinate is sum_j (G^-1)_ij S_j; on a surface this is the tangential gradient.
    """
    corner = mesh.points[mesh.cells]
    span = corner[:, 1:] - corner[:, :1]
    gram = np.einsum("cid,cjd->cij", span, span)
    inner = np.einsum("cij,cjd->cid", np.linalg.inv(gram), span)
    return np.concatenate([-inner.sum(axis=1, keepdims=True), inner], axis=1), mesh.measures


def lumped_mass(mesh: Mesh) -> Float[np.ndarray, " nodes"]:
    """Row sums of the mass matrix: each cell gives an equal share of its measure to its corners."""
    share = np.repeat(mesh.measures / mesh.corners, mesh.corners)
    return np.bincount(mesh.cells.ravel(), weights=share, minlength=len(mesh.points))
