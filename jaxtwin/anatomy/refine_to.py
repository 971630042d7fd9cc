"""Local refinement of a triangle surface where its edges are too long."""

import equinox as eqx
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from .._results import InputError
from .closest import interpolated
from .mesh import Mesh
from .topology import edges_of_cells

_MOST = 20_000_000  # cells; a wrong unit leads to far more


class LocalRefinement(eqx.Module):
    """A refined surface and the origin of its nodes.

    - `mesh`: the fine mesh; the coarse nodes come first and keep their indices.
    - `parents`: (nodes, 3), coarse nodes. `weights`: (nodes, 3), barycentric, not negative, sum 1: a fine
      node lies in one coarse triangle at sum_k weights_k x[parents_k].
    - `cells`: (cells,), the coarse cell of each fine cell.
    """

    mesh: Mesh
    parents: Int[np.ndarray, "nodes 3"]
    weights: Float[np.ndarray, "nodes 3"]
    cells: Int[np.ndarray, " cells"]

    def carry(self, values: Float[np.ndarray, "coarse ..."]) -> Float[np.ndarray, "nodes ..."]:
        """Interpolates values at coarse nodes linearly to the fine ones; exact for linear fields.

        A fine node is NaN if a parent is not finite: no value is derived from a missing one.
        """
        return interpolated(values, self.parents, self.weights)


def refine_to(mesh: Mesh, edge_mm: float) -> LocalRefinement:
    """Splits every edge longer than `edge_mm` at its midpoint, repeatedly, until none is left.

    A triangle with one, two or three edges to split becomes two, three or four. Its longest edge is always
    among them, so neighbours agree without further closure. The cut runs from the midpoint of the longest
    edge to the opposite corner (Rivara 1984, doi 10.1002/nme.1620200412), which keeps angles above half of
    the smallest initial one; with three edges to split and no obtuse angle the triangle becomes four similar
    ones. No node moves, so the surface is unchanged; most edges end up between half of `edge_mm` and
    `edge_mm`.

    Regions and fibres are inherited, orientation is kept. Raises `InputError` for meshes that do not consist
    of triangles, and for an edge length that is not positive or would give too many cells.
    """
    if mesh.corners != 3:
        raise InputError(
            f"a mesh whose cells have {mesh.corners} corners", "a surface of triangles",
            "Use remesh, which takes tetrahedra too, or refine, which halves the edges of any mesh",
        )  # fmt: skip
    check_edge(mesh, edge_mm)
    points, cells = mesh.points, mesh.cells.astype(np.int64)
    origin = np.arange(len(cells))
    share = sp.csr_matrix(sp.identity(len(points)))
    while True:
        edges, of_cell = edges_of_cells(cells)
        long = np.linalg.norm(points[edges[:, 1]] - points[edges[:, 0]], axis=1) > edge_mm
        if not long.any():
            break
        middle = np.full(len(edges), -1)
        middle[long] = len(points) + np.arange(long.sum())
        ends = edges[long]
        points = np.concatenate([points, points[ends].mean(axis=1)])
        share = sp.csr_matrix(sp.vstack([share, 0.5 * (share[ends[:, 0]] + share[ends[:, 1]])]))
        cells, parent = _split(points, cells, middle[of_cell])
        origin = origin[parent]
    fine = Mesh(points, cells, mesh.fibres[origin], mesh.regions[origin])
    parents, weights = _rows(share)
    return LocalRefinement(fine, parents, weights, origin)


def _split(points, cells, middle):
    """Children of all cells and the cell of each. `middle`: (cells, 3), new nodes on edges 01 02 12, or -1.

    Each cell is rotated until its longest edge is 01; then m is the midpoint of that edge, and p, q those of
    12 and 20.
    """
    corner = points[cells]
    length = np.linalg.norm(corner - np.roll(corner, -1, axis=1), axis=2)  # edges 01, 12, 20
    turn = (length.argmax(axis=1)[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(cells, turn, axis=1).T
    m, p, q = np.take_along_axis(middle[:, [0, 2, 1]], turn, axis=1).T
    with_p, with_q = p >= 0, q >= 0
    both = with_p & with_q
    # The four-sided rest between m and the corner opposite takes its shorter diagonal: m c or p q.
    halfway = np.linalg.norm(points[p] - points[q], axis=1)
    obtuse = np.linalg.norm(points[m] - points[c], axis=1) < halfway
    templates = [
        (m < 0, [(a, b, c)]),
        ((m >= 0) & ~with_p & ~with_q, [(a, m, c), (m, b, c)]),
        (with_p & ~with_q, [(a, m, c), (m, b, p), (m, p, c)]),
        (with_q & ~with_p, [(a, m, q), (q, m, c), (m, b, c)]),
        (both & obtuse, [(a, m, q), (q, m, c), (m, b, p), (m, p, c)]),
        (both & ~obtuse, [(a, m, q), (m, b, p), (q, p, c), (m, p, q)]),
    ]
    children, parent = [], []
    for which, parts in templates:
        chosen = np.flatnonzero(which)
        for part in parts:
            children.append(np.stack(part, axis=1)[chosen])
            parent.append(chosen)
    parent = np.concatenate(parent)
    order = np.argsort(parent, kind="stable")  # children stay next to their parents
    return np.concatenate(children)[order], parent[order]


def _rows(share):
    """A sparse matrix of up to three entries in a row as two tables; spare places repeat the first entry."""
    share.sort_indices()
    count = np.diff(share.indptr)
    place = share.indptr[:-1, None] + np.minimum(np.arange(3), count[:, None] - 1)
    weights = np.where(np.arange(3) < count[:, None], share.data[place], 0.0)
    parents = np.where(np.arange(3) < count[:, None], share.indices[place], share.indices[place[:, :1]])
    return parents.astype(np.int64), weights


def check_edge(mesh: Mesh, edge_mm: float) -> None:
    """Raises `InputError` for an edge length that is not positive or would give too many cells, and for
    meshes of segments."""
    if mesh.corners < 3:
        raise InputError(
            f"a mesh whose cells have {mesh.corners} corners", "triangles or tetrahedra",
            "Use refine, which halves the edges of any mesh",
        )  # fmt: skip
    if not (np.isfinite(edge_mm) and edge_mm > 0):
        raise InputError(f"an edge of {edge_mm} mm", "a length above 0", "Use 1 to 1.5 mm for an atrium")
    one = np.sqrt(3.0) / 4.0 * edge_mm**2 if mesh.corners == 3 else edge_mm**3 / (6.0 * np.sqrt(2.0))
    cells = mesh.measures.sum() / one
    if cells > _MOST:
        raise InputError(
            f"an edge of {edge_mm:g} mm, which needs {cells:.1g} cells or more",
            f"an edge that {_MOST:.0e} cells can have", "Check the unit of the points, or lengthen it",
        )  # fmt: skip
