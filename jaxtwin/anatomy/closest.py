"""The closest points of a mesh to given positions."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from .mesh import Mesh

PAIRS = 100_000  # point-cell pairs processed at once: about 50 MB of temporaries
LEVELS = 8  # classes of cell size, each half the previous one


class Closest(NamedTuple):
    """The closest point of a mesh to each position.

    - `cells`: (points,), the cell in which it lies. `weights`: (points, corners), barycentric in that cell,
      not negative, sum 1. `distance`: (points,), mm.
    """

    cells: Int[np.ndarray, " points"]
    weights: Float[np.ndarray, "points corners"]
    distance: Float[np.ndarray, " points"]


def closest(mesh: Mesh, positions: Float[np.ndarray, "points dim"]) -> Closest:
    """Finds the closest point of the mesh for each position, exactly.

    A cell can only be closer than d if |x - centroid| <= d + r, where r is the distance from its centroid to
    its farthest corner; d starts at the nearest node. Cells are searched in classes of r, so that one large
    cell does not widen the search for all.
    """
    corner = mesh.points[mesh.cells]
    centroids = mesh.centroids
    radii = np.linalg.norm(corner - centroids[:, None], axis=2).max(axis=1)

    cell, weights, best = _nearest_node(mesh, positions)
    largest = radii.max()
    with np.errstate(divide="ignore"):
        level = np.clip(np.floor(np.log2(largest / np.maximum(radii, 1e-300))), 0, LEVELS - 1)
    for each in np.unique(level):
        members = np.flatnonzero(level == each)
        tree = KDTree(centroids[members])
        # Slightly wider than the bound, to be safe against rounding.
        reach = (best + radii[members].max()) * (1.0 + 1e-9)
        for points in _chunks(tree.query_ball_point(positions, reach, return_length=True)):
            found = tree.query_ball_point(positions[points], reach[points])
            owner = np.repeat(points, [len(f) for f in found])
            candidate = members[np.concatenate(found).astype(int)]
            gap = np.linalg.norm(positions[owner] - centroids[candidate], axis=1)
            near = gap <= (best[owner] + radii[candidate]) * (1.0 + 1e-9)
            owner, candidate = owner[near], candidate[near]
            trial, distance = closest_on_simplex(positions[owner], corner[candidate])
            order = np.lexsort((distance, owner))
            winner = order[np.unique(owner[order], return_index=True)[1]]
            winner = winner[distance[winner] < best[owner[winner]]]
            at = owner[winner]
            cell[at], weights[at], best[at] = candidate[winner], trial[winner], distance[winner]
    return Closest(cell, weights, best)


def closest_on_simplex(
    points: Float[np.ndarray, "pairs dim"], corner: Float[np.ndarray, "pairs corners dim"]
) -> tuple[Float[np.ndarray, "pairs corners"], Float[np.ndarray, " pairs"]]:
    """Barycentric weights of the closest point of a simplex, and its distance in mm, pair by pair.

    The closest point is the projection on the plane of one face (a face of any dimension, down to a single
    corner) that falls inside that face. All faces are tried; a degenerate one is covered by its own faces.
    """
    count = corner.shape[1]
    weights = np.zeros(corner.shape[:2])
    best = np.full(len(points), np.inf)
    for size in range(1, count + 1):
        for face in combinations(range(count), size):
            origin = corner[:, face[0]]
            span = corner[:, face[1:]] - origin[:, None]
            gram = np.einsum("pid,pjd->pij", span, span)
            scale = np.prod(np.einsum("pii->pi", gram), axis=1)
            sound = np.linalg.det(gram) > 1e-12 * scale
            gram[~sound] = np.eye(size - 1)  # any weights are valid here: the distance is computed below
            right = np.einsum("pid,pd->pi", span, points - origin)
            inner = np.linalg.solve(gram, right[..., None])[..., 0]
            share = np.concatenate([1.0 - inner.sum(axis=1, keepdims=True), inner], axis=1)
            foot = np.einsum("pc,pcd->pd", share, corner[:, face])
            distance = np.linalg.norm(points - foot, axis=1)
            better = (share >= 0.0).all(axis=1) & (distance < best)
            best[better] = distance[better]
            weights[better] = 0.0
            weights[np.ix_(better, face)] = share[better]
    return weights, best


def _nearest_node(mesh, positions):
    """Cell, weights and distance of the nearest node that a cell uses."""
    used, first = np.unique(mesh.cells, return_index=True)
    distance, node = KDTree(mesh.points[used]).query(positions)
    cell, slot = np.divmod(first[node], mesh.corners)
    return cell, np.eye(mesh.corners)[slot], np.asarray(distance, np.float64)


def _chunks(counts):
    """Indices of the points that have candidates, in batches of about `PAIRS` pairs."""
    busy = np.flatnonzero(counts)
    pieces = np.cumsum(counts[busy]) // PAIRS
    return np.split(busy, np.flatnonzero(np.diff(pieces)) + 1) if len(busy) else []


def interpolated(
    values: Float[np.ndarray, "coarse ..."],
    parents: Int[np.ndarray, "points corners"],
    weights: Float[np.ndarray, "points corners"],
) -> Float[np.ndarray, "points ..."]:
    """sum_k weights_k values[parents_k]; NaN if a parent with a weight is not finite: no value is derived
    from a missing one."""
    found = values[parents]
    weights = weights.reshape(*weights.shape, *[1] * (values.ndim - 1))
    known = np.isfinite(found)
    total = np.where(known, weights * np.where(known, found, 0.0), 0.0).sum(axis=1)
    return np.where((known | (weights == 0)).all(axis=1), total, np.nan)
