"""Neighbour tables for fast sparse products."""

from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Array, Float, Int, UInt

from .._types import nodal_leaves


def padded(keys: Int[np.ndarray, " rows"], count: int, *columns) -> list[Int[np.ndarray, "most keys"]]:
    """The values of each key in a column of a (most, count) table, in their order, padded.

    One table for each of `columns`: (values, fill), fill a number or one per key.
    """
    rows = np.arange(len(keys))
    # the format conversion groups by key in linear time and keeps the order within a key
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


def balanced_owners(
    points: np.ndarray, ends: Int[np.ndarray, "edges two"], rows: int
) -> Int[np.ndarray, " edges"]:
    """The end (0 or 1) that owns each edge, so that every node owns about half of its edges.

    The owner is the rear end along a fixed direction: half of the edges of a node point ahead. Where a node
    owns more, a few passes transfer one edge each to nodes that own fewer. Nodes from `rows` on own none.
    """
    # no mesh is aligned with it by design
    ahead = points @ np.array([1.0, 0.6180339887, 0.7548776662])[: points.shape[1]]
    side, edges = (ahead[ends[:, 0]] > ahead[ends[:, 1]]).astype(np.int64), np.arange(len(ends))
    side = np.where(ends[:, 0] >= rows, 1, np.where(ends[:, 1] >= rows, 0, side))
    half = 0.5 * np.bincount(ends.ravel(), minlength=len(points))
    half[rows:] = -np.inf  # rows beyond never have a deficit
    for _ in range(3):
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
    """Number of slots for owned edges if a node owns `load`; further edges are loose, at the cost of two
    entries each."""
    counts = np.arange(int(load.max()) + 1)
    beyond = np.maximum(load[None] - counts[:, None], 0).sum(axis=1)
    return int(np.argmin(counts * len(load) + 2 * beyond))


def cuts(degree: Int[np.ndarray, " nodes"], most: int = 3) -> list[int]:
    """Positions that cut the rows into 2 to `most` slices with the least padding to the widest row of each.

    Never a single slice: see `Layout.each`.
    """
    nodes = len(degree)
    widest = np.maximum.accumulate(degree[::-1])[::-1]  # of this row and all after it
    ends = np.flatnonzero(np.diff(widest)) + 1  # rows where the rest gets narrower
    best, chosen = int(widest[0]) * nodes, [0, nodes // 2, nodes] if nodes > 1 else [0, nodes]
    for count in range(1, most):
        for inner in combinations(ends.tolist(), count):
            bounds = [0, *inner, nodes]
            cost = sum(int(widest[a]) * (b - a) for a, b in pairwise(bounds))
            if cost < best:
                best, chosen = cost, bounds
    return chosen


def at(u: Float[Array, " nodes"], nodes: UInt[Array, " run"]) -> Float[Array, " run"]:
    """u[nodes]; `jnp` indexing would check the sign of each index and wrap it."""
    dims = jax.lax.GatherDimensionNumbers(
        offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,)
    )  # fmt: skip
    return jax.lax.gather(
        u, nodes[:, None], dims, (1,), mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
    )  # fmt: skip


def cut(fields, run: slice):
    """PyTrees restricted to a range of nodes; shared values are unchanged (see `nodal_leaves`)."""
    leaves = [leaf[..., run] if at_nodes else leaf for _, leaf, at_nodes in nodal_leaves(fields)]
    return jax.tree.unflatten(jax.tree.structure(fields), leaves)


def joined(parts: list):
    """The inverse of `cut` for results computed on ranges of nodes: shared values are summed."""
    leaves = zip(nodal_leaves(parts[0]), *map(jax.tree.leaves, parts), strict=True)
    whole = [
        jnp.concatenate(each, axis=-1) if at_nodes else sum(each[1:], each[0])
        for (_, _, at_nodes), *each in leaves
    ]
    return jax.tree.unflatten(jax.tree.structure(parts[0]), whole)


class Slice(eqx.Module):
    """A range of consecutive nodes and their neighbours, slot-major: (slots, nodes of the range).

    Row k of `neighbours` holds the k-th neighbour of every node; nodes with fewer neighbours point to
    themselves. `edges`: the undirected edge of each slot, or the number of edges if the slot is empty. Each
    edge except a few loose ones is owned by one of its ends and occupies one of the first `owned` slots of
    that node. The indices are unsigned, so that the gather does not check their sign.
    """

    neighbours: UInt[Array, "slots run"]
    edges: Int[Array, "slots run"]
    owned: int = eqx.field(static=True)


