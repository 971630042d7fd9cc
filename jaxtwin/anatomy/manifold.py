"""A surface in which an edge has at most two triangles, and the triangles at a node form one fan."""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int
from scipy.sparse.csgraph import connected_components

from .mesh import Mesh
from .openings import Cut
from .topology import facets


def manifold(mesh: Mesh) -> Cut:
    """Cuts a surface apart where it branches: at edges of more than two triangles, and at nodes where parts
    of it touch (Gueziec et al. 1998, doi 10.1109/VISUAL.1998.745325).

    At an edge of more than two triangles the two that continue each other most straightly stay joined, then
    the next two. Each part of the surface at a node that is cut gets its own copy of it; no node moves.
    Triangles that meet at an edge and are joined around both of its ends as well, such as those that lie
    twice in the same place, cannot be cut apart: all but two of them are dropped.

    **Returns:** a `Cut`, whose `carry` gives all copies of a node its value.
    """
    kept = np.arange(len(mesh.cells))
    while True:
        cells = mesh.cells[kept].astype(np.int64)
        origin, corners, extra = _apart(mesh.points, cells)
        if not len(extra):
            break
        kept = np.delete(kept, extra)
    return Cut(Mesh(mesh.points[origin], corners, mesh.fibres[kept], mesh.regions[kept]), origin, kept)


def _apart(points, cells):
    """Old node of each new one, cells of new nodes, and the cells of which an edge still has too many."""
    unique, order, first, count = _around(cells)
    two = first[count == 2]
    pairs, shared = [np.stack([order[two], order[two + 1]], axis=1)], [unique[count == 2]]
    for edge in np.flatnonzero(count > 2).tolist():
        around = order[first[edge] : first[edge] + count[edge]]
        joined = _straightest(points, cells[around], unique[edge])
        pairs.append(around[joined])
        shared.append(np.repeat(unique[edge][None], len(joined), axis=0))
    fan = _fans(cells, np.concatenate(pairs), np.concatenate(shared))
    # numbered in the order of the nodes from which they come
    _, place = np.unique(np.stack([cells.ravel(), fan], axis=1), axis=0, return_inverse=True)
    origin = np.zeros(place.max() + 1, np.int64)
    origin[place] = cells.ravel()
    corners = place.reshape(cells.shape)
    _, order, first, count = _around(corners)
    extra = [
        order[first[edge] + 2 : first[edge] + count[edge]] for edge in np.flatnonzero(count > 2).tolist()
    ]
    return origin, corners, np.unique(np.concatenate(extra)) if extra else np.zeros(0, np.int64)


def _around(cells):
    """Edges, and the cells of each in one list, with place and number of its own."""
    unique, index = facets(cells)
    count = np.bincount(index.ravel(), minlength=len(unique))
    order = np.argsort(index.ravel(), kind="stable") // 3
    return unique, order, np.cumsum(count) - count, count


def _straightest(
    points, around: Int[np.ndarray, "cells 3"], edge: Int[np.ndarray, " 2"]
) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of the triangles at an edge, those that continue each other most straightly first."""
    apex = points[around[(around != edge[0]) & (around != edge[1])]]
    along = points[edge[1]] - points[edge[0]]
    across = apex - points[edge[0]]
    across = across - np.outer(across @ along, along) / max(along @ along, np.finfo(float).tiny)
    size = np.linalg.norm(across, axis=1, keepdims=True)
    across = np.divide(across, size, out=np.zeros_like(across), where=size > 0)
    one, two = np.triu_indices(len(around), 1)
    free, found = np.ones(len(around), bool), []
    for k in np.argsort((across[one] * across[two]).sum(axis=1), kind="stable").tolist():
        if free[one[k]] and free[two[k]]:
            free[[one[k], two[k]]] = False
            found.append((one[k], two[k]))
    return np.array(found, np.int64)


def _fans(cells, pairs, shared):
    """Label of the fan of each corner: corners at one node of triangles that are joined there."""
    here, there = [], []
    for end in shared.T:
        for side, corners in ((0, here), (1, there)):
            owner = pairs[:, side]
            corners.append(3 * owner + (cells[owner] == end[:, None]).argmax(axis=1))
    ones = np.ones(2 * len(pairs), np.int8)
    graph = sp.coo_matrix(
        (ones, (np.concatenate(here), np.concatenate(there))), shape=(cells.size, cells.size)
    )
    return connected_components(graph, directed=False)[1]
