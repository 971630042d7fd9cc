"""A surface whose small holes are closed."""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.spatial import KDTree

from .._results import InputError
from .mesh import Mesh
from .openings import openings
from .quality import measures
from .topology import components, edges_of_cells, reversed_cells

TINY_MM = 12.0  # perimeter: the narrowest vein of eleven real left atria has 12.7 mm
# mean cosine between the wall around a hole and its plane; around the ends of real veins it is 0.2 to 0.7
IN_PLANE = 0.8
SMALL = 0.05  # of the area of its component, up to which a hole is small: the outline of a patch is no hole


class Closed(eqx.Module):
    """A surface whose small holes are closed, without a new node.

    - `cells`: (cells,), the old cell of each new one; for those in a hole, one at its rim.
    - `perimeters_mm`: (holes,), of the holes that were closed, the longest first.
    """

    mesh: Mesh
    cells: Int[np.ndarray, " cells"]
    perimeters_mm: Float[np.ndarray, " holes"]

    def carry(self, values: Shaped[np.ndarray, "nodes ..."]) -> Shaped[np.ndarray, "nodes ..."]:
        """Values at the nodes, which are the same."""
        return values


def close_holes(
    mesh: Mesh, perimeter_mm: float = 30.0, *, keep: Bool[np.ndarray, " nodes"] | None = None
) -> Closed:
    """Closes the holes of a surface with a perimeter below `perimeter_mm`, but not the ends of veins.

    A hole lies in a wall: the wall around it is in its plane. Around the end of a vein it is not, and an end
    with a perimeter of more than 12 mm stays open.

    Each hole gets the triangles of the least area between the nodes of its rim (Barequet and Sharir 1995,
    doi 10.1016/0167-8396(94)00011-G), with region and fibre of their neighbours. They are as thin as the rim
    is uneven: `remesh` the surface afterwards.

    **Arguments:**

    - `perimeter_mm`: 30 mm is a hole of 10 mm in diameter; 0 closes none. A hole larger than 5 % of the area
      of its component stays open.
    - `keep`: (nodes,), a hole with one of these nodes at its rim stays open.

    **Returns:** a `Closed`.

    **Raises:** `InputError` for a perimeter that is not a length, meshes other than surfaces, and if the open
    edges do not form rings (see `openings`).
    """
    if not (np.isfinite(perimeter_mm) and perimeter_mm >= 0):
        raise InputError(
            f"holes with a perimeter below {perimeter_mm} mm", "a length in mm, 0 or more",
            "Use 30 mm for an atrium, 0 to close none",
        )  # fmt: skip
    label = components(mesh.cells, len(mesh.points))
    area = np.bincount(label, mesh.measures)
    of_node = np.zeros(len(mesh.points), np.int64)
    of_node[mesh.cells] = label[:, None]
    beside = _at_rim(mesh.cells)
    points = np.pad(mesh.points, ((0, 0), (0, 3 - mesh.dim)))
    corner = points[mesh.cells]
    normals = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])  # twice the area long
    lids, origin, closed = [], [], []
    for ring in openings(mesh):
        nodes = ring.nodes
        wide = ring.perimeter_mm**2 >= 4 * np.pi * SMALL * area[of_node[nodes[0]]]
        if ring.perimeter_mm >= perimeter_mm or wide or (keep is not None and keep[nodes].any()):
            continue
        if ring.perimeter_mm > TINY_MM and mesh.dim == 3 and _in_plane(mesh, normals, ring) < IN_PLANE:
            continue
        lid = _least_area(mesh.points[nodes], _edges_among(mesh.cells, nodes))
        if lid is None:
            continue
        lids.append(nodes[lid])
        origin.append(np.full(len(lid), beside[tuple(sorted(nodes[:2].tolist()))]))
        closed.append(ring.perimeter_mm)
    cells = np.concatenate([mesh.cells, *lids]).astype(np.int64)
    turned, _ = reversed_cells(cells)
    cells[turned] = cells[turned][:, ::-1]
    come = np.concatenate([np.arange(len(mesh.cells)), *origin]).astype(np.int64)
    return Closed(Mesh(mesh.points, cells, mesh.fibres[come], mesh.regions[come]), come, np.array(closed))


def _in_plane(mesh, normals, ring):
    """Mean cosine between a ring and the wall around it, as far as half the radius of the ring."""
    gap = KDTree(mesh.points[ring.nodes]).query(mesh.points)[0]
    near = (gap[mesh.cells] <= ring.perimeter_mm / (4 * np.pi)).any(axis=1)
    size = np.linalg.norm(normals[near], axis=1).sum()
    return np.abs(normals[near] @ ring.normal).sum() / max(size, np.finfo(float).tiny)


def _at_rim(cells):
    """The cell of each open edge."""
    unique, of_cell = edges_of_cells(cells)
    single = np.bincount(of_cell.ravel(), minlength=len(unique)) == 1
    owner, side = np.nonzero(single[of_cell])
    edges = unique[of_cell[owner, side]].tolist()
    return {(one, two): cell for (one, two), cell in zip(edges, owner.tolist(), strict=True)}


def _edges_among(cells, nodes):
    """Mask of the pairs of ring nodes that the surface already joins by an edge, (ring, ring)."""
    number = np.full(int(cells.max()) + 1, -1)
    number[nodes] = np.arange(len(nodes))
    edges = number[edges_of_cells(cells)[0]]
    edges = edges[(edges >= 0).all(axis=1)]
    joined = np.zeros((len(nodes), len(nodes)), bool)
    joined[edges[:, 0], edges[:, 1]] = joined[edges[:, 1], edges[:, 0]] = True
    return joined


def _least_area(
    ring: Float[np.ndarray, "ring dim"], joined: Bool[np.ndarray, "ring ring"]
) -> Int[np.ndarray, "triangles 3"] | None:
    """Triangles between the nodes of a ring with the least area, without an edge that is there already; None
    where there are none."""
    count = len(ring)
    if count < 3:
        return None
    least = np.full((count, count), np.inf)
    split = np.zeros((count, count), np.int64)
    start = np.arange(count - 1)
    least[start, start + 1] = 0.0
    for span in range(2, count):
        i = np.arange(count - span)
        j = i + span
        k = i[:, None] + np.arange(1, span)
        corners = np.stack(np.broadcast_arrays(i[:, None], k, j[:, None]), axis=2)
        area = measures(ring, corners.reshape(-1, 3)).reshape(k.shape)
        total = least[i[:, None], k] + least[k, j[:, None]] + area
        best = total.argmin(axis=1)
        free = ~joined[i, j] | (span == count - 1)  # the last pair is an edge of the ring
        least[i, j] = np.where(free, total[i - i[0], best], np.inf)
        split[i, j] = k[i - i[0], best]
    if not np.isfinite(least[0, -1]):
        return None
    found, open_spans = [], [(0, count - 1)]
    while open_spans:
        i, j = open_spans.pop()
        if j - i > 1:
            k = int(split[i, j])
            found.append((i, k, j))
            open_spans += [(i, k), (k, j)]
    return np.array(found)
