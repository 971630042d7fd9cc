"""The P1 space of a mesh: everything about its geometry that a solve needs, laid out for the device."""

from concurrent.futures import ThreadPoolExecutor
from copy import copy

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._results import InputError
from ..anatomy import Mesh
from .layout import Layout
from .p1 import mass_of, p1_gradients, scaled_mass


class Space(eqx.Module):
    """P1 finite-element space on a mesh: the geometry and layout that a solve needs.

    - `gradients`: (cells, corners, dim), 1/mm; `measures`: (cells,), mm, mm2 or mm3.
    - `mass`: (nodes,), lumped. `added_mass`: fraction of it added by mass scaling.
    - `layout`: neighbour tables, see `Layout`.
    - `edge_terms`: (terms, edges), indices of the (cells x pairs) element entries that contribute to an edge.

    **Example:** `space = jt.Space(jt.sheet(20.0, 20.0, 0.5), mass_scaling=0.005)`
    """

    gradients: Float[Array, "cells corners dim"]
    measures: Float[Array, " cells"]
    mass: Float[Array, " nodes"]
    cells: Int[Array, "cells corners"]
    layout: Layout
    edge_terms: Int[Array, "terms edges"]
    added_mass: float = eqx.field(static=True)
    consistent_mass: float = eqx.field(static=True)

    def __init__(self, mesh: Mesh, *, mass_scaling: float = 0.0, consistent_mass: float = 0.5, dtype=None):
        """`consistent_mass`: fraction of the consistent mass matrix in the blend with the lumped one, 0 to
        0.5. At 0.5 the leading error of the wave speed cancels, for one more sparse product per step.

        `mass_scaling`: fraction of the total mass that may be added to the nodes of the smallest cells, which
        would otherwise dictate the time step; see `scaled_mass`.

        `dtype`: precision of the solve; JAX's default float if omitted.
        """
        if not 0.0 <= consistent_mass <= 0.5:
            raise InputError(
                f"a share of the consistent mass of {consistent_mass}",
                "0 to 0.5",
                "Choose 0.5, or 0 for lumped",
            )
        self.consistent_mass = float(consistent_mass)
        real = jnp.zeros((), dtype or float).dtype
        nodes, measures = len(mesh.points), mesh.measures
        mass = mass_of(mesh.cells, measures, nodes)
        if not (measures > 0).all() or not (mass > 0).all():
            raise InputError(
                f"{int((measures <= 0).sum())} cells of no size and "
                f"{int((mass <= 0).sum())} nodes without a cell",
                "cells of positive measure and nodes that belong to one",
                "Clean the mesh with `jaxtwin.anatomy.repair` (the command line does so by default)",
            )
        with ThreadPoolExecutor(1) as beside:  # sorting the edges takes as long as all the geometry
            edges = beside.submit(edges_of, mesh)
            gradients, scaled = p1_gradients(mesh), mass
            if mass_scaling > 0:
                squares = [np.einsum("ci,ci,c->c", g, g, measures) for g in gradients.swapaxes(0, 1)]
                each = zip(mesh.cells.T, squares, strict=True)
                diagonal = sum((np.bincount(c, w, nodes) for c, w in each), np.zeros(nodes))
                scaled = scaled_mass(mass, diagonal, mass_scaling)
            ends, terms = edges.result()
        self.edge_terms = jnp.asarray(terms)
        self.gradients = jnp.asarray(gradients, real)
        self.measures = jnp.asarray(measures, real)
        self.mass = jnp.asarray(scaled, real)
        self.added_mass = float(scaled.sum() / mass.sum() - 1.0)
        self.cells = jnp.asarray(mesh.cells)
        self.layout = Layout(mesh.points, ends)

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.mass.shape[0]

    def with_share(self, consistent_mass: float) -> "Space":
        """The same space with another fraction of consistent mass."""
        return self.replaced(consistent_mass=consistent_mass)

    def replaced(self, **fields) -> "Space":
        """The same space with other values of these fields."""
        other = copy(self)
        for name, value in fields.items():
            object.__setattr__(other, name, value)
        return other

    def to_cells(
        self, values: Float[Array, " nodes"], cells: Int[Array, " some"] | None = None
    ) -> Float[Array, " some"]:
        """Mean over the corners of each cell, or only of the given `cells`."""
        corners = self.cells if cells is None else self.cells[cells]
        return values[corners].mean(axis=1)


def edges_of(mesh: Mesh) -> tuple[Int[np.ndarray, "edges two"], Int[np.ndarray, "terms edges"]]:
    """`mesh.edges`, and the pairs of corners that contribute to each; unused entries hold the number of
    pairs."""
    keys = mesh.edge_keys
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    counts = np.diff(np.r_[first, len(keys)])
    terms = np.full((counts.max(), len(first)), len(keys), np.int32)
    for row in range(len(terms)):
        has = counts > row
        terms[row, has] = order[first[has] + row]
    return np.stack(np.divmod(keys[first], len(mesh.points)), axis=1), terms
