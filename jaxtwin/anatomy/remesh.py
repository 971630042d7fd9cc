"""A remeshed surface or volume: cells of one size and good shape in place of those of a file.

By MMG (Dapogny et al. 2014, doi 10.1016/j.jcp.2014.01.005).
"""

import equinox as eqx
import mmgpy
import numpy as np
from jaxtyping import Bool, Float, Int

from .._results import InputError
from .closest import closest, interpolated
from .fibres import place_fibres
from .manifold import manifold
from .mesh import Mesh
from .quality import quality, shape_quality
from .refine_to import check_edge
from .repair import repair
from .slivers import remove_slivers

LEAST_QUALITY = 0.3  # of a surface, after which no further pass is made
SHORT, LONG = 0.5, 1.6  # of the edge asked for
SHARE = 0.99  # of the edges within these, after which no further pass is made
FLAT = 0.01  # quality of a cell whose nodes are not moved onto the old surface
PASSES = 4  # at most: a rough rim or region border takes a second
CORNER = 60.0  # degrees between the sides of a corner of a flat surface
_AT_NODE = 1e-6  # weight that a node of the old mesh may lack to be the same


class Remeshed(eqx.Module):
    """A remeshed mesh and the origin of its nodes.

    - `parents`: (nodes, corners), old nodes. `weights`: (nodes, corners), barycentric, not negative, sum 1:
      the closest point of the old mesh to a node is sum_k weights_k x[parents_k]. On a surface it is the
      node, but for a few in sharp folds.
    - `cells`: (cells,), the old cell closest to each new one, of the same region.
    """

    mesh: Mesh
    parents: Int[np.ndarray, "nodes corners"]
    weights: Float[np.ndarray, "nodes corners"]
    cells: Int[np.ndarray, " cells"]

    def carry(self, values: Float[np.ndarray, "old_nodes ..."]) -> Float[np.ndarray, "nodes ..."]:
        """Interpolates values at the old nodes linearly; NaN if a parent is not finite."""
        return interpolated(values, self.parents, self.weights)

    def carry_set(self, chosen: Bool[np.ndarray, " old_nodes"]) -> Bool[np.ndarray, " nodes"]:
        """Maps a set of old nodes: a new node belongs to it where at least half of its weight does."""
        return (self.weights * chosen[self.parents]).sum(axis=1) >= 0.5

    @property
    def origin(self) -> Int[np.ndarray, " nodes"]:
        """The old node at the place of each new one, -1 if there is none."""
        best = self.weights.argmax(axis=1)[:, None]
        node = np.take_along_axis(self.parents, best, axis=1)[:, 0]
        return np.where(np.take_along_axis(self.weights, best, axis=1)[:, 0] >= 1.0 - _AT_NODE, node, -1)


def edge_share(mesh: Mesh, edge_mm: float) -> float:
    """Fraction of the edges of a mesh between 0.5 and 1.6 of `edge_mm`."""
    length = mesh.edge_lengths
    return float(((length >= SHORT * edge_mm) & (length <= LONG * edge_mm)).mean())


def remesh(mesh: Mesh, edge_mm: float) -> Remeshed:
    """Replaces the cells of a mesh by cells of good shape with edges of about `edge_mm`, finer or coarser.

    Rims and borders between regions stay, cut into pieces of the new length; other creases do not, since
    maps of mapping systems are rough. The new nodes of a surface lie on the old one; details smaller than
    `edge_mm` are lost. Real surfaces end with a least `quality` of 0.3 or more and 99 % of the edges between
    half and 1.6 of `edge_mm`. The same mesh gives the same result.

    Fibres are those of the closest old cell of the same region, projected into the plane of a triangle.
    Slivers are removed before (see `repair`; nodes are not merged and no part is dropped), and a surface that
    branches is cut apart there (see `manifold`).

    **Arguments:**

    - `mesh`: triangles, in the plane or in space, or tetrahedra.
    - `edge_mm`: wanted length of the edges, mm.

    **Returns:** a `Remeshed`, whose `carry` maps nodal values.

    **Raises:** `InputError` for segments, for an edge length that is not positive or would give too many
    cells, and for a mesh that cannot be remeshed.

    **Example:** `mesh = jt.remesh(jt.atrial_shell(2.0), 1.0).mesh`
    """
    check_edge(mesh, edge_mm)
    clean = repair(mesh, merge_distance=0, keep="all")
    nodes, cells, old = clean.origin, clean.cells, clean.mesh
    if mesh.corners == 3:
        apart = manifold(old)
        nodes, cells, old = nodes[apart.origin], cells[apart.cells], apart.mesh
    place = _placed(old, (_surface if mesh.corners == 3 else _volume)(old, edge_mm))
    return Remeshed(place.mesh, nodes[place.parents], place.weights, cells[place.cells])


