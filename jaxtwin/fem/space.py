"""The P1 space of a mesh: everything about its geometry that a solve needs, laid out for the device."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._results import InputError
from ..anatomy import Mesh
from .layout import Layout, padded
from .p1 import lumped_mass, p1_gradients, scaled_mass


class Space(eqx.Module):
    """P1 functions on a mesh.

    - `gradients`: (cells, corners, dim), 1/mm; `measures`: (cells,), mm to the topological dimension.
    - `mass`: (nodes,), lumped. `added_mass`: the fraction of it that mass scaling has added.
    - `layout`: where the neighbours of each node stand.
    - `edge_terms`: (terms, edges), which of the (cells x pairs) element entries make up an edge.
    """

    gradients: Float[Array, "cells corners dim"]
    measures: Float[Array, " cells"]
    mass: Float[Array, " nodes"]
    cells: Int[Array, "cells corners"]
    layout: Layout
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
        self.gradients = jnp.asarray(gradients, real)
        self.measures = jnp.asarray(measures, real)
        self.mass = jnp.asarray(scaled, real)
        self.added_mass = float(scaled.sum() / mass.sum() - 1.0)
        self.cells = jnp.asarray(mesh.cells)
        self.layout = Layout(mesh.points, ends)
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
