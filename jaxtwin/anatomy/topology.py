"""Connectivity of simplices: facets, neighbours, components, boundaries, orientation.

All functions take only the array of cells, work for segments, triangles and tetrahedra, and are vectorised. A
facet is a cell without one corner: a node of a segment, an edge of a triangle, a triangle of a tetrahedron.
"""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Int
from scipy.sparse.csgraph import connected_components


def unique_rows(
    rows: Int[np.ndarray, "rows width"],
) -> tuple[Int[np.ndarray, "unique width"], Int[np.ndarray, " rows"]]:
    """Unique rows in order, and the index of each given row among them; faster than `np.unique`."""
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    new = np.ones(len(rows), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    index = np.empty(len(rows), np.int64)
    index[order] = np.cumsum(new) - 1
    return ordered[new], index


def facets(
    cells: Int[np.ndarray, "cells corners"],
) -> tuple[Int[np.ndarray, "facets sides"], Int[np.ndarray, "cells corners"]]:
    """Unique facets with sorted corners, and for each cell the index of the facet opposite each corner."""
    corners = cells.shape[1]
    opposite = np.array([[j for j in range(corners) if j != i] for i in range(corners)])
    every = np.sort(cells[:, opposite].reshape(-1, corners - 1), axis=1)
    unique, index = unique_rows(every)
    return unique, index.reshape(cells.shape)


def edges_of_cells(
    cells: Int[np.ndarray, "cells corners"],
) -> tuple[Int[np.ndarray, "edges 2"], Int[np.ndarray, "cells pairs"]]:
    """Unique edges, lower node first, and the edges of each cell in the order 01 02 .. 12 .."""
    pairs = np.stack(np.triu_indices(cells.shape[1], 1), axis=1)
    every = np.sort(cells[:, pairs].reshape(-1, 2), axis=1)
    unique, index = unique_rows(every)
    return unique, index.reshape(len(cells), len(pairs))


def boundary_facets(cells: Int[np.ndarray, "cells corners"]) -> Int[np.ndarray, "facets sides"]:
    """Facets that belong to exactly one cell: the open edges of a surface, the surface of a volume."""
    unique, index = facets(cells)
    return unique[np.bincount(index.ravel(), minlength=len(unique)) == 1]


def incidence(cells: Int[np.ndarray, "cells corners"], nodes: int) -> sp.csr_matrix:
    """Sparse (nodes, cells): row i lists the cells that contain node i."""
    owner = np.repeat(np.arange(len(cells)), cells.shape[1])
    ones = np.ones(cells.size, np.int32)
    return sp.csr_matrix((ones, (cells.ravel(), owner)), shape=(nodes, len(cells)))


def neighbours(cells: Int[np.ndarray, "cells corners"]) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of cells that share a facet which belongs only to these two."""
    unique, index = facets(cells)
    order = np.argsort(index.ravel(), kind="stable")
    count = np.bincount(index.ravel(), minlength=len(unique))
    first = (np.cumsum(count) - count)[count == 2]
    return order[np.stack([first, first + 1], axis=1)] // cells.shape[1]


def components(cells: Int[np.ndarray, "cells corners"], nodes: int) -> Int[np.ndarray, " cells"]:
    """Label of the connected component of each cell; cells that share a node are connected."""
    start = np.repeat(cells[:, 0], cells.shape[1] - 1)
    graph = sp.coo_matrix((np.ones(len(start), np.int8), (start, cells[:, 1:].ravel())), shape=(nodes, nodes))
    _, label = connected_components(graph, directed=False)
    _, compact = np.unique(label[cells[:, 0]], return_inverse=True)
    return compact.reshape(-1)


def euler_characteristic(cells: Int[np.ndarray, "cells corners"]) -> int:
    """Vertices - edges + triangles (- tetrahedra): 2 for a sphere, one less for each hole."""
    unique, _ = facets(cells)
    total = len(np.unique(cells)) - len(edges_of_cells(cells)[0])
    if cells.shape[1] == 3:
        total += len(cells)
    elif cells.shape[1] == 4:
        total += len(unique) - len(cells)
    return total


def reversed_cells(
    triangles: Int[np.ndarray, "cells 3"],
) -> tuple[Bool[np.ndarray, " cells"], bool]:
    """Triangles to reverse so that neighbours traverse shared edges in opposite directions.

    The orientation of a component is that of the majority of its triangles. Returns the mask and whether the
    surface is orientable; non-orientable components (a Moebius strip) are unchanged.

    Two copies of each triangle, as given and reversed, are connected wherever they agree along an edge. An
    orientable component splits into two sheets of this double cover and one of them is chosen, without a
    traversal of cells.
    """
    count = len(triangles)
    a, b = neighbours(triangles).T
    agree = _directed_edges_differ(triangles[a], triangles[b])
    twin = np.where(agree, b, b + count)
    rows, columns = np.concatenate([a, a + count]), np.concatenate([twin, (twin + count) % (2 * count)])
    graph = sp.coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(2 * count, 2 * count))
    _, label = connected_components(graph, directed=False)
    given, turned = label[:count], label[count:]
    votes = np.bincount(given, minlength=label.max() + 1)
    lost = (votes[given] < votes[turned]) | ((votes[given] == votes[turned]) & (given > turned))
    return lost, bool((given != turned).all())


def _directed_edges_differ(one, two):
    """Whether the edge that two triangles share runs in opposite directions in them."""
    here = np.stack([one, np.roll(one, -1, axis=1)], axis=2)
    there = np.stack([two, np.roll(two, -1, axis=1)], axis=2)
    return ~(here[:, :, None] == there[:, None]).all(axis=3).any(axis=(1, 2))
