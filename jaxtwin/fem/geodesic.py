"""Geodesic distances on a mesh."""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse.csgraph import dijkstra

from ..anatomy import Mesh
from ..anatomy.topology import edges_of_cells


def geodesic(
    mesh: Mesh, sources: Int[np.ndarray, " sources"], between: int = 3
) -> Float[np.ndarray, "sources nodes"]:
    """Returns geodesic distances from source nodes to all nodes, mm; infinite for nodes that are not
    connected.

    Shortest paths that cross each cell in straight lines between its corners and `between` points on each of
    its edges (Lanthier, Maheshwari, Sack 2001, doi 10.1007/s00453-001-0027-5). Never too short. On a flat
    sheet, 20 edges across and distorted, at most 1.5 % too long (mean 0.7 %); along the edges alone it would
    be 17 %.
    """
    edges, of_cells = edges_of_cells(mesh.cells)
    share = np.arange(1, between + 1)[:, None] / (between + 1)
    ends = mesh.points[edges]
    extra = ends[:, :1] * (1 - share) + ends[:, 1:] * share
    points = np.concatenate([mesh.points, extra.reshape(-1, mesh.dim)])
    local = len(mesh.points) + of_cells[:, :, None] * between + np.arange(between)
    local = np.concatenate([mesh.cells, local.reshape(len(mesh.cells), -1)], axis=1)
    a, b = np.triu_indices(local.shape[1], 1)
    pairs = np.sort(local[:, np.stack([a, b], 1)].reshape(-1, 2), axis=1)
    # one number for each pair: to sort rows takes ten times longer
    numbers = np.sort(pairs[:, 0] * len(points) + pairs[:, 1])
    numbers = numbers[np.diff(numbers, prepend=-1) > 0]
    pairs = np.stack(np.divmod(numbers, len(points)), axis=1)
    # An entry of zero would not count as an edge.
    length = np.maximum(np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1), 1e-12)
    graph = sp.csr_array((length, pairs.T), shape=(len(points),) * 2)
    return dijkstra(graph, directed=False, indices=sources)[:, : len(mesh.points)]
