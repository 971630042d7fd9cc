"""Interpolation from the nodes of a mesh to points near it: measurements do not lie on nodes."""

from itertools import combinations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.spatial import KDTree

from .._results import InputError
from ..anatomy import Mesh

PAIRS = 100_000  # point-cell pairs processed at once: about 50 MB of temporaries
LEVELS = 8  # classes of cell size, each half the previous one


class Interpolation(eqx.Module):
    """Linear interpolation at fixed points: `values(x) = sum_c weights_c values[nodes_c]`.

    - `nodes`: (points, corners), the nodes of the cell that is closest to each point.
    - `weights`: (points, corners), barycentric, not negative, sum 1.
    - `distance`: (points,), from each point to the mesh, mm.
    """

    nodes: Int[Array, "points corners"]
    weights: Float[Array, "points corners"]
    distance: Float[np.ndarray, " points"]

    def __call__(self, values: Float[Array, "... nodes"]) -> Float[Array, "... points"]:
        """Values at the points, linear in `values`; not finite if a corner with a nonzero weight is not
        finite."""
        corners, weights = values[..., self.nodes], self.weights.astype(values.dtype)
        # drops weights of 0: a NaN at a corner without influence must not spread
        corners = jnp.where(jnp.broadcast_to(weights > 0.0, corners.shape), corners, 0.0)
        return jnp.einsum("pc,...pc->...p", weights, corners)

    def nearest(self) -> Int[np.ndarray, " points"]:
        """The node with the largest weight at each point."""
        nodes, corner = np.asarray(self.nodes), np.asarray(self.weights).argmax(axis=1)[:, None]
        return np.take_along_axis(nodes, corner, axis=1)[:, 0]


def locate(mesh: Mesh, positions) -> Interpolation:
    """Finds the closest point of the mesh for each position, exactly.

    A cell can only be closer than d if |x - centroid| <= d + r, where r is the distance from its centroid to
    its farthest corner; d starts at the nearest node. Cells are searched in classes of r, so that one large
    cell does not widen the search for all.

    **Arguments:** `mesh`. `positions`: (points, dim), mm.

    **Returns:** an `Interpolation`.

    **Raises:** `InputError` for positions that are not finite or whose dimension differs from the mesh.
    """
    positions = np.asarray(positions, np.float64)
    _check(mesh, positions)
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
    nodes = jnp.asarray(mesh.cells[cell])
    return Interpolation(nodes, jnp.asarray(weights, dtype=float), best)


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


def _check(mesh, positions):
    if positions.ndim != 2 or positions.shape[1] != mesh.dim:
        raise InputError(
            f"positions of shape {positions.shape} for a mesh in {mesh.dim} dimensions",
            f"an array of shape (points, {mesh.dim}) in mm",
            "Give the points as rows, with as many coordinates as the mesh has",
        )
    finite = np.isfinite(positions).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{int((~finite).sum())} positions with NaN or infinite coordinates, "
            f"the first at index {int(np.argmin(finite))}",
            "finite coordinates in mm",
            "Remove those points, or mark them invalid before they are placed on the mesh",
        )