class Halo(eqx.Module):
    """The nodes that a part of a mesh needs from other parts, on as many devices as there are parts.

    - `sent`: nodes of this part that others need; `borrowed`: position of each halo node among the
      concatenated values that all parts send. `axis`: of the device mesh.
    """

    sent: UInt[Array, " sent"]
    borrowed: UInt[Array, " borrowed"]
    axis: str = eqx.field(static=True)

    def extend(self, u: Float[Array, " rows"]) -> Float[Array, " nodes"]:
        """The values of the own nodes of this part and of its halo nodes."""
        if self.borrowed.shape[-1] == 0:
            return u
        return jnp.concatenate(
            [u, at(jax.lax.all_gather(at(u, self.sent), self.axis, tiled=True), self.borrowed)]
        )


class Layout(eqx.Module):
    """The neighbours of all nodes, and the position of each undirected edge among them.

    Tables are padded, in slices of consecutive nodes (sliced ELL): no product needs an atomic operation, and
    each slot is one contiguous array. `jaxtwin.anatomy.reorder` numbers the nodes so that the slices are
    compact.

    - `slices`: neighbours of all nodes.
    - `loose`: (2, loose), the ends of the edges that no slot owns.
    - `owners`: (edges,), position of each edge among the owned slots of all slices and the loose edges.
    - `halo`: the nodes of other devices if the mesh is split; they have no rows here.
    """

    slices: tuple[Slice, ...]
    loose: UInt[Array, "two loose"]
    owners: Int[Array, " edges"]
    halo: Halo | None

    def __init__(
        self,
        points: Float[np.ndarray, "nodes dim"],
        ends: Int[np.ndarray, "edges two"],
        *,
        rows: int | None = None,
        bounds: list[int] | None = None,
        owned: list[int] | None = None,
    ):
        """`rows`: number of nodes that have rows; all if None. `bounds`, `owned`: of the slices; optimised if
        None."""
        nodes, edges = len(points) if rows is None else rows, np.arange(len(ends))
        side = balanced_owners(points, ends, nodes)
        owner, other = ends[edges, side], ends[edges, 1 - side]
        back = other < nodes
        # the owned ones first, so that they take the first slots
        row = np.r_[owner, other[back]]
        neighbours, edge_of = padded(
            row, nodes, (np.r_[other, owner[back]], np.arange(nodes)), (np.r_[edges, edges[back]], len(ends))
        )
        degree, load = np.bincount(row, minlength=nodes), np.bincount(owner, minlength=nodes)
        slices, owners, place, loose = [], np.zeros(len(ends), np.int32), 0, []
        for k, (a, b) in enumerate(pairwise(bounds or cuts(degree))):
            few = worthwhile(load[a:b]) if owned is None else owned[k]
            slots = max(int(degree[a:b].max()), few)
            table, tail = edge_of[:slots, a:b], ((0, max(0, slots - len(edge_of))), (0, 0))
            table = np.pad(table, tail, constant_values=len(ends))
            there = np.concatenate(
                [neighbours[:slots, a:b], np.tile(np.arange(a, b), (len(table) - len(edge_of[:slots]), 1))]
            )
            slices.append(Slice(jnp.asarray(there.astype(np.uint32)), jnp.asarray(table), few))
            rank = np.arange(slots)[:, None]
            used, late = rank[:few] < load[None, a:b], (rank >= few) & (rank < load[None, a:b])
            owners[table[:few][used]] = place + np.flatnonzero(used)
            loose.append(table[late])
            place += used.size
        beyond = np.concatenate(loose)
        owners[beyond] = place + np.arange(len(beyond))
        self.slices, self.owners = tuple(slices), jnp.asarray(owners)
        self.loose = jnp.asarray(ends[beyond].T.astype(np.uint32))
        self.halo = None

    @property
    def rows(self) -> int:
        """Number of nodes that have rows here."""
        return sum(piece.neighbours.shape[1] for piece in self.slices)

    def extend(self, u: Float[Array, " rows"]) -> Float[Array, " nodes"]:
        """The values at all nodes, from those at the nodes that have rows."""
        return u if self.halo is None else self.halo.extend(u)

    def shared(self, u: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """u, with the values at halo nodes replaced by those of their owners."""
        return self.extend(u[: self.rows])

    def each(self, local: Callable[..., Any], *fields):
        """local(*fields) at all nodes, where `local` is node-local; every result is materialised in memory.

        `fields`: PyTrees of nodal arrays and of shared values, see `nodal_leaves`. Nodal results are joined,
        shared results are summed.

        It works in two parts, because XLA computes a joined array once, but would recompute other arrays for
        each of their readers; and in a function of its own, called at each node, for readers that need a
        slice.
        """
        nodes = self.rows + (0 if self.halo is None else self.halo.borrowed.shape[-1])
        spans = [slice(0, nodes // 2), slice(nodes // 2, nodes)]
        parts = [local(*cut(fields, span)) for span in spans]
        return jax.lax.optimization_barrier(joined(parts))

    def runs(self):
        """Each slice with its range of nodes."""
        start = 0
        for piece in self.slices:
            stop = start + piece.neighbours.shape[1]
            yield slice(start, stop), piece
            start = stop
