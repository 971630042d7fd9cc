"""Removing slivers: flip the long edge of a cap, collapse the short edge of a needle.

Nodes are never moved, so measured positions are kept. Each sweep finds the thin cells, ranks all operations
that would remove them, and carries out a set of operations that do not touch each other. An operation must
make the thinnest cell in its neighbourhood thicker, so that the sweeps terminate.

Topology is kept: an edge collapses only under the link condition (Dey et al. 1999, "Topology preserving edge
contraction"), a node of the boundary only along the boundary. In a volume the same follows from geometry:
if the cells around an inner node stay positive after the collapse, they fill the same space once.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from .quality import altitudes, measures, nodal_stiffness, shape_quality
from .topology import edges_of_cells, facets, incidence

_TURN = 0.3  # smallest cosine between the normals of a new triangle and of its patch
_CHANGE = 0.25  # largest area that one operation may change, as a fraction of the median cell
_GAIN = 1.01  # smallest factor by which an operation must raise the smallest altitude
_SWEEPS = 60


class Swept(NamedTuple):
    """Cells after the removal of slivers, and the mapping of cells and nodes.

    - `cells`: (cells, corners). `source`: (cells,), the cell from which each was made. `changed`: (cells,).
    - `into`: (nodes,), the node into which each node was collapsed, itself if it was not.
    """

    cells: Int[np.ndarray, "cells corners"]
    source: Int[np.ndarray, " cells"]
    changed: Bool[np.ndarray, " cells"]
    into: Int[np.ndarray, " nodes"]
    flips: int
    collapses: int


def thin_cells(
    points: Float[np.ndarray, "nodes dim"],
    cells: Int[np.ndarray, "cells corners"],
    min_quality: float,
    stiffness_ratio: float,
) -> tuple[Bool[np.ndarray, " cells"], float]:
    """Cells to remove and the altitude (mm) a cell should have.

    Those of a quality below `min_quality`, and the thinnest cell at each node whose stiffness bound 2
    K_ii/m_i exceeds `stiffness_ratio` times the 95th percentile: a real surface is graded, so the median
    would be too strict.
    """
    stiffness = nodal_stiffness(points, cells)
    used = np.unique(cells)
    limit = stiffness_ratio * np.percentile(stiffness[used], 95, method="lower")
    thin = shape_quality(points, cells) < min_quality
    height = altitudes(points, cells).min(axis=1)
    thinnest = np.full(len(points), np.inf)
    np.minimum.at(thinnest, cells, np.broadcast_to(height[:, None], cells.shape))
    thin |= ((stiffness[cells] > limit) & (height[:, None] <= thinnest[cells])).any(axis=1)
    return thin, float(np.sqrt(2 * cells.shape[1] / limit))


def remove_slivers(
    points: Float[np.ndarray, "nodes dim"],
    cells: Int[np.ndarray, "cells corners"],
    min_quality: float,
    stiffness_ratio: float,
) -> Swept:
    """Flips and collapses until no thin cell is left that an allowed operation can remove; see
    `thin_cells`."""
    if cells.shape[1] == 3 and points.shape[1] == 2:
        points = np.pad(points, ((0, 0), (0, 1)))  # one code for the plane and for surfaces
    into, source = np.arange(len(points)), np.arange(len(cells))
    changed = np.zeros(len(cells), bool)
    flips = collapses = 0
    for _ in range(_SWEEPS):
        thin, wanted = thin_cells(points, cells, min_quality, stiffness_ratio)
        pairs, apexes = _flips(points, cells, np.flatnonzero(thin), wanted)
        if len(pairs):
            cells = cells.copy()
            cells[pairs] = apexes
            changed[pairs] = True
            flips += len(pairs)
            continue
        gone, target = _collapses(points, cells, np.flatnonzero(thin), wanted)
        if not len(gone):
            break
        collapses += len(gone)
        step = np.arange(len(points))
        step[gone] = target
        into, moved = step[into], step[cells]
        changed |= (moved != cells).any(axis=1)
        ordered = np.sort(moved, axis=1)
        alive = (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)
        cells, source, changed = moved[alive], source[alive], changed[alive]
    return Swept(cells, source, changed, into, flips, collapses)


def _flips(points, cells, thin, wanted):
    """Pairs of triangles and their new corners, for thin triangles whose longest edge another one shares."""
    nothing = np.empty((0, 2), int), np.empty((0, 2, 3), int)
    if cells.shape[1] != 3 or not len(thin):
        return nothing
    edges, index = facets(cells)
    count = np.bincount(index.ravel(), minlength=len(edges))
    longest = altitudes(points, cells[thin]).argmin(axis=1)
    edge = index[thin, longest]
    thin, longest, edge = (x[count[edge] == 2] for x in (thin, longest, edge))
    total = np.bincount(index.ravel(), np.repeat(np.arange(len(cells)), 3), minlength=len(edges)).astype(int)
    other = total[edge] - thin
    apex, a, b = (cells[thin, (longest + k) % 3] for k in range(3))
    far = cells[other].sum(axis=1) - a - b
    new = np.stack([np.stack([apex, a, far], 1), np.stack([apex, far, b], 1)], axis=1)
    pairs = np.stack([thin, other], axis=1)

    before = altitudes(points, cells[pairs].reshape(-1, 3)).min(axis=1).reshape(-1, 2).min(axis=1)
    after = altitudes(points, new.reshape(-1, 3)).min(axis=1).reshape(-1, 2).min(axis=1)
    good = (after >= wanted) | (after > 2 * before)  # else a collapse serves better
    good &= after > _GAIN * before
    patch, normal = _normals(points, cells[pairs]).sum(axis=1), _normals(points, new)
    good &= _aligned(normal, patch[:, None]).all(axis=1)
    change = measures(points, new).sum(axis=1) - measures(points, cells[pairs]).sum(axis=1)
    good &= np.abs(change) <= _CHANGE * np.median(measures(points, cells))
    key = len(points) * np.minimum(apex, far) + np.maximum(apex, far)
    good &= (apex != far) & ~np.isin(key, len(points) * edges[:, 0] + edges[:, 1])
    pairs, new, before = pairs[good], new[good], before[good]
    op = np.repeat(np.arange(len(pairs)), 6)
    chosen = _independent(op, cells[pairs].ravel(), before, len(points))
    return pairs[chosen], new[chosen]


def _collapses(points, cells, thin, wanted):
    """Nodes to drop and the nodes to drop them into, one edge for each thin cell at most."""
    corners = cells.shape[1]
    i, j = np.nonzero(~np.eye(corners, dtype=bool))
    gone, kept = cells[thin][:, i].ravel(), cells[thin][:, j].ravel()
    owner = np.repeat(thin, len(i))
    unique, index = facets(cells)
    sides = np.bincount(index.ravel(), minlength=len(unique))
    allowed = _collapsible(cells, unique, sides, gone, kept, len(points))
    gone, kept, owner = gone[allowed], kept[allowed], owner[allowed]
    around = incidence(cells, len(points))
    op, cell = _stars(around, gone)
    old = cells[cell]
    lives = (old != kept[op][:, None]).all(axis=1)
    new = np.where(old == gone[op][:, None], kept[op][:, None], old)[lives]
    survivor = op[lives]
    # A removed cell leaves two facets that coincide; a cell beyond one of them must contain them.
    at_ends = (old == gone[op][:, None]) | (old == kept[op][:, None])
    held = np.where(at_ends, sides[index[cell]], 0).sum(axis=1) > 2

    before, after = np.full(len(gone), np.inf), np.full(len(gone), np.inf)
    np.minimum.at(before, op, altitudes(points, old).min(axis=1))
    np.minimum.at(after, survivor, altitudes(points, new).min(axis=1))
    gained = np.bincount(survivor, measures(points, new), len(gone))
    change = gained - np.bincount(op, measures(points, old), len(gone))
    if corners == 3:
        patch = np.zeros((len(gone), 3))
        np.add.at(patch, op, _normals(points, old))
        right = _aligned(_normals(points, new), patch[survivor])
    else:
        right = _signed(points, new) > 0
    good = np.bincount(survivor[~right], minlength=len(gone)) == 0
    good &= np.bincount(op[~lives & ~held], minlength=len(gone)) == 0
    good &= (after > _GAIN * before) & (np.abs(change) <= _CHANGE * np.median(measures(points, cells)))

    # For each thin cell the operation closest to the wanted altitude, then the one with the least change.
    good = np.flatnonzero(good)
    order = good[np.lexsort((np.abs(change[good]), -np.minimum(after[good], wanted), owner[good]))]
    _, first = np.unique(owner[order], return_index=True)
    best = order[first]
    ops, near = [], []
    for ends in (gone[best], kept[best]):
        which, cell = _stars(around, ends)
        ops.append(np.repeat(which, corners))
        near.append(cells[cell].ravel())
    chosen = best[_independent(np.concatenate(ops), np.concatenate(near), before[best], len(points))]
    return gone[chosen], kept[chosen]


def _collapsible(cells, unique, count, gone, kept, nodes):
    """Whether the topology allows node `gone` to be drawn along an edge into node `kept`.

    `unique` are the facets and `count` the cells at each.
    """
    rim = np.zeros(nodes, bool)
    rim[unique[count == 1]] = True
    if cells.shape[1] != 3:
        return ~rim[gone]
    pinched = np.bincount(unique[count == 1].ravel(), minlength=nodes) > 2
    pinched[unique[count > 2]] = True
    edges, _ = edges_of_cells(cells)
    ends = np.concatenate([edges, edges[:, ::-1]])
    friends = incidence(
        ends[:, 1:], nodes
    )  # places in `ends` that lead to a node; its starts are the neighbours
    op, place = _stars(friends, gone)
    key = np.sort(ends[:, 0] * np.int64(nodes) + ends[:, 1])
    sought = kept[op] * np.int64(nodes) + ends[place, 0]
    found = key[np.minimum(np.searchsorted(key, sought), len(key) - 1)] == sought
    common = np.bincount(op[found], minlength=len(gone))
    edge_key = unique[:, 0] * np.int64(nodes) + unique[:, 1]
    edge = np.searchsorted(edge_key, np.minimum(gone, kept) * np.int64(nodes) + np.maximum(gone, kept))
    sides = count[edge]
    along = ~rim[gone] | ((sides == 1) & rim[kept])
    return along & (common == sides) & ~pinched[gone] & ~pinched[kept]


def _stars(around, nodes):
    """Cells around each of the nodes, as pairs (index in `nodes`, cell)."""
    rows = around[nodes]
    return np.repeat(np.arange(len(nodes)), np.diff(rows.indptr)), rows.indices


def _independent(op, node, urgency, nodes):
    """Operations most urgent (lowest) at every node they touch; `op`, `node` list what touches what."""
    rank = np.empty(len(urgency), int)
    rank[np.argsort(urgency, kind="stable")] = np.arange(len(urgency))
    first = np.full(nodes, len(urgency))
    np.minimum.at(first, node, rank[op])
    beaten = np.bincount(op[first[node] < rank[op]], minlength=len(urgency)) > 0
    return np.flatnonzero(~beaten)


def _normals(points, triangles):
    """Normals of the length of twice the area."""
    corner = points[triangles]
    return np.cross(corner[..., 1, :] - corner[..., 0, :], corner[..., 2, :] - corner[..., 0, :])


def _aligned(one, other):
    length = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return (one * other).sum(axis=-1) > _TURN * length


def _signed(points, cells):
    corner = points[cells]
    span = corner[:, 1:] - corner[:, :1]
    return np.linalg.det(span) if span.shape[1] == span.shape[2] else np.ones(len(cells))
