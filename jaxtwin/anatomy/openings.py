"""Openings of a surface: their rings, and cutting new ones."""

from dataclasses import dataclass

import equinox as eqx
import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int, Shaped
from scipy.sparse.csgraph import connected_components

from .._results import InputError
from .mesh import Mesh
from .quality import measures
from .topology import facets, reversed_cells


@dataclass(frozen=True)
class Opening:
    """A closed ring of nodes around an opening, each node once.

    - `nodes`: (ring,), anticlockwise, seen from outside the chamber.
    - `perimeter_mm`: length of the ring. `centre`: (dim,), its centre of mass, mm.
    - `normal`: (dim,), unit vector of its mean plane, out of the chamber; zero for a ring without area, and
      for a surface in the plane.
    """

    nodes: Int[np.ndarray, " ring"]
    perimeter_mm: float
    centre: Float[np.ndarray, " dim"]
    normal: Float[np.ndarray, " dim"]


class Cut(eqx.Module):
    """The rest of a cut mesh and its origin.

    - `origin`: (nodes,), the old node of each new one. `cells`: (cells,), the old cell of each new one.
    """

    mesh: Mesh
    origin: Int[np.ndarray, " nodes"]
    cells: Int[np.ndarray, " cells"]

    def carry(self, values: Shaped[np.ndarray, "old_nodes ..."]) -> Shaped[np.ndarray, "nodes ..."]:
        """Values at the remaining nodes."""
        return values[self.origin]


def openings(mesh: Mesh) -> tuple[Opening, ...]:
    """Finds the rings of open edges of a triangle surface, the longest first; none for a closed surface.

    Raises `InputError` for other meshes, and if the open edges do not form rings: a one-sided surface, or
    edges of more than two triangles on the rim.
    """
    cells = _triangles(mesh).copy()
    turned, orientable = reversed_cells(cells)
    if not orientable:
        raise _torn("a surface with one side only")
    cells[turned] = cells[turned][:, ::-1]
    edges, index = facets(cells)
    single = np.bincount(index.ravel(), minlength=len(edges))[index] == 1
    owner, side = np.nonzero(single)
    # Opposite to the triangle, as the orientation of a lid, so that its normal agrees with theirs.
    start, end = cells[owner, (side + 2) % 3], cells[owner, (side + 1) % 3]
    rings = _rings(start, end)
    outward = _outward(mesh.points, cells, rings)
    found = [_measured(mesh.points, ring if outward >= 0 else ring[::-1]) for ring in rings]
    # rounded, so that rings of equal length have one order, independent of cell rotation
    return tuple(sorted(found, key=lambda each: (-round(each.perimeter_mm, 6), each.nodes.min())))


def cut(mesh: Mesh, out: Bool[np.ndarray, " cells"], *, largest: bool = True) -> Cut:
    """Removes the cells marked `out`, and keeps the `largest` remaining component, by measure.

    Components are connected by facets of cells, not by single nodes. Raises `InputError` if nothing remains.
    """
    if len(out) != len(mesh.cells):
        raise InputError(
            f"marks for {len(out)} cells", f"one for each of {len(mesh.cells)}", "Make them from this mesh"
        )
    kept = np.flatnonzero(~out)
    if not len(kept):
        raise InputError(
            f"a cut that takes all {len(out)} cells", "a cut that leaves a part of the mesh",
            "Look at which cells are marked as cut out, or shorten the radius (mm)",
        )  # fmt: skip
    if largest:
        label = _parts(mesh.cells[kept])
        size = np.bincount(label, measures(mesh.points, mesh.cells[kept]))
        kept = kept[label == size.argmax()]
    origin, corners = np.unique(mesh.cells[kept], return_inverse=True)
    left = Mesh(mesh.points[origin], corners.reshape(-1, mesh.corners), mesh.fibres[kept], mesh.regions[kept])
    return Cut(left, origin.astype(np.int64), kept)


