"""Repair of exported meshes, with a report and a mapping of nodal data."""

from dataclasses import dataclass

import equinox as eqx
import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Int, Shaped
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from .._results import InputError
from .mesh import Mesh
from .quality import measures, nodal_stiffness, shape_quality
from .slivers import remove_slivers, thin_cells
from .topology import boundary_facets, components, facets, reversed_cells, unique_rows

_STRAY = 0.05  # fraction of the length, area or volume, above which a component is no debris
_FLAT = 1e-7  # quality of a cell without area, up to rounding


@dataclass(frozen=True)
class RepairReport:
    """What `repair` found and did, as counts; `lines` gives it in sentences.

    `stray_share` is the fraction of the total length, area or volume in dropped components, `stray_centre`
    the centre of the largest of them, mm. `stiffness_before` and `stiffness_after` are the largest 2 K_ii/m_i
    per unit of D, 1/mm2 (see `stiffness_bound`).
    """

    nodes_before: int = 0
    cells_before: int = 0
    nodes: int = 0
    cells: int = 0
    merged_nodes: int = 0
    degenerate_cells: int = 0
    duplicate_cells: int = 0
    fin_cells: int = 0
    stray_components: int = 0
    stray_nodes: int = 0
    stray_share: float = 0.0
    stray_centre: tuple[float, ...] = ()
    turned_cells: int = 0
    flipped_edges: int = 0
    collapsed_nodes: int = 0
    flat_cells: int = 0
    unused_nodes: int = 0
    thin_cells_left: int = 0
    nonmanifold_facets: int = 0
    boundary_before: int = 0
    boundary_after: int = 0
    orientable: bool = True
    stiffness_before: float = 0.0
    stiffness_after: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing had to be repaired."""
        same_size = self.nodes == self.nodes_before and self.cells == self.cells_before
        return same_size and not self.turned_cells and not self.flipped_edges

    def lines(self) -> list[str]:
        """One sentence for each finding, the sizes first."""
        out = [
            f"{self.nodes} of {self.nodes_before} nodes and {self.cells} of {self.cells_before} cells kept."
        ]
        out += [text.format(getattr(self, name)) for name, text in _SENTENCES if getattr(self, name)]
        if self.stray_components:
            out.append(
                f"Smaller components dropped: {self.stray_components}, {100 * self.stray_share:.2g} % of the "
                f"mesh, the largest about {_place(self.stray_centre)} mm; {self.stray_nodes} nodes in all."
            )
        if not self.orientable:
            out.append("The surface has one side only (a Moebius strip): normals cannot be made consistent.")
        if self.boundary_before != self.boundary_after:
            out.append(f"Open edges or faces: {self.boundary_before} before, {self.boundary_after} after.")
        if self.stiffness_after < self.stiffness_before:
            out.append(
                f"The largest stiffness bound fell from {self.stiffness_before:.3g} to "
                f"{self.stiffness_after:.3g} /mm2 (times D: 1/ms)."
            )
        return out


_SENTENCES = [
    ("unused_nodes", "Nodes without a cell dropped: {}."),
    ("merged_nodes", "Nodes merged into another at the same place: {}."),
    ("degenerate_cells", "Cells with a repeated corner dropped: {}."),
    ("duplicate_cells", "Cells dropped that were there twice: {}."),
    ("fin_cells", "Triangles dropped that stuck out of the surface like fins: {}."),
    ("turned_cells", "Cells turned round to agree with their neighbours: {}."),
    ("flipped_edges", "Long edges of slivers flipped: {}."),
    ("collapsed_nodes", "Nodes collapsed into a neighbour to remove slivers: {}."),
    ("flat_cells", "Cells without area or volume dropped, which may have opened a gap: {}."),
    ("thin_cells_left", "Thin cells left, since removing them would change shape or topology: {}."),
    ("nonmanifold_facets", "Edges or faces of more than two cells, left as they are: {}."),
]


class Repaired(eqx.Module):
    """A repaired mesh and its origin.

    - `nodes`: (old nodes,), the new node of each old one, -1 if it was dropped.
    - `origin`: (nodes,), the old node at the position of each new one: nodes are never moved.
    - `cells`: (cells,), the old cell from which each new one was made.
    """

    mesh: Mesh
    report: RepairReport
    nodes: Int[np.ndarray, " old_nodes"]
    origin: Int[np.ndarray, " nodes"]
    cells: Int[np.ndarray, " cells"]

    def carry(self, values: Shaped[np.ndarray, "old_nodes ..."]) -> Shaped[np.ndarray, "nodes ..."]:
        """Maps nodal values to the repaired mesh, such as activation times with NaN where not measured.

        A node keeps its own value; if that is not finite, it takes the first finite one of the nodes that
        were merged or collapsed into it.
        """
        out = values[self.origin]
        place = np.argwhere(np.isfinite(values) & (self.nodes >= 0).reshape(-1, *[1] * (values.ndim - 1)))[
            ::-1
        ]
        giver = (place[:, 0], *place[:, 1:].T)
        found = np.full(out.shape, -1)
        found[(self.nodes[giver[0]], *giver[1:])] = giver[0]  # reversed: the first node is written last
        rest = np.nonzero(~np.isfinite(out) & (found >= 0))
        out[rest] = values[(found[rest], *rest[1:])]
        return out

    def carry_set(self, chosen: Bool[np.ndarray, " old_nodes"]) -> Bool[np.ndarray, " nodes"]:
        """Maps a set of old nodes: a new node belongs to it if any of its old nodes did."""
        out = np.zeros(len(self.origin), bool)
        out[self.nodes[chosen & (self.nodes >= 0)]] = True
        return out


def repair(
    mesh: Mesh,
    *,
    merge_distance: float | None = None,
    min_quality: float = 0.05,
    stiffness_ratio: float = 5.0,
    keep: str = "connected",
) -> Repaired:
    """Repairs a mesh: merges duplicate nodes, drops debris, orients cells and removes slivers.

    Slivers are removed by flipping and collapsing edges, which moves no node, keeps the topology and changes
    the area by no more than a quarter of a cell each (see `slivers`). Regions and fibres of kept cells stay;
    fibres of triangles that changed are projected into their new plane. Repairing twice changes nothing.

    **Arguments:**

    - `merge_distance`: nodes closer than this (mm) are merged; default 1e-6 of the diagonal of the mesh, 0
      merges none.
    - `min_quality`: cells of a lower `quality` are slivers.
    - `stiffness_ratio`: a node is too stiff for an explicit step if its `stiffness_bound` exceeds this many
      times the 95th percentile; the thinnest cell there is a sliver.
    - `keep`: `"connected"` drops components of less than 5 % of the length, area or volume, and rejects a
      mesh with a second larger one, so that no half of a heart is lost; `"largest"` keeps the largest only,
      `"all"` keeps all.

    **Returns:** a `Repaired` with its `report`; its `carry` maps nodal values.

    **Raises:** `InputError` for options out of range, for parts that do not touch (see `keep`), and if
    nothing remains.

    **Example:**

    ```python
    repaired = jt.repair(mesh)
    print(repaired.report.lines())
    ```
    """
    _check(merge_distance, min_quality, stiffness_ratio, keep)
    points, cells = mesh.points, mesh.cells.astype(np.int64)
    source = np.arange(len(cells))
    used = np.zeros(len(points), bool)
    used[cells] = True

    merged = into = _merge(points, used, merge_distance)
    cells = into[cells]
    ordered = np.sort(cells, axis=1)
    distinct = (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)
    cells, source = cells[distinct], source[distinct]
    if not len(cells):
        raise InputError(
            f"{len(mesh.cells)} cells, all with a repeated corner",
            "cells with distinct corners",
            "Check that merge_distance (mm) is shorter than the edges, and the unit of the points",
        )
    single = _first_of_each(cells)
    cells, source, duplicates = cells[single], source[single], len(cells) - len(single)
    flush = _without_fins(cells)
    cells, source, fins = cells[flush], source[flush], len(cells) - len(flush)
    stays, strays = _without_strays(points, cells, keep)
    lost = len(np.unique(cells)) - len(np.unique(cells[stays]))
    cells, source = cells[stays], source[stays]

    cells, turned, orientable = _oriented(points, cells)
    opened, stiffest = len(boundary_facets(cells)), nodal_stiffness(points, cells).max()
    swept = remove_slivers(points, cells, min_quality, stiffness_ratio)
    solid = shape_quality(points, swept.cells) > _FLAT
    if not solid.any():
        raise InputError(
            "a mesh without length, area or volume", "cells that are not flat", "Check the points"
        )
    cells, source, changed = swept.cells[solid], source[swept.source[solid]], swept.changed[solid]

    origin, corners = np.unique(cells, return_inverse=True)
    number = np.full(len(points), -1)
    number[origin] = np.arange(len(origin))
    nodes = np.where(used, number[swept.into[into]], -1)
    fibres = mesh.fibres[source]
    if mesh.corners == 3 and mesh.dim == 3:
        fibres[changed] = _laid_flat(points[cells[changed]], fibres[changed])
    clean = Mesh(points[origin], corners.reshape(cells.shape), fibres, mesh.regions[source])
    merges = int((merged[used] != np.flatnonzero(used)).sum())
    report = RepairReport(
        nodes_before=len(points),
        cells_before=len(mesh.cells),
        nodes=len(origin),
        cells=len(cells),
        unused_nodes=len(points) - len(origin) - merges - lost - swept.collapses,
        merged_nodes=merges,
        degenerate_cells=int((~distinct).sum()),
        duplicate_cells=duplicates,
        fin_cells=fins,
        stray_nodes=lost,
        **strays,
        turned_cells=turned,
        flipped_edges=swept.flips,
        collapsed_nodes=swept.collapses,
        flat_cells=int((~solid).sum()),
        thin_cells_left=int(thin_cells(points, cells, min_quality, stiffness_ratio)[0].sum()),
        nonmanifold_facets=int((np.bincount(facets(cells)[1].ravel()) > 2).sum()),
        boundary_before=opened,
        boundary_after=len(boundary_facets(cells)),
        orientable=orientable,
        stiffness_before=float(stiffest),
        stiffness_after=float(nodal_stiffness(points, cells).max()),
    )
    return Repaired(clean, report, nodes, origin, source)


def _check(merge_distance, min_quality, stiffness_ratio, keep):
    if merge_distance is not None and not (np.isfinite(merge_distance) and merge_distance >= 0):
        raise InputError(
            f"merge_distance = {merge_distance}", "a length in mm, 0 or more", "Leave it out for 1e-6"
        )
    if not 0 <= min_quality < 0.5:
        raise InputError(
            f"min_quality = {min_quality}", "0 to 0.5", "0.05 takes slivers and leaves stretched cells"
        )
    if not stiffness_ratio > 1:
        raise InputError(
            f"stiffness_ratio = {stiffness_ratio}", "more than 1 (inf for never)", "5 suits real surfaces"
        )
    if keep not in ("connected", "largest", "all"):
        raise InputError(
            f"keep = {keep!r}", '"connected", "largest" or "all"',
            "Use all where parts belong together unconnected",
        )  # fmt: skip


def _merge(points, used, distance):
    """The node that each node becomes: the first of the used ones within the distance, chained."""
    into = np.arange(len(points))
    if distance is None:
        distance = 1e-6 * np.linalg.norm(np.ptp(points[used], axis=0))
    if distance == 0:
        return into
    nodes = np.flatnonzero(used)
    pairs = KDTree(points[nodes]).query_pairs(distance, output_type="ndarray")
    graph = sp.coo_matrix((np.ones(len(pairs), np.int8), pairs.T), shape=(len(nodes), len(nodes)))
    _, label = connected_components(graph, directed=False)
    _, first = np.unique(label, return_index=True)
    into[nodes] = nodes[first[label]]
    return into


def _first_of_each(cells):
    """Indices of the cells that do not repeat an earlier one in any order of corners."""
    unique, index = unique_rows(np.sort(cells, axis=1))
    first = np.full(len(unique), len(cells))
    np.minimum.at(first, index, np.arange(len(cells)))
    return np.sort(first)


def _without_fins(cells):
    """Indices of the cells that remain without fins: triangles attached at an edge of more than two
    triangles."""
    place = np.arange(len(cells))
    while cells.shape[1] == 3:
        index = facets(cells[place])[1]
        count = np.bincount(index.ravel())[index]
        fin = ((count == 1).sum(axis=1) == 2) & (count > 2).any(axis=1)
        if not fin.any():
            break
        place = place[~fin]
    return place


def _without_strays(points, cells, keep):
    """Indices of the kept cells, and the report on the dropped components."""
    label, extent = components(cells, len(points)), measures(points, cells)
    size = np.bincount(label, extent)
    if keep == "all" or len(size) == 1:
        return np.arange(len(cells)), {}
    share = size / max(size.sum(), np.finfo(float).tiny)
    order = np.argsort(-share, kind="stable")
    second = label == order[1]
    weight = extent[second] if extent[second].any() else None
    centre = tuple(np.average(points[cells[second]].mean(axis=1), axis=0, weights=weight).tolist())
    if keep == "connected" and share[order[1]] >= _STRAY:
        large = [f"{100 * each:.3g} %" for each in share[order] if each >= _STRAY]
        raise InputError(
            f"{len(large)} parts that do not touch, of {' and '.join(large[:5])} of the mesh, the second "
            f"about {_place(centre)} mm",
            f"one connected heart (only parts below {_STRAY:.0%} are dropped as strays)",
            'Join the parts, or set keep = "largest" for the first alone, or keep = "all" to compute on each',
        )
    strays = {
        "stray_components": len(size) - 1,
        "stray_share": float(1.0 - share[order[0]]),
        "stray_centre": centre,
    }
    return np.flatnonzero(label == order[0]), strays


def _place(centre):
    return f"({', '.join(f'{each:.4g}' for each in centre)})"


def _oriented(points, cells):
    """Cells oriented to positive area or volume, or a surface oriented consistently; and how many were
    re-oriented."""
    orientable = True
    if cells.shape[1] == points.shape[1] + 1:
        corner = points[cells]
        turn = np.linalg.det(corner[:, 1:] - corner[:, :1]) < 0
    elif cells.shape[1] == 3:
        turn, orientable = reversed_cells(cells)
    else:
        return cells, 0, True
    cells = cells.copy()
    cells[turn, -2:] = cells[turn, :-3:-1]
    return cells, int(turn.sum()), orientable


def _laid_flat(corner, fibres):
    """Fibres projected into the planes of triangles; a normal one becomes the first edge, a zero one stays
    zero."""
    edge = corner[:, 1] - corner[:, 0]
    edge /= np.linalg.norm(edge, axis=1)[:, None]
    normal = np.cross(edge, corner[:, 2] - corner[:, 0])
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    flat = fibres - (fibres * normal).sum(axis=1)[:, None] * normal
    length = np.linalg.norm(flat, axis=1)[:, None]
    laid = np.where(length > 1e-6, flat / np.maximum(length, 1e-6), edge)
    return np.where(fibres.any(axis=1, keepdims=True), laid, 0.0)
