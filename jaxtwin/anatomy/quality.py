"""Cell shapes: quality, altitudes, and their cost for an explicit time step."""

from math import factorial

import numpy as np
from jaxtyping import Float, Int

from .mesh import Mesh


def measures(
    points: Float[np.ndarray, "nodes dim"], simplices: Int[np.ndarray, "*batch corners"]
) -> Float[np.ndarray, "*batch"]:
    """Length, area or volume of simplices of any kind; 1 for a single node."""
    corner = points[simplices]
    span = corner[..., 1:, :] - corner[..., :1, :]
    count, dim = span.shape[-2:]
    if count == dim:
        return np.abs(np.linalg.det(span)) / factorial(count)
    if count == 0:
        return np.ones(span.shape[:-2])
    normal = np.cross(span[..., 0, :], span[..., 1, :]) / 2 if count == 2 else span[..., 0, :]
    return np.linalg.norm(normal, axis=-1)


def altitudes(
    points: Float[np.ndarray, "nodes dim"], cells: Int[np.ndarray, "cells corners"]
) -> Float[np.ndarray, "cells corners"]:
    """Distance of each corner from the opposite facet, mm: 1/|grad phi_i| of its P1 function."""
    corners = cells.shape[1]
    opposite = np.array([[j for j in range(corners) if j != i] for i in range(corners)])
    base = measures(points, cells[:, opposite])
    volume = (corners - 1) * measures(points, cells)[:, None]
    return np.divide(volume, base, out=np.zeros_like(base), where=base > 0)


def quality(mesh: Mesh) -> Float[np.ndarray, " cells"]:
    """Mean-ratio shape quality of each cell: 1 equilateral, 0 degenerate, 1 for any segment.

    4 sqrt(3) A / sum l^2 for triangles and 12 (3 V)^(2/3) / sum l^2 for tetrahedra (Liu and Joe 1994,
    doi 10.1007/BF01955874).
    """
    return shape_quality(mesh.points, mesh.cells)


def shape_quality(
    points: Float[np.ndarray, "nodes dim"], cells: Int[np.ndarray, "cells corners"]
) -> Float[np.ndarray, " cells"]:
    """`quality` of plain arrays."""
    size, corners = measures(points, cells), cells.shape[1]
    a, b = np.triu_indices(corners, 1)
    squares = ((points[cells[:, a]] - points[cells[:, b]]) ** 2).sum(axis=(1, 2))
    if corners == 2:
        return (size > 0).astype(np.float64)
    area = 4 * np.sqrt(3) * size if corners == 3 else 12 * (3 * size) ** (2 / 3)
    return np.divide(area, squares, out=np.zeros_like(size), where=squares > 0)


def stiffness_bound(mesh: Mesh) -> Float[np.ndarray, " nodes"]:
    """2 K_ii / m_i of isotropic P1 diffusion with lumped mass, per unit of D: (nodes,), 1/mm2.

    The largest value times D bounds the fastest rate of the semi-discrete system on meshes without obtuse
    angles (Gershgorin) and approximates it on others; forward Euler requires dt < 2 / (D max). It is 0 for
    nodes without a cell and infinite for nodes of a cell without area.
    """
    return nodal_stiffness(mesh.points, mesh.cells)


def nodal_stiffness(
    points: Float[np.ndarray, "nodes dim"], cells: Int[np.ndarray, "cells corners"]
) -> Float[np.ndarray, " nodes"]:
    """`stiffness_bound` of plain arrays."""
    size, height = measures(points, cells)[:, None], altitudes(points, cells)
    with np.errstate(divide="ignore", invalid="ignore"):
        stiffness = np.where(height > 0, size / height**2, np.inf)
    nodes = len(points)
    share = np.broadcast_to(size / cells.shape[1], cells.shape)
    k = np.bincount(cells.ravel(), stiffness.ravel(), minlength=nodes)
    m = np.bincount(cells.ravel(), share.ravel(), minlength=nodes)
    used = np.bincount(cells.ravel(), minlength=nodes) > 0
    return np.where(used, 2 * np.divide(k, m, out=np.full(nodes, np.inf), where=m > 0), 0.0)
