"""The P1 space of a mesh: everything about its geometry that a solve needs, laid out for the device."""

from itertools import combinations, pairwise

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._results import InputError
from ..anatomy import Mesh
from .p1 import lumped_mass, p1_gradients, scaled_mass


def ranks(sorted_keys: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """Position of each row among the rows of the same key, for keys in ascending order."""
    first = np.flatnonzero(np.r_[True, sorted_keys[1:] != sorted_keys[:-1]])
    return np.arange(len(sorted_keys)) - np.repeat(first, np.diff(np.r_[first, len(sorted_keys)]))


def padded(keys: Int[np.ndarray, " rows"], values: Int[np.ndarray, " rows"], count: int, fill) -> np.ndarray:
    """The values of each key in a column of a (most, count) table, unused places holding `fill`."""
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    slot = ranks(keys)
    table = np.empty((int(slot.max()) + 1, count), np.int32)
    table[:] = fill
    table[slot, keys] = values
    return table


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
    """

    neighbours: Int[Array, "slots run"]
    edges: Int[Array, "slots run"]


class Space(eqx.Module):
    """P1 functions on a mesh.

    Sparse matrices with the pattern of the mesh are kept as padded neighbour lists in slices of
    consecutive nodes (sliced ELL): no product needs an atomic operation, and each slot is one contiguous
    array. `jaxtwin.anatomy.reorder` numbers the nodes so that the slices are tight.

    - `gradients`: (cells, corners, dim), 1/mm; `measures`: (cells,), mm to the topological dimension.
    - `mass`: (nodes,), lumped. `added_mass`: the fraction of it that mass scaling has added.
    - `slices`: neighbours of all nodes.
    - `edge_terms`: (terms, edges), which of the (cells x pairs) element entries make up an edge.
    """

    gradients: Float[Array, "cells corners dim"]
    measures: Float[Array, " cells"]
    mass: Float[Array, " nodes"]
    cells: Int[Array, "cells corners"]
    slices: tuple[Slice, ...]
    edge_terms: Int[Array, "terms edges"]
    added_mass: float = eqx.field(static=True)
    consistent_mass: float = eqx.field(static=True)

    def __init__(self, mesh: Mesh, *, mass_scaling: float = 0.0, consistent_mass: float = 0.0, dtype=None):
        """`consistent_mass`: share of the consistent mass matrix in the blend with the lumped one, 0 to 0.5.
        At 0.5 the leading error of the speed of a wave cancels, for one more sparse product in each step.

        `mass_scaling`: fraction of mass that may be added, in all, to the nodes of the smallest cells.

        They alone would dictate the time step; see `scaled_mass`. `dtype` is the precision of the solve;
        JAX's default float where none is given.
        """
        if not 0.0 <= consistent_mass <= 0.5:
            raise InputError(
                f"a share of the consistent mass of {consistent_mass}",
                "0 to 0.5",
                "Choose 0.5, or 0 for lumped",
            )
        self.consistent_mass = float(consistent_mass)
        real = jnp.zeros((), dtype or float).dtype
        mass = lumped_mass(mesh)
        if not (mesh.measures > 0).all() or not (mass > 0).all():
            raise InputError(
                f"{int((mesh.measures <= 0).sum())} cells of no size and "
                f"{int((mass <= 0).sum())} nodes without a cell",
                "cells of positive measure and nodes that belong to one",
                "Clean the mesh with `jaxtwin.anatomy.repair` (the command line does so by default)",
            )
        gradients, measures = p1_gradients(mesh)
        if mass_scaling > 0:
            stiffness = np.einsum("c,cai,cai->ca", measures, gradients, gradients)
            diagonal = np.bincount(mesh.cells.ravel(), stiffness.ravel(), len(mass))
            scaled = scaled_mass(mass, diagonal, mass_scaling)
        else:
            scaled = mass
        nodes, a_b = len(mesh.points), np.triu_indices(mesh.corners, 1)
        pairs = np.sort(mesh.cells[:, np.stack(a_b, 1)].reshape(-1, 2), axis=1)
        key, edge_of_term = np.unique(pairs[:, 0].astype(np.int64) * nodes + pairs[:, 1], return_inverse=True)
        ends = np.stack([key // nodes, key % nodes], 1)
        edges = np.arange(len(key))
        self.gradients = jnp.asarray(gradients, real)
        self.measures = jnp.asarray(measures, real)
        self.mass = jnp.asarray(scaled, real)
        self.added_mass = float(scaled.sum() / mass.sum() - 1.0)
        self.cells = jnp.asarray(mesh.cells)
        rows = np.r_[ends[:, 0], ends[:, 1]]
        neighbours = padded(rows, np.r_[ends[:, 1], ends[:, 0]], nodes, np.arange(nodes))
        edge_of = padded(rows, np.r_[edges, edges], nodes, len(key))
        degree = np.bincount(rows, minlength=nodes)
        self.slices = tuple(
            Slice(
                jnp.asarray(neighbours[: degree[a:b].max(), a:b]),
                jnp.asarray(edge_of[: degree[a:b].max(), a:b]),
            )
            for a, b in pairwise(cuts(degree))
        )
        self.edge_terms = jnp.asarray(
            padded(edge_of_term.ravel(), np.arange(len(pairs)), len(key), len(pairs))
        )

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.mass.shape[0]

    def to_cells(self, values: Float[Array, " nodes"]) -> Float[Array, " cells"]:
        """The mean over the corners of each cell."""
        return values[self.cells].mean(axis=1)