def cut_at(mesh: Mesh, centre: Float[np.ndarray, " dim"], radius_mm: float) -> Cut:
    """Cuts a round hole: removes the cells whose centre lies within `radius_mm` of `centre`.

    Only cells connected with the cell nearest to `centre` are removed, so an opposite wall is kept. The rim
    follows the edges of the mesh; refine first for a smoother one. Raises `InputError` if no cell is within
    the radius, and if nothing remains.
    """
    centre = np.asarray(centre, np.float64)
    if centre.shape != (mesh.dim,) or not np.isfinite(centre).all():
        raise InputError(
            f"a centre {centre.tolist()}", f"{mesh.dim} finite coordinates in mm", "Give its place in space"
        )
    if not (np.isfinite(radius_mm) and radius_mm > 0):
        raise InputError(f"a radius of {radius_mm} mm", "a length above 0", "Use about 8 mm for a vein")
    gap = np.linalg.norm(mesh.centroids - centre, axis=1)
    inside = np.flatnonzero(gap < radius_mm)
    if not len(inside):
        raise InputError(
            f"an opening of {radius_mm:g} mm whose centre is {gap.min():.3g} mm from the nearest cell",
            "a cell with its centre inside", "Move the centre onto the surface, or enlarge the radius",
        )  # fmt: skip
    label = _parts(mesh.cells[inside])
    out = np.zeros(len(mesh.cells), bool)
    out[inside[label == label[gap[inside].argmin()]]] = True
    return cut(mesh, out)


def _triangles(mesh):
    if mesh.corners != 3:
        raise InputError(
            f"a mesh whose cells have {mesh.corners} corners", "a surface of triangles",
            "Take the surface of the volume first",
        )  # fmt: skip
    return mesh.cells.astype(np.int64)


def _parts(cells):
    """Label of the component of each cell, connected by facets."""
    unique, index = facets(cells)
    owner = np.repeat(np.arange(len(cells)), cells.shape[1])
    size = len(cells) + len(unique)
    ones = np.ones(len(owner), np.int8)
    graph = sp.coo_matrix((ones, (owner, len(cells) + index.ravel())), shape=(size, size))
    return np.unique(connected_components(graph, directed=False)[1][: len(cells)], return_inverse=True)[1]


def _rings(start, end):
    """Nodes of the rings formed by the open edges start -> end, each node once per ring; openings that touch
    at a node have separate rings."""
    if not np.array_equal(np.sort(start), np.sort(end)):
        raise _torn("open edges that end at a node")
    onward = {}
    for one, two in zip(start.tolist(), end.tolist(), strict=True):
        onward.setdefault(one, []).append(two)
    rings = []
    for node in np.unique(start).tolist():
        path, place = [], {}
        while onward[node] or path:
            if node in place:
                rings.append(np.array(path[place[node] :]))
                for each in rings[-1].tolist():
                    del place[each]
                del path[len(path) - len(rings[-1]) :]
                continue
            if not onward[node]:
                break
            place[node] = len(path)
            path.append(node)
            node = onward[node].pop()
    return rings


def _outward(points, cells, rings):
    """Volume enclosed by the surface and its lids; it is positive if the triangles are oriented outwards."""
    if points.shape[1] != 3:
        return 1.0
    centre = points[cells].mean(axis=(0, 1))
    corner = points[cells] - centre
    volume = np.einsum("ci,ci->", corner[:, 0], np.cross(corner[:, 1], corner[:, 2]))
    for ring in rings:
        around = points[ring] - centre
        area = np.cross(around, np.roll(around, -1, axis=0)).sum(axis=0)
        volume += around.mean(axis=0) @ area
    size = np.linalg.norm(np.ptp(points, axis=0)) ** 3
    return 0.0 if abs(volume) < 1e-9 * size else volume


def _measured(points, ring):
    place = points[ring]
    span = np.roll(place, -1, axis=0) - place
    length = np.linalg.norm(span, axis=1)
    middle = place + 0.5 * span
    normal = np.zeros(points.shape[1])
    if points.shape[1] == 3:
        normal = np.cross(place - place[0], np.roll(place, -1, axis=0) - place[0]).sum(axis=0)
        size = np.linalg.norm(normal)
        normal = normal / size if size > 1e-12 * length.sum() ** 2 else np.zeros(3)
    return Opening(ring, float(length.sum()), (middle * length[:, None]).sum(axis=0) / length.sum(), normal)


def _torn(what):
    return InputError(what, "a surface whose open edges close to rings", "Clean it with repair first")
