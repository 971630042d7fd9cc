"""Uniform refinement by edge midpoints."""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from .._results import InputError
from .mesh import Mesh
from .topology import edges_of_cells

# Corners 0..3 and then midpoints of the edges in the order 01 02 .. 12 ..
_SEGMENT = np.array([[0, 2], [2, 1]])
_TRIANGLE = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2], [3, 5, 4]])
_TETRAHEDRON = np.array([[0, 4, 5, 6], [4, 1, 7, 8], [5, 7, 2, 9], [6, 8, 9, 3]])
_DIAGONALS = np.array([[4, 9], [5, 8], [6, 7]])  # of the central octahedron
_RINGS = np.array([[6, 8, 7, 5], [7, 9, 6, 4], [4, 5, 9, 8]])  # the other four midpoints around each diagonal


class Refinement(eqx.Module):
    """A refined mesh and the origin of its nodes.

    - `mesh`: the fine mesh; the coarse nodes come first and keep their indices.
    - `parents`: (nodes, 2), the two coarse nodes whose midpoint a fine node is; (i, i) for coarse node i.
    - `cells`: (cells,), the coarse cell of each fine cell.
    """

    mesh: Mesh
    parents: Int[np.ndarray, "nodes 2"]
    cells: Int[np.ndarray, " cells"]

    def carry(self, values: Float[np.ndarray, "coarse ..."]) -> Float[np.ndarray, "nodes ..."]:
        """Interpolates values at coarse nodes linearly to the fine ones; exact for linear fields.

        A fine node is NaN if a parent is: no value is derived from a missing one.
        """
        return values[self.parents].mean(axis=1)

    def carry_set(self, chosen: Bool[np.ndarray, " coarse"]) -> Bool[np.ndarray, " nodes"]:
        """A set of coarse nodes and the fine nodes between two of them."""
        one, other = self.parents.T
        return chosen[one] & chosen[other]

    @property
    def origin(self) -> Int[np.ndarray, " nodes"]:
        """The coarse node that each node is, -1 for an added one."""
        one, other = self.parents.T
        return np.where(one == other, one, -1)


def refine_with_map(mesh: Mesh) -> Refinement:
    """Refines a mesh once by halving every edge: segments into 2, triangles into 4, tetrahedra into 8.

    The central octahedron of a tetrahedron is cut along its shortest diagonal, which keeps the shapes from
    degrading in repeated refinement (Bey 1995, doi 10.1007/BF02238487). Fibres and regions are inherited,
    orientation is kept.

    **Returns:** a `Refinement`.
    """
    edges, of_cell = edges_of_cells(mesh.cells)
    nodes = len(mesh.points)
    local = np.concatenate([mesh.cells, nodes + of_cell], axis=1)
    points = np.concatenate([mesh.points, mesh.points[edges].mean(axis=1)])
    children = halves(points, local)
    owner = np.repeat(np.arange(len(mesh.cells), dtype=np.int32), children.shape[1])
    fine = Mesh(points, children.reshape(-1, mesh.corners), mesh.fibres[owner], mesh.regions[owner])
    kept = np.arange(nodes)
    parents = np.concatenate([np.stack([kept, kept], axis=1), edges]).astype(np.int32)
    return Refinement(fine, parents, owner)


def halves(
    points: Float[np.ndarray, "nodes dim"], local: Int[np.ndarray, "cells local"]
) -> Int[np.ndarray, "cells pieces corners"]:
    """The 2 segments, 4 triangles or 8 tetrahedra of each cell. `local`: nodes at the corners, then at the
    midpoints of the edges 01 02 .. 12 .."""
    if local.shape[1] == 10:
        return np.concatenate([local[:, _TETRAHEDRON], _octahedra(points, local)], axis=1)
    return local[:, _SEGMENT if local.shape[1] == 3 else _TRIANGLE]


def refine(mesh: Mesh, times: int = 1) -> Mesh:
    """Refines a mesh uniformly: halves every edge `times` times (0 returns the mesh itself).

    **Raises:** `InputError` for a negative number.

    **Example:** `fine = jt.refine(mesh, 1)`
    """
    if times < 0:
        raise InputError(
            f"refine {times} times", "a whole number of 0 or more", "To coarsen, mesh with a longer edge"
        )
    for _ in range(times):
        mesh = refine_with_map(mesh).mesh
    return mesh


def _octahedra(points, local):
    """The four tetrahedra around the shortest diagonal of the octahedron between the midpoints."""
    ends = points[local[:, _DIAGONALS]]
    shortest = ((ends[:, :, 1] - ends[:, :, 0]) ** 2).sum(axis=2).argmin(axis=1)
    ring = _RINGS[shortest]
    axis = np.broadcast_to(_DIAGONALS[shortest][:, None], (len(local), 4, 2))
    corners = np.concatenate([axis, np.stack([ring, np.roll(ring, -1, axis=1)], axis=2)], axis=2)
    return np.take_along_axis(local, corners.reshape(len(local), 16), axis=1).reshape(len(local), 4, 4)
