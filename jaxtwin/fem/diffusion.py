"""Sparse products in difference form: diffusion, and what lumping took from the mass matrix."""

from collections.abc import Iterator

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .space import Slice, Space


def edge_conductances(space: Space, diffusivity: Float[Array, "cells dim dim"]) -> Float[Array, " edges"]:
    """Off-diagonal entries of the stiffness matrix with the sign turned: -sum_c |c| grad_a . D grad_b."""
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
    """(A u)_i = 1/m_i sum_j k_ij (u_j - u_i), with one number k for each edge of the mesh.

    The difference form is exact on constants in any precision, and k is symmetric, so that A is
    self-adjoint in the inner product of M.

    - `slices`: neighbours; `conductances`: k, one (slots, run) array per slice; `inverse_mass`: (nodes,).
    """

    slices: tuple[Slice, ...]
    conductances: tuple[Float[Array, "slots run"], ...]
    inverse_mass: Float[Array, " nodes"]

    def __init__(self, space: Space, of_edges: Float[Array, " edges"]):
        self.slices = space.slices
        conductance = jnp.append(of_edges, 0.0)
        self.conductances = tuple(conductance[s.edges] for s in space.slices)
        self.inverse_mass = 1.0 / space.mass

    def differences(self, u: Float[Array, " nodes"]) -> Iterator[list[Float[Array, " run"]]]:
        """For each slice and slot, u at the neighbour less u at the node."""
        start = 0
        for piece in self.slices:
            own = u[start : start + piece.neighbours.shape[1]]
            yield [u[row] - own for row in piece.neighbours]
            start += piece.neighbours.shape[1]

    def __call__(self, u: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        # unrolled over the slots, so that each slice is one loop and fuses with what stands around it
        fluxes = [
            sum(
                (k * d for k, d in zip(conductance[1:], difference[1:], strict=True)),
                conductance[0] * difference[0],
            )
            for conductance, difference in zip(self.conductances, self.differences(u), strict=True)
        ]
        return self.inverse_mass * jnp.concatenate(fluxes)

    def spectral_bound(self) -> Float[Array, ""]:
        """An upper bound of the largest eigenvalue of -A (Gershgorin), 1/ms."""
        return jnp.max(
            2.0 * self.inverse_mass * jnp.concatenate([jnp.abs(k).sum(axis=0) for k in self.conductances])
        )


def diffusion_operator(space: Space, diffusivity: Float[Array, "cells dim dim"]) -> EdgeOperator:
    """u -> M_L^-1 div(D grad u) with no flux through the boundary."""
    return EdgeOperator(space, edge_conductances(space, diffusivity))


def dispersion_operator(space: Space, share: float) -> EdgeOperator:
    """v -> E v = share M_L^-1 (M_L - M_C) v, with M_C the consistent mass matrix.

    (I + E) M_L^-1 is the inverse of the blend (1 - share) M_L + share M_C to first order in E. Lumped mass
    slows a wave and consistent mass speeds it up by the same leading term: at a share of 1/2 it cancels.
    E has no negative eigenvalue and none above share (d + 1)/(d + 2).
    """
    return EdgeOperator(space, -share * edge_masses(space))
