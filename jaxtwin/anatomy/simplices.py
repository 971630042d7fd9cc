"""Cells of any kind, and their decomposition into simplices.

No node is removed or added: quadrilaterals and polygons become triangles, hexahedra, wedges and pyramids
become tetrahedra, and quadratic cells become the linear ones between their corners and mid-edge nodes.
"""

import numpy as np
from jaxtyping import Float, Int

from .._results import InputError
from .couplings import refuse_couplings
from .quality import measures
from .refine import halves

# Cell types by their numbers in VTK (The VTK User's Guide, ch. 19: file formats).
LINE, POLYLINE, TRIANGLE, STRIP, POLYGON, PIXEL, QUADRILATERAL, TETRAHEDRON = 3, 4, 5, 6, 7, 8, 9, 10
VOXEL, HEXAHEDRON, WEDGE, PYRAMID, LINE3, TRIANGLE6, QUADRILATERAL8, TETRAHEDRON10 = (
    *range(11, 15),
    *range(21, 25),
)
QUADRILATERAL9 = 28
SIMPLEX = {2: LINE, 3: TRIANGLE, 4: TETRAHEDRON}  # by corners
DIMENSIONS = ((1, 2), (3, 4, 21, 35), (5, 6, 7, 8, 9, 22, 23, 28, 30, 34, 36))  # every other type: 3
NODES = {LINE: 2, TRIANGLE: 3, TETRAHEDRON: 4, PIXEL: 4, QUADRILATERAL: 4, VOXEL: 8, HEXAHEDRON: 8, WEDGE: 6}
NODES |= {PYRAMID: 5, LINE3: 3, TRIANGLE6: 6, QUADRILATERAL8: 8, QUADRILATERAL9: 9, TETRAHEDRON10: 10}
NAMES = {
    LINE: "lines", TRIANGLE: "triangles", TETRAHEDRON: "tetrahedra", PIXEL: "pixels",
    QUADRILATERAL: "quadrilaterals", VOXEL: "voxels", HEXAHEDRON: "hexahedra", WEDGE: "wedges",
    PYRAMID: "pyramids", LINE3: "quadratic lines", TRIANGLE6: "quadratic triangles",
    QUADRILATERAL8: "quadratic quadrilaterals", QUADRILATERAL9: "quadratic quadrilaterals",
    TETRAHEDRON10: "quadratic tetrahedra",
}  # fmt: skip

_HALVED = {LINE3: [0, 1, 2], TRIANGLE6: [0, 1, 2, 3, 5, 4], TETRAHEDRON10: [0, 1, 2, 3, 4, 6, 7, 5, 8, 9]}
_QUADRILATERALS = {
    PIXEL: [[0, 1, 3, 2]],
    QUADRILATERAL: [[0, 1, 2, 3]],
    QUADRILATERAL8: [[4, 5, 6, 7]],
    QUADRILATERAL9: [[0, 4, 8, 7], [4, 1, 5, 8], [8, 5, 2, 6], [7, 8, 6, 3]],
}
_CORNERS = [[0, 4, 7], [4, 1, 5], [5, 2, 6], [6, 3, 7]]  # of a quadratic quadrilateral
_FACES = {
    HEXAHEDRON: [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]],
    VOXEL: [[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]],
    WEDGE: [[0, 1, 2], [3, 4, 5], [0, 1, 4, 3], [1, 2, 5, 4], [2, 0, 3, 5]],
    PYRAMID: [[0, 1, 2, 3], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]],
}