def _surface(mesh, edge_mm):
    """Points, cells and regions, remeshed until shape and size are as promised; the best of all passes."""
    points = np.pad(mesh.points, ((0, 0), (0, 3 - mesh.dim)))
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    # On a flat surface corners of the outline are kept; on others a crease is noise, whose nodes would stay.
    corners = {"ar": CORNER} if spread[2] < 1e-6 * spread[0] else {"angle": 0}
    old = Mesh(points, mesh.cells, regions=mesh.regions)
    now, best, most = old, None, (False, -1.0)
    for _ in range(PASSES):
        try:
            made = _by_mmg(mmgpy.MmgMeshS(), now, edge_mm, corners)
        except InputError:
            if best is None:
                raise
            break
        now = _swept(_on(old, manifold(made).mesh))
        least, share = float(quality(now).min()), edge_share(now, edge_mm)
        if best is None or (share >= SHARE, least) > most:
            best, most = now, (share >= SHARE, least)
        if share >= SHARE and least >= LEAST_QUALITY:
            break
    assert best is not None
    return Mesh(best.points[:, : mesh.dim], best.cells, regions=best.regions)


def _volume(mesh, edge_mm):
    return _by_mmg(mmgpy.MmgMesh3D(), mesh, edge_mm, {})


def _by_mmg(tool, mesh, edge_mm, options):
    """One pass of MMG. The deviation that it may not exceed (`hausd`) is the edge itself: a smaller one would
    resolve the steps of a rough rim by short edges."""
    tags, refs = np.unique(mesh.regions, return_inverse=True)
    surface = mesh.corners == 3
    tool.set_mesh_size(
        vertices=len(mesh.points), **{"triangles" if surface else "tetrahedra": len(mesh.cells)}
    )
    tool.set_vertices(mesh.points)
    (tool.set_triangles if surface else tool.set_tetrahedra)(mesh.cells, refs.astype(np.int64) + 1)
    try:
        tool.remesh(hsiz=edge_mm, hausd=edge_mm, verbose=-1, **options)
    except RuntimeError as error:
        raise InputError(
            f"a mesh that MMG cannot remesh to edges of {edge_mm:g} mm ({error})",
            "a mesh without cells that are flat or overlap", "Repair it first, or ask for shorter edges",
        ) from error  # fmt: skip
    cells, refs = tool.get_triangles_with_refs() if surface else tool.get_elements_with_refs()
    if not len(cells):
        raise InputError(
            f"a mesh of which nothing is left at edges of {edge_mm:g} mm", "edges shorter than the mesh",
            "Ask for shorter edges",
        )  # fmt: skip
    # MMG negates the reference of triangles that it had to turn round
    return Mesh(tool.get_vertices(), cells, regions=tags[np.abs(refs) - 1])


def _on(old, new):
    """The new surface with its nodes moved to the closest points of the old one, save where that makes a cell
    flat, as in a fold."""
    place = closest(old, new.points)
    points = (old.points[old.cells[place.cells]] * place.weights[..., None]).sum(axis=1)
    back = np.unique(new.cells[shape_quality(points, new.cells) < FLAT])
    points[back] = new.points[back]
    return Mesh(points, new.cells, regions=new.regions)


def _swept(mesh):
    """The surface without the few thin cells that MMG and the move have left, by flips and collapses."""
    if quality(mesh).min() >= LEAST_QUALITY:
        return mesh
    swept = remove_slivers(mesh.points, mesh.cells.astype(np.int64), LEAST_QUALITY, np.inf)
    solid = shape_quality(mesh.points, swept.cells) > 0
    used, cells = np.unique(swept.cells[solid], return_inverse=True)
    return Mesh(mesh.points[used], cells.reshape(-1, 3), regions=mesh.regions[swept.source[solid]])


def _placed(old, new):
    """Origin of nodes and cells. A cell is sought among those of its region, so that fibres do not cross a
    border that has become a little straighter."""
    place, cells = closest(old, new.points), np.zeros(len(new.cells), np.int64)
    for tag in np.unique(new.regions).tolist():
        members, inside = np.flatnonzero(old.regions == tag), np.flatnonzero(new.regions == tag)
        part = Mesh(old.points, old.cells[members])
        cells[inside] = members[closest(part, new.points[new.cells[inside]].mean(axis=1)).cells]
    fibres = place_fibres(new.points, new.cells, old.fibres[cells])[0]
    mesh = Mesh(new.points, new.cells, fibres, new.regions)
    return Remeshed(mesh, old.cells[place.cells].astype(np.int64), place.weights, cells)
