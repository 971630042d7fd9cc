"""Where the neighbours of each node stand: tables without which no sparse product is fast."""

from itertools import combinations, pairwise

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Array, Float, Int, UInt


def padded(keys: Int[np.ndarray, " rows"], count: int, *columns) -> list[Int[np.ndarray, "most keys"]]:
    """The values of each key in a column of a (most, count) table, in their order, the rest filled.

    One table for each of `columns`: (values, fill), fill a number or one per key.
    """
    rows = np.arange(len(keys))
    # the conversion of formats groups by key in linear time and keeps the order within
    grouped = sp.coo_array((np.empty(len(keys), np.int8), (keys, rows)), (count, len(keys))).tocsr()
    order = grouped.indices
    slot = rows - np.repeat(grouped.indptr[:-1], np.diff(grouped.indptr))
    tables = []
    for values, fill in columns:
        table = np.empty((int(slot.max()) + 1, count), np.int32)
        table[:] = fill
        table[slot, keys[order]] = values[order]
        tables.append(table)
    return tables


def balanced_owners(points: np.ndarray, ends: Int[np.ndarray, "edges two"]) -> Int[np.ndarray, " edges"]:
    """Which end (0 or 1) owns each edge, so that every node owns about half of its edges.

    The end that lies behind, seen in a fixed direction: half of the edges of a node point ahead. Where more
    do, a few passes hand one edge each to nodes that own less.
    """
    # no mesh is aligned with it by design
    ahead = points @ np.array([1.0, 0.6180339887, 0.7548776662])[: points.shape[1]]
    side, edges = (ahead[ends[:, 0]] > ahead[ends[:, 1]]).astype(np.int64), np.arange(len(ends))
    half = 0.5 * np.bincount(ends.ravel(), minlength=len(points))
    for _ in range(8):
        owner, other = ends[edges, side], ends[edges, 1 - side]
        excess = np.bincount(owner, minlength=len(points)) - half
        moved = np.flatnonzero((excess[owner] > 0.5) & (excess[other] < excess[owner] - 0.5))
        moved = moved[np.unique(owner[moved], return_index=True)[1]]
        moved = moved[np.unique(other[moved], return_index=True)[1]]
        if not len(moved):
            break
        side[moved] = 1 - side[moved]
    return side


def worthwhile(load: Int[np.ndarray, " run"]) -> int:
    """How many slots to give to owned edges where a node owns `load`; the edges beyond are kept loose, at
    the price of two places each."""
    counts = np.arange(int(load.max()) + 1)
    beyond = np.maximum(load[None] - counts[:, None], 0).sum(axis=1)
    return int(np.argmin(counts * len(load) + 2 * beyond))


def cuts(degree: Int[np.ndarray, " nodes"], most: int = 3) -> list[int]:
    """Where to cut the rows into at most `most` runs so that padding each to its widest costs least."""
    nodes = len(degree)
    widest = np.maximum.accumulate(degree[::-1])[::-1]  # of this row and all after it
    ends = np.flatnonzero(np.diff(widest)) + 1  # rows where the rest gets narrower
    best, chosen = int(widest[0]) * nodes, [0, nodes]
    for count in range(1, most):
        for inner in combinations(ends.tolist(), count):
            bounds = [0, *inner, nodes]
            cost = sum(int(widest[a]) * (b - a) for a, b in pairwise(bounds))
            if cost < best:
                best, chosen = cost, bounds
    return chosen


class Slice(eqx.Module):
    """A run of consecutive nodes and their neighbours, slot-major: (slots, nodes of the run).

    Row k of `neighbours` holds the k-th neighbour of every node; nodes with fewer neighbours point to
    themselves. `edges`: the undirected edge behind each, or the number of edges where the slot is empty.
    Each edge but a few loose ones is owned by one of its ends, and stands in one of the first `owned` slots
    of that node. The indices are unsigned, which spares the gather the look at their sign.
    """

    neighbours: UInt[Array, "slots run"]
    edges: Int[Array, "slots run"]
    owned: int = eqx.field(static=True)


class Layout(eqx.Module):
    """The neighbours of all nodes, and where each undirected edge stands among them.

    Tables are padded, in slices of consecutive nodes (sliced ELL): no product needs an atomic operation, and
    each slot is one contiguous array. `jaxtwin.anatomy.reorder` numbers the nodes for tight slices.

    - `slices`: neighbours of all nodes.
    - `loose`: (2, loose), the ends of the edges that no slot owns.
    - `owners`: (edges,), where each edge stands among the owned slots of all slices and the loose ones.
    """

    slices: tuple[Slice, ...]
    loose: UInt[Array, "two loose"]
    owners: Int[Array, " edges"]

    def __init__(self, points: Float[np.ndarray, "nodes dim"], ends: Int[np.ndarray, "edges two"]):
        nodes, edges = len(points), np.arange(len(ends))
        side = balanced_owners(points, ends)
        owner, other = ends[edges, side], ends[edges, 1 - side]
        # the owned ones first, so that they take the first slots
        rows = np.r_[owner, other]
        neighbours, edge_of = padded(
            rows, nodes, (np.r_[other, owner], np.arange(nodes)), (np.r_[edges, edges], len(ends))
        )
        degree, load = np.bincount(rows, minlength=nodes), np.bincount(owner, minlength=nodes)
        slices, owners, place, loose = [], np.empty(len(ends), np.int32), 0, []
        for a, b in pairwise(cuts(degree)):
            slots, owned = degree[a:b].max(), worthwhile(load[a:b])
            table = edge_of[:slots, a:b]
            slices.append(
                Slice(jnp.asarray(neighbours[:slots, a:b].astype(np.uint32)), jnp.asarray(table), owned)
            )
            rank = np.arange(slots)[:, None]
            used, late = rank[:owned] < load[None, a:b], (rank >= owned) & (rank < load[None, a:b])
            owners[table[:owned][used]] = place + np.flatnonzero(used)
            loose.append(table[late])
            place += used.size
        beyond = np.concatenate(loose)
        owners[beyond] = place + np.arange(len(beyond))
        self.slices, self.owners = tuple(slices), jnp.asarray(owners)
        self.loose = jnp.asarray(ends[beyond].T.astype(np.uint32))

    def runs(self):
        """Each slice with the nodes it stands for."""
        start = 0
        for piece in self.slices:
            stop = start + piece.neighbours.shape[1]
            yield slice(start, stop), piece
            start = stop
