"""Interpolation from the nodes of a mesh to points near it: measurements do not lie on nodes."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._results import InputError
from ..anatomy import Mesh
from ..anatomy.closest import closest


class Interpolation(eqx.Module):
    """Linear interpolation at fixed points: `values(x) = sum_c weights_c values[nodes_c]`.

    - `nodes`: (points, corners), the nodes of the cell that is closest to each point.
    - `weights`: (points, corners), barycentric, not negative, sum 1.
    - `distance`: (points,), from each point to the mesh, mm.
    """

    nodes: Int[Array, "points corners"]
    weights: Float[Array, "points corners"]
    distance: Float[np.ndarray, " points"]

    def __call__(self, values: Float[Array, "... nodes"]) -> Float[Array, "... points"]:
        """Values at the points, linear in `values`; not finite if a corner with a nonzero weight is not
        finite."""
        corners, weights = values[..., self.nodes], self.weights.astype(values.dtype)
        # drops weights of 0: a NaN at a corner without influence must not spread
        corners = jnp.where(jnp.broadcast_to(weights > 0.0, corners.shape), corners, 0.0)
        return jnp.einsum("pc,...pc->...p", weights, corners)

    def nearest(self) -> Int[np.ndarray, " points"]:
        """The node with the largest weight at each point."""
        nodes, corner = np.asarray(self.nodes), np.asarray(self.weights).argmax(axis=1)[:, None]
        return np.take_along_axis(nodes, corner, axis=1)[:, 0]


def locate(mesh: Mesh, positions) -> Interpolation:
    """Finds the closest point of the mesh for each position, exactly.

    **Arguments:** `mesh`. `positions`: (points, dim), mm.

    **Returns:** an `Interpolation`.

    **Raises:** `InputError` for positions that are not finite or whose dimension differs from the mesh.
    """
    positions = np.asarray(positions, np.float64)
    _check(mesh, positions)
    found = closest(mesh, positions)
    nodes = jnp.asarray(mesh.cells[found.cells])
    return Interpolation(nodes, jnp.asarray(found.weights, dtype=float), found.distance)


def _check(mesh, positions):
    if positions.ndim != 2 or positions.shape[1] != mesh.dim:
        raise InputError(
            f"positions of shape {positions.shape} for a mesh in {mesh.dim} dimensions",
            f"an array of shape (points, {mesh.dim}) in mm",
            "Give the points as rows, with as many coordinates as the mesh has",
        )
    finite = np.isfinite(positions).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{int((~finite).sum())} positions with NaN or infinite coordinates, "
            f"the first at index {int(np.argmin(finite))}",
            "finite coordinates in mm",
            "Remove those points, or mark them invalid before they are placed on the mesh",
        )
