"""The mesh: simplices, fibres and regions."""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from .._results import InputError

CHUNK = 1 << 15  # cells


class Mesh(eqx.Module):
    """Simplices of one kind: segments, triangles in 2-D or 3-D, or tetrahedra.

    Host data in float64 (numpy): geometry is not differentiated and must not lose digits when the solver runs
    in float32.

    - `points`: (nodes, dim), mm.
    - `cells`: (cells, corners), indices of nodes from 0.
    - `fibres`: (cells, dim), unit vectors, or zero for an isotropic cell without a fibre.
    - `regions`: (cells,), integer tags.

    **Raises:** `InputError` for coordinates that are not finite, cell indices out of range, and fibres that
    are neither unit vectors nor zero.

    **Example:** `jt.Mesh(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([[0, 1, 2]]))`
    """

    points: Float[np.ndarray, "nodes dim"]
    cells: Int[np.ndarray, "cells corners"]
    fibres: Float[np.ndarray, "cells dim"]
    regions: Int[np.ndarray, " cells"]

    def __init__(self, points, cells, fibres=None, regions=None):
        self.points = np.ascontiguousarray(points, np.float64)
        self.cells = np.ascontiguousarray(cells, np.int32)
        count = len(self.cells)
        if fibres is None:
            fibres = np.zeros((count, self.points.shape[1]))
            fibres[:, 0] = 1.0
        self.fibres = np.ascontiguousarray(fibres, np.float64)
        self.regions = (
            np.zeros(count, np.int32) if regions is None else np.ascontiguousarray(regions, np.int32)
        )

    def __check_init__(self):
        finite = np.isfinite(self.points).all(axis=1)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise InputError(
                f"{int((~finite).sum())} points with NaN or infinite coordinates, the first at index {bad}",
                "finite coordinates in mm",
                "Look at that line of the point file; a header taken for a point is a common cause",
            )
        if self.cells.size == 0:
            raise InputError(
                "a mesh without cells", "at least one triangle or tetrahedron", "Check the element file"
            )
        low, high = int(self.cells.min()), int(self.cells.max())
        if low < 0 or high >= len(self.points):
            raise InputError(
                f"cells that point to nodes {low} to {high} where nodes 0 to {len(self.points) - 1} exist",
                "indices from 0 within the list of points",
                "Check that points and elements belong together and that indices start at 0",
            )
        length = np.linalg.norm(self.fibres, axis=1)
        wrong = ~(np.abs(length - 1.0) < 1e-3) & (length != 0.0)
        if wrong.any():
            bad = int(np.argmax(wrong))
            raise InputError(
                f"{int(wrong.sum())} fibres that are not unit vectors, the first in cell {bad} "
                f"with length {length[bad]:.3g}",
                "a direction of length 1 in each cell, or zero for a cell without a fibre",
                "Divide the vectors by their lengths, or set them to zero where there is no fibre",
            )

    @property
    def dim(self) -> int:
        """Number of coordinates of a point: 1, 2 or 3."""
        return self.points.shape[1]

    @property
    def corners(self) -> int:
        """Corners of a cell: 2 (segment), 3 (triangle) or 4 (tetrahedron)."""
        return self.cells.shape[1]

    @property
    def edges(self) -> Int[np.ndarray, "edges 2"]:
        """Undirected edges, each once, lower node first."""
        # sorted, because the hash table of `np.unique` is ten times slower on keys that repeat this often; by
        # merging, because mesh cells are partly sorted
        keys = np.sort(self.edge_keys, kind="stable")
        keys = keys[np.r_[True, keys[1:] != keys[:-1]]]
        return np.stack(np.divmod(keys, len(self.points)), axis=1)

    @property
    def edge_keys(self) -> Int[np.ndarray, " pairs"]:
        """One number per edge for each pair of corners of each cell, in the ascending order of `edges`."""
        a, b = np.triu_indices(self.corners, 1)
        one, two = self.cells[:, a].ravel(), self.cells[:, b].ravel()
        return np.minimum(one, two).astype(np.int64) * len(self.points) + np.maximum(one, two)

    @property
    def edge_lengths(self) -> Float[np.ndarray, " edges"]:
        """Length of each of `edges`, mm."""
        ends = self.points[self.edges]
        return np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)

    @property
    def measures(self) -> Float[np.ndarray, " cells"]:
        """Length (mm), area (mm2) or volume (mm3) of each cell, never negative."""
        measures = np.empty(len(self.cells))
        # in chunks that fit the cache: allocating whole arrays costs more than the arithmetic
        for start in range(0, len(measures), CHUNK):
            piece = slice(start, start + CHUNK)
            corner = [self.points[c] for c in self.cells[piece].T]
            span = [c - corner[0] for c in corner[1:]]
            if self.corners == 4:
                measures[piece] = np.abs(np.einsum("ci,ci->c", span[0], np.cross(span[1], span[2]))) / 6.0
            else:
                rows = np.stack(span, axis=1)
                gram = rows @ rows.swapaxes(1, 2)
                measures[piece] = np.sqrt(np.maximum(np.linalg.det(gram), 0.0)) / len(span)
        return measures

    @property
    def centroids(self) -> Float[np.ndarray, "cells dim"]:
        """Centre of each cell, mm."""
        return self.points[self.cells].mean(axis=1)
