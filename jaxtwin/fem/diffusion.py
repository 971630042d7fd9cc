"""Sparse products in difference form: diffusion, and the difference between lumped and consistent mass."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .layout import Layout, at, cut
from .space import Space


def edge_conductances(space: Space, diffusivity: Float[Array, "cells dim dim"]) -> Float[Array, " edges"]:
    """Negated off-diagonal entries of the stiffness matrix: -sum_c |c| grad_a . D grad_b."""
    a, b = np.triu_indices(space.cells.shape[1], 1)
    flux = jnp.einsum("cij,cbj->cbi", diffusivity, space.gradients)
    entry = -jnp.einsum("c,cpi,cpi->cp", space.measures, space.gradients[:, a], flux[:, b]).ravel()
    return jnp.append(entry, 0.0)[space.edge_terms].sum(axis=0)


def edge_masses(space: Space) -> Float[Array, " edges"]:
    """Off-diagonal entries of the consistent mass matrix, |c|/((d + 1)(d + 2)) summed over the cells c."""
    corners = space.cells.shape[1]
    pairs = corners * (corners - 1) // 2
    entry = jnp.repeat(space.measures / (corners * (corners + 1)), pairs)
    return jnp.append(entry, 0.0)[space.edge_terms].sum(axis=0)


class EdgeOperator(eqx.Module):
    """The operator (A u)_i = sum_j w_ij (u_j - u_i), w_ij = k_ij/m_i, with one coefficient k per edge of the
    mesh.

    The difference form is exact for constants in any precision, and k is symmetric, so A is self-adjoint in
    the inner product of M.

    - `of_edges`: k, (edges,). `inverse_mass`: (nodes,). `layout`: see `Space`.
    - `weights`: w, one (slots, run) array per slice.
    """

    of_edges: Float[Array, " edges"]
    inverse_mass: Float[Array, " nodes"]
    layout: Layout
    weights: tuple[Float[Array, "slots run"], ...]

    def __init__(
        self, of_edges: Float[Array, " edges"], inverse_mass: Float[Array, " nodes"], layout: Layout
    ):
        self.of_edges, self.inverse_mass, self.layout = of_edges, inverse_mass, layout
        k = jnp.append(of_edges, 0.0)
        self.weights = tuple(inverse_mass[run][None] * k[piece.edges] for run, piece in layout.runs())

    def with_edges(self, of_edges: Float[Array, " edges"]) -> "EdgeOperator":
        """The same operator with other edge coefficients."""
        return EdgeOperator(of_edges, self.inverse_mass, self.layout)

    def __call__(self, u: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        return self.then(lambda product: product, u)

    def then(self, local: Callable[..., Array], u: Float[Array, " nodes"], *fields) -> Float[Array, " nodes"]:
        """local(A u, *fields), where `local` is node-local.

        `fields`: PyTrees of nodal arrays and of shared values, see `nodal_leaves`. It works slice by slice,
        unrolled over the slots, so that each slice is one loop over its nodes from gather to result. If
        `local` were applied after joining the slices, that loop would have to find the slice of each node.
        The arrays should be materialised in memory; see `Layout.each`.
        """
        pieces = []
        for (run, piece), weights in zip(self.layout.runs(), self.weights, strict=True):
            own = u[run]
            terms = [w * (at(u, row) - own) for w, row in zip(weights, piece.neighbours, strict=True)]
            pieces.append(local(sum(terms[1:], terms[0]), *cut(fields, run)))
        return jax.lax.optimization_barrier(self.layout.extend(jnp.concatenate(pieces)))

    def edge_products(self, scales, qs, ys) -> list[Array]:
        """sum over r of scales_r (q_j - q_i)_r (y_j - y_i)_r: an array for each owned slot, and the loose."""

        def products(difference: Callable[[Array], Array]) -> Array:
            terms = [s * (difference(q) * difference(y)) for s, q, y in zip(scales, qs, ys, strict=True)]
            return sum(terms[1:], terms[0])

        rows = [
            products(lambda v, r=run, row=row: at(v, row) - v[r])
            for run, piece in self.layout.runs()
            for row in piece.neighbours[: piece.owned]
        ]
        return [*rows, products(lambda v: at(v, self.layout.loose[1]) - at(v, self.layout.loose[0]))]

    def no_products(self) -> list[Array]:
        """Zeros in the shape of `edge_products`."""
        zero = self.inverse_mass.dtype
        sizes = [p.neighbours.shape[1] for p in self.layout.slices for _ in range(p.owned)]
        return [jnp.zeros(size, zero) for size in (*sizes, self.layout.loose.shape[1])]

    def to_edges(self, rows: list[Array]) -> Float[Array, " edges"]:
        """Edge coefficients from the values of the slots and of the loose edges."""
        return jnp.concatenate(rows)[self.layout.owners]

    def spectral_bound(self) -> Float[Array, ""]:
        """An upper bound of the largest eigenvalue of -A (Gershgorin), 1/ms."""
        return 2.0 * jnp.max(jnp.concatenate([jnp.abs(w).sum(axis=0) for w in self.weights]))


def diffusion_operator(space: Space, diffusivity: Float[Array, "cells dim dim"]) -> EdgeOperator:
    """u -> M_L^-1 div(D grad u) with no flux through the boundary."""
    return EdgeOperator(edge_conductances(space, diffusivity), 1.0 / space.mass, space.layout)


def dispersion_operator(space: Space, share: float) -> EdgeOperator:
    """The operator v -> E v = share M_L^-1 (M_L - M_C) v, with M_C the consistent mass matrix.

    (I + E) M_L^-1 is the inverse of the blend (1 - share) M_L + share M_C to first order in E. Lumped mass
    slows a wave and consistent mass accelerates it by the same leading term, which cancels at a fraction of
    1/2. E has no negative eigenvalue and none above share (d + 1)/(d + 2).
    """
    return EdgeOperator(-share * edge_masses(space), 1.0 / space.mass, space.layout)
