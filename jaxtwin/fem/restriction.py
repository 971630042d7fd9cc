"""Restriction of the neighbours of a mesh to sets of nodes, in arrays of equal shape."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from .layout import Layout

ROUND = 64  # widths are multiples of this number of nodes
SPARE = 0.05  # widths exceed what is needed by this fraction, so that similar sets share compiled programs
CUT_SPARE = 0.5  # the same of cut edges, which cost little


class Restriction(eqx.Module):
    """Sets of nodes and the edges inside each. All arrays have the set as leading axis and are padded.

    - `nodes`: (sets, width), ascending within each slice of the layout; the number of nodes marks padding.
    - `layout`: of each set in its own numbering, without the edges that leave it.
    - `edges`: (sets, edges), the edges of the mesh that those of the layout are; their number is padding.
    - `inside`, `outside`: (sets, cut), the ends of the edges that leave a set: the first in its own
      numbering, the second a node of the mesh, or the number of nodes as padding.
    - `widths`: number of nodes of each slice, and of the cut edges.
    """

    nodes: Int[Array, "sets width"]
    layout: Layout
    edges: Int[Array, "sets edges"]
    inside: Int[Array, "sets cut"]
    outside: Int[Array, "sets cut"]
    widths: tuple[int, ...] = eqx.field(static=True)


def restrict(
    layout: Layout, sets: list[Bool[np.ndarray, " nodes"]], least: tuple[int, ...] = ()
) -> Restriction:
    """Restricts a layout to `sets` of nodes, given as masks. `least`: the `widths` of another restriction, as
    lower bounds: where they suffice, both have the same shape."""
    runs = [(run, np.asarray(piece.neighbours), np.asarray(piece.edges)) for run, piece in layout.runs()]
    owned = [piece.owned for piece in layout.slices]
    chosen = [[run.start + np.flatnonzero(mask[run]) for run, _, _ in runs] for mask in sets]
    least = least or (ROUND,) * (len(runs) + 1)
    widths = [_rounded(max(each[k].size for each in chosen), least[k]) for k in range(len(runs))]
    cutter = _Cutter(layout, runs, owned, widths)
    made = [cutter.cut(each) for each in chosen]
    cut = _rounded(max(len(one.inside) for one in made), least[-1], CUT_SPARE)
    ends = np.stack([np.pad(one.inside, (0, cut - len(one.inside))) for one in made])
    others = [np.pad(one.outside, (0, cut - len(one.outside)), constant_values=layout.rows) for one in made]
    edges = np.stack([one.edges for one in made])
    leaves = []
    for k in range(len(runs)):
        leaves.append(np.stack([one.neighbours[k] for one in made]).astype(np.uint32))
        leaves.append(np.stack([one.slots[k] for one in made]).astype(np.int32))
    leaves.append(np.stack([one.loose for one in made]).astype(np.uint32))
    leaves.append(np.broadcast_to(np.arange(edges.shape[1], dtype=np.int32), edges.shape))
    whole = jax.tree.unflatten(jax.tree.structure(layout), map(jnp.asarray, leaves))
    return Restriction(
        jnp.asarray(np.stack([one.nodes for one in made]).astype(np.int32)), whole,
        jnp.asarray(edges.astype(np.int32)), jnp.asarray(ends.astype(np.int32)),
        jnp.asarray(np.stack(others).astype(np.int32)), (*widths, cut),
    )  # fmt: skip


def _rounded(count: int, least: int, spare: float = SPARE) -> int:
    """`least` if it suffices, otherwise more than `count`."""
    step = max(ROUND, 1 << max(count.bit_length() - 4, 0))
    return least if count <= least else max(-(-int((1.0 + spare) * count) // step), 1) * step


class _Cut(NamedTuple):
    """One set, see `Restriction`, padded except for its cut edges. `neighbours`, `slots`: of each slice."""

    nodes: np.ndarray
    neighbours: list[np.ndarray]
    slots: list[np.ndarray]
    edges: np.ndarray
    loose: np.ndarray
    inside: np.ndarray
    outside: np.ndarray


class _Cutter:
    """Cuts sets of nodes out of a layout."""

    def __init__(self, layout: Layout, runs, owned: list[int], widths: list[int]):
        self.runs, self.owned, self.widths = runs, owned, widths
        self.starts = np.r_[0, np.cumsum(widths)]
        self.owners, self.loose = np.asarray(layout.owners), np.asarray(layout.loose, np.int64)
        self.nodes, self.total = layout.rows, len(self.owners)
        lengths = [few * (run.stop - run.start) for few, (run, _, _) in zip(owned, runs, strict=True)]
        self.first = np.r_[0, np.cumsum(lengths)]  # place of each slice among the slots that own edges
        beyond = np.flatnonzero(self.owners >= self.first[-1])
        self.beyond = beyond[np.argsort(self.owners[beyond])]
        self.place, self.number = np.full(self.nodes, -1), np.full(self.total + 1, -1)

    def cut(self, chosen: list[np.ndarray]) -> _Cut:
        """One set, given as the nodes in each slice."""
        place, number, total = self.place, self.number, self.total
        nodes = np.full(self.starts[-1], self.nodes)
        for start, each in zip(self.starts, chosen, strict=False):
            nodes[start : start + len(each)] = each
            place[each] = start + np.arange(len(each))
        edges, tables, inside, outside = [], [], [], []
        first = 0
        for k, (run, neighbours, of_slot) in enumerate(self.runs):
            each = chosen[k] - run.start
            near, edge = neighbours[:, each], of_slot[:, each]
            there, used = place[near], edge < total
            kept = used & (there >= 0)
            slot, column = np.nonzero(used & ~kept)
            inside.append(self.starts[k] + column)
            outside.append(near[slot, column])
            # a node that owns few edges has others in its first slots too
            few, length = self.owned[k], run.stop - run.start
            position = self.first[k] + length * np.arange(few)[:, None] + each
            own = kept[:few] & (self.owners[np.where(used, edge, 0)[:few]] == position)
            table = np.full((few, self.widths[k]), total)
            table[:, : len(each)] = np.where(own, edge[:few], total)
            table = table.ravel()
            filled = np.flatnonzero(table < total)
            number[table[filled]] = first + filled
            edges.append(table)
            first += table.size
            tables.append((there, edge, kept))
        ends = place[self.loose]
        held = (ends >= 0).all(axis=0)
        number[self.beyond[held]] = first + np.flatnonzero(held)
        edges.append(np.where(held, self.beyond, total))
        none = first + len(self.beyond)
        near, slots = [], []
        for k, (there, edge, kept) in enumerate(tables):
            own, n = self.starts[k] + np.arange(self.widths[k]), len(chosen[k])
            near.append(np.tile(own, (len(there), 1)))
            near[-1][:, :n] = np.where(kept, there, own[:n])
            slots.append(np.full(near[-1].shape, none))
            slots[-1][:, :n] = np.where(kept, number[np.where(kept, edge, total)], none)
        place[np.concatenate(chosen)] = -1
        return _Cut(
            nodes, near, slots, np.concatenate(edges), np.where(held, ends, 0),
            np.concatenate(inside), np.concatenate(outside),
        )  # fmt: skip