def simplices(
    points: Float[np.ndarray, "nodes 3"],
    types: Int[np.ndarray, " cells"],
    offsets: Int[np.ndarray, " cells+1"],
    connectivity: Int[np.ndarray, " entries"],
) -> tuple[Int[np.ndarray, "simplices corners"], Int[np.ndarray, " simplices"], tuple[str, ...]]:
    """Simplices of the cells of the highest dimension, the cell each came from, and notes.

    Polygons are split as fans, so they should be convex; quadrilaterals along the diagonal that leaves the
    smaller area, or the shorter one; hexahedra, wedges and pyramids so that each face is cut at its node of
    the smallest index, on which neighbours agree (Dompierre et al. 1999, "How to subdivide pyramids, prisms
    and hexahedra into tetrahedra"). Raises `InputError` for other cells, and for line elements that couple
    parts of the tissue.
    """
    kinds = [np.isin(types, kind) for kind in DIMENSIONS]
    dimension = np.select(kinds, range(3), 3)
    top = int(dimension.max(initial=0))
    if not top:
        raise InputError(
            f"{len(points)} points without lines, triangles or tetrahedra",
            "a mesh",
            "Export the surface or the volume mesh rather than a cloud of points",
        )
    keep, sizes = dimension == top, np.diff(offsets)
    _check(types[keep], sizes[keep])
    notes, cells, parents = [], [], []
    for kind in np.unique(types[keep]).tolist():
        chosen = np.flatnonzero(keep & (types == kind))
        if kind in NODES:
            nodes = connectivity[offsets[chosen, None] + np.arange(NODES[kind])]
            parts = _split(points, kind, nodes)
            if parts.shape[1] > 1:
                plain = NAMES[SIMPLEX[top + 1]]
                notes.append(f"{len(chosen)} {NAMES[kind]} split into {parts[:, :, 0].size} {plain}")
            cells.append(parts.reshape(-1, top + 1))
            parents.append(np.repeat(chosen, parts.shape[1]))
        else:
            parts, parent, said = _fans(kind, connectivity, offsets[chosen], sizes[chosen], top)
            notes += said
            cells.append(parts)
            parents.append(chosen[parent])
    cells, parent = np.concatenate(cells), np.concatenate(parents)
    order = np.argsort(parent, kind="stable")
    cells, parent = cells[order], parent[order]
    if not keep.all():
        notes.append(f"{int((~keep).sum())} cells of lower dimension dropped")
        notes += _beside(connectivity, sizes, dimension, cells, top)
        if top > 1:
            lines = np.flatnonzero(dimension == 1)
            refuse_couplings(len(points), cells, _segments(types, offsets, connectivity, lines))
    return cells, parent, tuple(notes)


def _check(types, sizes):
    known = np.isin(types, (*NODES, POLYLINE, STRIP, POLYGON))
    if not known.all():
        kinds = ", ".join(f"VTK type {kind}" for kind in np.unique(types[~known])[:5])
        raise InputError(
            f"{int((~known).sum())} cells of a kind that cannot be split ({kinds})",
            "triangles, tetrahedra, or quadrilaterals, hexahedra, wedges and pyramids to split",
            "Split the cells first, for example with ParaView's Triangulate or Tetrahedralize filter",
        )
    wanted = np.array([NODES.get(kind, 0) for kind in range(int(types.max(initial=0)) + 1)])[types]
    wrong = (wanted > 0) & (sizes != wanted)
    if wrong.any():
        bad = int(np.argmax(wrong))
        raise InputError(
            f"{int(wrong.sum())} cells with a wrong number of nodes, the first among the {NAMES[types[bad]]} "
            f"with {sizes[bad]}",
            f"{wanted[bad]} nodes for each of the {NAMES[types[bad]]}",
            "Write the file again: it is damaged",
        )


def _split(points, kind, nodes):
    """Simplices of cells of one kind with a fixed number of nodes, (cells, pieces, corners)."""
    if kind in SIMPLEX.values():
        return nodes[:, None]
    if kind in _HALVED:
        return halves(points, nodes[:, _HALVED[kind]])
    if kind in _QUADRILATERALS:
        inner = [_halved_quadrilaterals(points, nodes[:, four]) for four in _QUADRILATERALS[kind]]
        return np.concatenate([*inner, nodes[:, _CORNERS]] if kind == QUADRILATERAL8 else inner, axis=1)
    return _pulled(nodes, _FACES[kind])


