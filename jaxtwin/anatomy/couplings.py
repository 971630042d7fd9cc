"""Line elements that couple parts of the tissue, such as the two layers of a bilayer model."""

import numpy as np
from jaxtyping import Int

from .._results import InputError
from .topology import components, edges_of_cells, unique_rows


def refuse_couplings(
    nodes: int, cells: Int[np.ndarray, "cells corners"], lines: Int[np.ndarray, "segments 2"]
) -> None:
    """Raises `InputError` for line elements that conduct between the cells, triangles or tetrahedra.

    They connect two nodes of the cells that no edge connects, or lead over nodes of their own from one part
    of the tissue to another. Without them, half of a heart would never activate. Lines along edges, which
    mark boundaries, and trees that end in the tissue couple nothing.
    """
    lines = np.sort(lines[lines[:, 0] != lines[:, 1]], axis=1)
    if not len(lines):
        return
    used = np.zeros(nodes, bool)
    used[cells] = True
    edges = edges_of_cells(cells)[0]
    place = unique_rows(np.concatenate([edges, lines]))[1]
    apart = ~np.isin(place[len(edges) :], place[: len(edges)])
    direct = apart & used[lines].all(axis=1)
    parts = int(components(cells, nodes).max()) + 1
    joined = np.concatenate(
        [np.stack([cells[:, 0], other], axis=1) for other in cells.T[1:]] + [lines[apart]]
    )
    label = np.zeros(nodes, np.int64)
    label[joined[:, 0]] = components(joined, nodes)
    left = len(np.unique(label[cells[:, 0]]))
    if not direct.any() and left == parts:
        return
    count = int(direct.sum()) or int(apart.sum())
    what = f"{parts} parts of the tissue" if left < parts else "nodes of the tissue that no edge joins"
    raise InputError(
        f"{count} line elements that couple {what}, as between the layers of a bilayer model",
        "tissue of triangles or tetrahedra alone: line elements do not conduct here, and without them part "
        "of the heart would never be activated",
        "Take one layer (only the elements with its tags), or give the wall as tetrahedra",
    )
