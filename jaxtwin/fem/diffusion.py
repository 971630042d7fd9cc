"""The anisotropic Laplacian M_L^-1 div(D grad u) as a sparse product."""

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


class Diffusion(eqx.Module):
    """u -> M_L^-1 div(D grad u) with no flux through the boundary.

    (A u)_i = 1/m_i sum_j k_ij (u_j - u_i): the difference form is exact on constants in any precision,
    and k is symmetric, so that A is self-adjoint in the inner product of M.

    - `slices`: neighbours; `conductances`: k, one (slots, run) array per slice; `inverse_mass`: (nodes,).
    """

    slices: tuple[Slice, ...]
    conductances: tuple[Float[Array, "slots run"], ...]
    inverse_mass: Float[Array, " nodes"]

    def __init__(self, space: Space, diffusivity: Float[Array, "cells dim dim"]):
        self.slices = space.slices
        conductance = jnp.append(edge_conductances(space, diffusivity), 0.0)
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
