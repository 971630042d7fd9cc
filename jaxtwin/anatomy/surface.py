"""The surface of a chamber as exported by a mapping system."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from .._results import InputError
from .mesh import Mesh


class Surface:
    """The surface of a chamber as exported by a mapping system, not yet a computational mesh.

    - `points`: (nodes, 3), mm. `triangles`: (cells, 3), indices from 0.
    - `cut_out`: (cells,), triangles over the openings (veins, valves), drawn transparent or marked as such.
    - `fields`: name -> (nodes,), what the system interpolated to the nodes, such as "lat_ms", "bipolar_mv",
      "unipolar_mv", "impedance_ohm", "force_g"; NaN if missing. The unit is in the name, if known.
    - `fibres`: (cells, 3), unit vectors, None if there are none. `regions`: (cells,), tissue tags.

    Raises `InputError` for points that are not finite and triangle indices out of range.
    """

    points: Float[np.ndarray, "nodes 3"]
    triangles: Int[np.ndarray, "cells 3"]
    cut_out: Bool[np.ndarray, " cells"]
    fields: dict[str, Float[np.ndarray, " nodes"]]
    fibres: Float[np.ndarray, "cells 3"] | None
    regions: Int[np.ndarray, " cells"]

    def __init__(
        self,
        points,
        triangles,
        *,
        cut_out=None,
        fields: dict[str, Any] | None = None,
        fibres=None,
        regions=None,
    ):
        self.points = np.array(points, np.float64).reshape(-1, 3)
        self.triangles = np.array(triangles, np.int64).reshape(-1, 3)
        self.cut_out = np.zeros(len(self.triangles), bool) if cut_out is None else np.array(cut_out, bool)
        if self.cut_out.shape != (len(self.triangles),):
            raise unequal("cut_out", self.cut_out.shape, (len(self.triangles),))
        count = len(self.triangles)
        self.fibres = None if fibres is None else column("fibres", fibres, (count, 3))
        self.regions = np.zeros(count, np.int32) if regions is None else np.array(regions, np.int32)
        if self.regions.shape != (count,):
            raise unequal("regions", self.regions.shape, (count,))
        shape = (len(self.points),)
        self.fields = {name: column(name, values, shape) for name, values in (fields or {}).items()}
        bad = ~np.isfinite(self.points).all(axis=1)
        if bad.any():
            raise InputError(
                f"a surface with {int(bad.sum())} points not finite, the first at {int(bad.argmax())}",
                "finite coordinates in mm", "Export the surface again",
            )  # fmt: skip
        if len(self.triangles) and not 0 <= self.triangles.min() <= self.triangles.max() < len(self.points):
            raise InputError(
                f"triangles that point to nodes {self.triangles.min()} to {self.triangles.max()} where nodes "
                f"0 to {len(self.points) - 1} exist", "indices within the list of points",
                "Export the surface again, or check from which number its nodes are counted",
            )  # fmt: skip

    def mesh(self) -> Mesh:
        """All triangles as a mesh; without fibres these are a placeholder."""
        return Mesh(self.points, self.triangles, self.fibres, self.regions)


def column(name: str, values, shape: tuple[int, ...]) -> np.ndarray:
    values = np.array(values, np.float64)
    if values.shape != shape:
        raise unequal(name, values.shape, shape)
    return values


def unequal(name: str, got, wanted) -> InputError:
    return InputError(
        f"{name} of shape {got} for {wanted[0]} of them",
        f"shape {wanted}",
        "Check that the files belong together",
    )
