"""The anisotropic Laplacian M_L^-1 div(D grad u) as a sparse product."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .space import Space


def edge_conductances(
    space: Space, diffusivity: Float[Array, "cells dim dim"]
) -> Float[Array, " edges"]:
    """Off-diagonal entries of the stiffness matrix with the sign turned: -sum_c |c| grad_a . D grad_b."""
    a, b = np.triu_indices(space.cells.shape[1], 1)
    flux = jnp.einsum("cij,cbj->cbi", diffusivity, space.gradients)
    entry = -jnp.einsum("c,cpi,cpi->cp", space.measures, space.gradients[:, a], flux[:, b]).ravel()
    return jnp.append(entry, 0.0)[space.edge_terms].sum(axis=0)


class Diffusion(eqx.Module):
    """u -> M_L^-1 div(D grad u) with no flux through the boundary.

    (A u)_i = 1/m_i sum_j k_ij (u_j - u_i): the difference form is exact on constants in any precision,
    and k is symmetric, so that the transpose is the same product with the division by m before it.

    - `neighbours`, `conductances`: (slots, nodes); `inverse_mass`: (nodes,).
    """

    neighbours: Int[Array, "slots nodes"]
    conductances: Float[Array, "slots nodes"]
    inverse_mass: Float[Array, " nodes"]

    def __init__(self, space: Space, diffusivity: Float[Array, "cells dim dim"]):
        self.neighbours = space.neighbours
        self.conductances = jnp.append(edge_conductances(space, diffusivity), 0.0)[space.edge_of]
        self.inverse_mass = 1.0 / space.mass

    def flux(self, u: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """sum_j k_ij (u_j - u_i). Unrolled over the slots, so that it fuses with what stands around it."""
        terms = [
            self.conductances[k] * (u[self.neighbours[k]] - u) for k in range(self.neighbours.shape[0])
        ]
        return sum(terms[1:], terms[0])

    def __call__(self, u: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        return self.inverse_mass * self.flux(u)

    def spectral_bound(self) -> Float[Array, ""]:
        """An upper bound of the largest eigenvalue of -A (Gershgorin), 1/ms."""
        return jnp.max(2.0 * self.inverse_mass * jnp.abs(self.conductances).sum(axis=0))
