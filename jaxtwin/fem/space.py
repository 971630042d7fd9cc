"""The P1 space of a mesh: everything about its geometry that a solve needs, laid out for the device."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._results import InputError
from ..anatomy import Mesh
from .p1 import lumped_mass, p1_gradients


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


class Space(eqx.Module):
    """P1 functions on a mesh.

    Sparse matrices with the pattern of the mesh are kept as padded neighbour lists (ELL), slot-major:
    row k of `neighbours` holds the k-th neighbour of every node, and nodes with fewer neighbours point
    to themselves. No product needs an atomic operation, and each slot is one contiguous array.

    - `gradients`: (cells, corners, dim), 1/mm; `measures`: (cells,), mm to the topological dimension.
    - `mass`: (nodes,), lumped.
    - `neighbours`: (slots, nodes); `edge_of`: (slots, nodes), the undirected edge behind each slot, or
      the number of edges where the slot is empty.
    - `edge_terms`: (terms, edges), which of the (cells x pairs) element entries make up an edge.
    """

    gradients: Float[Array, "cells corners dim"]
    measures: Float[Array, " cells"]
    mass: Float[Array, " nodes"]
    cells: Int[Array, "cells corners"]
    neighbours: Int[Array, "slots nodes"]
    edge_of: Int[Array, "slots nodes"]
    edge_terms: Int[Array, "terms edges"]

    def __init__(self, mesh: Mesh, dtype=None):
        """`dtype` is the precision of the solve; JAX's default float where none is given."""
        real = jnp.zeros((), dtype or float).dtype
        mass = lumped_mass(mesh)
        if not (mesh.measures > 0).all() or not (mass > 0).all():
            raise InputError(
                f"{int((mesh.measures <= 0).sum())} cells of no size and {int((mass <= 0).sum())} nodes without a cell",
                "cells of positive measure and nodes that belong to one",
                "Clean the mesh with `jaxtwin.anatomy.repair` (the command line does so by default)",
            )
        gradients, measures = p1_gradients(mesh)
        nodes, a_b = len(mesh.points), np.triu_indices(mesh.corners, 1)
        pairs = np.sort(mesh.cells[:, np.stack(a_b, 1)].reshape(-1, 2), axis=1)
        key, edge_of_term = np.unique(pairs[:, 0].astype(np.int64) * nodes + pairs[:, 1], return_inverse=True)
        ends = np.stack([key // nodes, key % nodes], 1)
        terms, edges = np.arange(len(pairs)), np.arange(len(key))
        self.gradients = jnp.asarray(gradients, real)
        self.measures = jnp.asarray(measures, real)
        self.mass = jnp.asarray(mass, real)
        self.cells = jnp.asarray(mesh.cells)
        rows = np.r_[ends[:, 0], ends[:, 1]]
        self.neighbours = jnp.asarray(padded(rows, np.r_[ends[:, 1], ends[:, 0]], nodes, np.arange(nodes)))
        self.edge_of = jnp.asarray(padded(rows, np.r_[edges, edges], nodes, len(key)))
        self.edge_terms = jnp.asarray(padded(edge_of_term.ravel(), terms, len(key), len(pairs)))

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.mass.shape[0]

    def to_cells(self, values: Float[Array, " nodes"]) -> Float[Array, " cells"]:
        """The mean over the corners of each cell."""
        return values[self.cells].mean(axis=1)

    def to_nodes(self, values: Float[Array, " cells"]) -> Float[Array, " nodes"]:
        """The mean over the cells around each node, weighted by their measure."""
        share = jnp.repeat(self.measures * values, self.cells.shape[1]) / self.cells.shape[1]
        return jnp.zeros_like(self.mass).at[self.cells.ravel()].add(share) / self.mass
