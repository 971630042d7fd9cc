"""Triangles of a surface that pass through each other."""

import numpy as np
from jaxtyping import Bool
from scipy.spatial import KDTree

from .mesh import Mesh

CHUNK = 200_000  # pairs at once


def intersecting(mesh: Mesh) -> Bool[np.ndarray, " cells"]:
    """Marks the triangles of a surface in space that another one, without a common node, passes through.

    Two triangles intersect if an edge of one passes through the other. Made for triangles of similar size,
    as remeshing leaves them: pairs are sought as far as the largest reaches.
    """
    corner, centre = mesh.points[mesh.cells], mesh.centroids
    reach = np.linalg.norm(corner - centre[:, None], axis=2).max(axis=1)
    pairs = KDTree(centre).query_pairs(2.0 * float(reach.max()), output_type="ndarray")
    gap = np.linalg.norm(centre[pairs[:, 0]] - centre[pairs[:, 1]], axis=1)
    pairs = pairs[gap <= reach[pairs].sum(axis=1)]
    pairs = pairs[~(mesh.cells[pairs[:, 0], :, None] == mesh.cells[pairs[:, 1], None]).any(axis=(1, 2))]
    low, high = corner.min(axis=1), corner.max(axis=1)
    one, two = pairs.T
    pairs = pairs[((low[one] <= high[two]) & (low[two] <= high[one])).all(axis=1)]
    out = np.zeros(len(mesh.cells), bool)
    for start in range(0, len(pairs), CHUNK):
        some = pairs[start : start + CHUNK]
        one, two = corner[some[:, 0]], corner[some[:, 1]]
        out[some[_pierced(one, two) | _pierced(two, one)]] = True
    return out


def _pierced(edges_of, through):
    """Whether an edge of the one triangle passes through the other, pair by pair."""
    a, b = edges_of, np.roll(edges_of, -1, axis=1)
    normal = np.cross(through[:, 1] - through[:, 0], through[:, 2] - through[:, 0])
    above, below = (np.einsum("pkd,pd->pk", x - through[:, :1], normal) for x in (a, b))
    crosses = above * below < 0
    share = np.divide(above, above - below, out=np.zeros_like(above), where=crosses)
    place = a + share[..., None] * (b - a)
    inside = crosses
    for k in range(3):
        side = np.cross(normal, through[:, (k + 1) % 3] - through[:, k])
        inside = inside & (np.einsum("pkd,pd->pk", place - through[:, k, None], side) > 0)
    return inside.any(axis=1)