def _halved_quadrilaterals(points, nodes):
    """Two triangles each. If one diagonal lies outside, the two triangles next to it overlap and are
    larger."""
    ways = nodes[:, [[[0, 1, 2], [0, 2, 3]], [[0, 1, 3], [1, 2, 3]]]]
    area = measures(points, ways).sum(axis=2)
    length = np.linalg.norm(points[nodes[:, :2]] - points[nodes[:, 2:]], axis=2)
    alike = np.abs(area[:, 1] - area[:, 0]) <= 1e-9 * area[:, 0]
    second = np.where(alike, length[:, 1] < length[:, 0], area[:, 1] < area[:, 0])
    return np.where(second[:, None, None], ways[:, 1], ways[:, 0])


def _pulled(nodes, faces):
    """Tetrahedra from the node of the smallest index to the faces that do not contain it, (cells, pieces, 4).

    Those faces are cut at their own smallest node, and so are, from the same node, the faces that contain it.
    """
    first = nodes.argmin(axis=1)
    pieces = sum(len(face) - 2 for face in faces if 0 not in face)
    out = np.zeros((len(nodes), pieces, 4), np.int64)
    for apex in np.unique(first).tolist():
        rows = nodes[first == apex]
        found = []
        for face in faces:
            if apex in face:
                continue
            around = rows[:, face]
            start = around.argmin(axis=1)[:, None]
            around = np.take_along_axis(around, (start + np.arange(len(face))) % len(face), axis=1)
            for k in range(1, len(face) - 1):
                found.append(np.stack([rows[:, apex], around[:, 0], around[:, k], around[:, k + 1]], axis=1))
        out[first == apex] = np.stack(found, axis=1)
    return out


def _fans(kind, connectivity, first, sizes, top):
    """Simplices of polylines, strips or polygons, the index of the cell each came from, and notes."""
    pieces = np.maximum(sizes - top, 0)
    notes = []
    if (pieces != 1).any():
        many, none = int((pieces > 1).sum()), int((pieces < 1).sum())
        notes = [f"{many} polygons or strips split into simplices, {none} empty dropped"]
    parent = np.repeat(np.arange(len(sizes)), pieces)
    piece = np.arange(len(parent)) - (np.cumsum(pieces) - pieces)[parent]
    corner = piece[:, None] + np.arange(top + 1)
    if kind == POLYGON:
        corner[:, 0] = 0
    if kind == STRIP:  # every second triangle has the opposite orientation
        turned = piece % 2 == 1
        corner[turned, 1:] = corner[turned, :0:-1]
    return connectivity[first[parent, None] + corner], parent, notes


def _beside(connectivity, sizes, dimension, cells, top):
    """Notes on cells of lower dimension that are more than edges and faces of the others."""
    used = np.zeros(connectivity.max() + 1, bool)
    used[cells] = True
    owner = np.repeat(np.arange(len(sizes)), sizes)
    outside = np.bincount(owner, ~used[connectivity], minlength=len(sizes)) > 0
    notes = []
    for low, what in ((1, "line elements, such as a Purkinje network,"), (2, "surface elements")):
        count = int((outside & (dimension == low)).sum())
        if count and low < top:
            notes.append(f"{count} of them {what} with nodes of their own: they do not conduct here")
    return notes


def _segments(types, offsets, connectivity, lines):
    """Pairs of nodes that follow each other along lines and polylines, (segments, 2)."""
    sizes = np.diff(offsets)[lines]
    along = [np.zeros((0, 2), connectivity.dtype)]
    for kind, order in ((LINE, [[0, 1]]), (LINE3, [[0, 2], [2, 1]])):
        chosen = lines[(types[lines] == kind) & (sizes == NODES[kind])]
        nodes = connectivity[offsets[chosen, None] + np.arange(NODES[kind])]
        along.append(nodes[:, order].reshape(-1, 2))
    many = types[lines] == POLYLINE
    along.append(_fans(POLYLINE, connectivity, offsets[lines[many]], sizes[many], 1)[0])
    return np.concatenate(along)
