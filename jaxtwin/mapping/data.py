"""Measured maps: positions, activation times, voltages and their uncertainty."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from .._results import InputError
from ..anatomy import Mesh
from ..fem import Interpolation, locate
from .plausibility import FAR_MS, contradictions, not_activated, speed_problem, unit_problems

LARGEST_MM, FARTHEST_MM = 1000.0, 10_000.0  # extent of a map, distance of a point from the origin
SENTINEL = -9000.0  # a LAT at or below is "missing": CARTO writes -10000, or -10000 minus its reference


class MappingData(eqx.Module):
    """Points of one or several maps (beats, pacing sites) and their measurements. Host data (numpy).

    - `positions`: (points, dim), mm.
    - `lat_ms`: (points,), local activation times, ms; NaN if missing.
    - `valid`: (points,), where the LAT can be used.
    - `silent`: (points,), where the catheter recorded no activation; never valid.
    - `map_index`: (points,), index into `names` of the map of each point.
    - `sigma_ms`: (points,), standard deviation of the LAT, ms; NaN if unknown.
    - `bipolar_mv`, `unipolar_mv`: (points,), peak-to-peak voltages, mV; NaN if missing.
    - `woi_ms`: (points, 2), window of interest (from, to) in the time reference of the LATs, ms; NaN if
      unknown.
    - `names`: names of the maps.
    - `notes`: what was dropped, and why.

    A LAT is invalid if it is not finite, is a sentinel (at or below -9000 ms) or a mark for "not activated"
    (such as -1 at many nodes), lies outside its window, or is more than 2000 ms from the median of its map.
    Contradictory LATs at one place are kept, with at least the standard deviation of that place.

    **Raises:** `InputError` for shapes that do not match, coordinates that are not finite, no points, a map
    without a valid point, and LATs or positions that must be in another unit.

    **Example:** `data = jt.MappingData(positions_mm, lat_ms)`
    """

    positions: Float[np.ndarray, "points dim"]
    lat_ms: Float[np.ndarray, " points"]
    valid: Bool[np.ndarray, " points"]
    silent: Bool[np.ndarray, " points"]
    map_index: Int[np.ndarray, " points"]
    sigma_ms: Float[np.ndarray, " points"]
    bipolar_mv: Float[np.ndarray, " points"]
    unipolar_mv: Float[np.ndarray, " points"]
    woi_ms: Float[np.ndarray, "points 2"]
    names: tuple[str, ...] = eqx.field(static=True)
    notes: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        positions,
        lat_ms,
        *,
        valid=None,
        silent=None,
        map_index=None,
        sigma_ms=None,
        bipolar_mv=None,
        unipolar_mv=None,
        woi_ms=None,
        names=("map",),
        notes=(),
    ):
        positions = np.asarray(positions, np.float64)
        count = len(positions) if positions.ndim == 2 else -1

        def column(name, values, shape=(count,), fill: Any = np.nan, dtype: Any = np.float64):
            values = np.full(shape, fill, dtype) if values is None else np.array(values, dtype)
            if count < 0 or values.shape != shape:
                raise InputError(
                    f"{name} of shape {values.shape} with positions of shape {positions.shape}",
                    f"positions of shape (points, dim) and one row of {name} for each point",
                    "Check that the arrays come from the same export",
                )
            return values

        self.positions = positions
        self.lat_ms = column("lat_ms", lat_ms)
        self.map_index = column("map_index", map_index, fill=0, dtype=np.int64)
        self.sigma_ms = column("sigma_ms", sigma_ms)
        self.bipolar_mv = column("bipolar_mv", bipolar_mv)
        self.unipolar_mv = column("unipolar_mv", unipolar_mv)
        self.woi_ms = column("woi_ms", woi_ms, shape=(count, 2))
        self.names = tuple(names)
        self.silent = column("silent", silent, fill=False, dtype=bool)
        both = self.silent & np.isfinite(self.lat_ms)
        self.lat_ms[self.silent] = np.nan
        valid = column("valid", valid, fill=True, dtype=bool) & ~self.silent

        finite = np.isfinite(self.lat_ms)
        sentinel = finite & (self.lat_ms <= SENTINEL)
        self.lat_ms[sentinel | ~finite] = np.nan
        outside = (self.lat_ms < self.woi_ms[:, 0]) | (self.lat_ms > self.woi_ms[:, 1])  # False where NaN
        self.notes = tuple(notes)
        if both.any():
            self.notes += (f"{int(both.sum())} silent points with a LAT, which is not used",)
        for reason, bad in (
            ("no LAT", ~finite),
            ("a LAT of -9000 ms or less, which stands for missing", sentinel),
            ("a LAT outside the window of interest", outside),
        ):
            self.notes += _dropped(valid & bad, reason)
            valid = valid & ~bad
        self.valid = valid
        self._check_columns()
        for k, name in enumerate(self.names):
            self._judge(np.flatnonzero(self.valid & (self.map_index == k)), name)
        voltages = {"bipolar voltages": self.bipolar_mv, "unipolar voltages": self.unipolar_mv}
        self.notes += tuple(unit_problems(self.sigma_ms, **voltages))

    def _judge(self, rows: Int[np.ndarray, " some"], name: str) -> None:
        """Checks the plausibility of the valid points of one map and adds notes."""
        positions, lat = self.positions[rows], self.lat_ms[rows]
        for value in np.unique(lat[marked := not_activated(positions, lat)]):
            mark = np.zeros(len(self.lat_ms), bool)
            mark[rows[lat == value]] = True
            self.notes += _dropped(
                mark,
                f"a LAT of exactly {value:g} ms, apart from those around, which stands for not activated",
            )
        self.lat_ms[rows[marked]] = np.nan
        self.valid[rows[marked]] = False
        rows, positions, lat = rows[~marked], positions[~marked], lat[~marked]
        if not len(rows):
            return
        problem = speed_problem(name, positions, lat)
        absurd = np.zeros(len(self.lat_ms), bool)
        absurd[rows] = np.abs(lat - np.median(lat)) > FAR_MS
        self.notes += _dropped(absurd, f"a LAT more than {FAR_MS:g} ms from the median of its map")
        self.lat_ms[absurd] = np.nan
        self.valid[absurd] = False
        sd, contradiction = contradictions(positions, self.lat_ms[rows])
        self.sigma_ms[rows] = np.fmax(self.sigma_ms[rows], sd)
        self.notes += tuple(each for each in (problem, contradiction) if each)

    def _check_columns(self) -> None:
        """Raises `InputError` for invalid positions, indices and standard deviations."""
        if len(self.positions) == 0:
            raise InputError("a map without points", "at least one point", "Choose a map that was acquired")
        finite = np.isfinite(self.positions).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{int((~finite).sum())} points with NaN or infinite coordinates, "
                f"the first at index {int(np.argmin(finite))}",
                "finite coordinates in mm",
                "Remove those points: without a position nothing else about them can be used",
            )
        with np.errstate(over="ignore"):  # of 1e308 less -1e308
            size = float(np.ptp(self.positions, axis=0).max())
        if size > LARGEST_MM or (np.abs(self.positions).max(axis=1) > FARTHEST_MM).all():
            raise InputError(
                f"points up to {np.abs(self.positions).max():.4g} mm from the origin, {size:.4g} mm apart",
                "coordinates in mm",
                "They look like micrometres: divide them by 1000",
            )
        if self.map_index.min() < 0 or self.map_index.max() >= self.maps:
            raise InputError(
                f"map_index from {self.map_index.min()} to {self.map_index.max()} with {self.maps} names",
                f"an index from 0 to {self.maps - 1}",
                "Give one name for each map",
            )
        if not (np.isnan(self.sigma_ms) | ((self.sigma_ms > 0) & (self.sigma_ms < np.inf))).all():
            raise InputError(
                "a sigma_ms that is zero, negative or infinite",
                "a standard deviation above 0 ms, or NaN where unknown",
                "Leave it empty where the noise is unknown",
            )

    def __check_init__(self):
        self._check_columns()
        total = np.bincount(self.map_index, minlength=self.maps)
        usable = np.bincount(self.map_index[self.valid], minlength=self.maps)
        empty = np.flatnonzero((total > 0) & (usable == 0))
        if len(empty):
            raise InputError(
                f"map '{self.names[empty[0]]}' with {total[empty[0]]} points and no valid LAT "
                f"({'; '.join(self.notes) or 'all marked invalid'})",
                "at least one valid LAT in each map that has points",
                "Leave this map out, or check units, window of interest and annotation of its LATs",
            )

    @classmethod
    def from_mesh_array(cls, points, lat_ms, **more) -> "MappingData":
        """A map from a point array of a surface: one LAT per node, NaN if not measured."""
        return cls(points, lat_ms, **more)

    @property
    def maps(self) -> int:
        """Number of maps."""
        return len(self.names)

    @property
    def until_ms(self) -> Float[np.ndarray, " points"]:
        """(points,), the time until which a point without activation was observed, ms: the upper end of its
        window of interest; if that is unknown, the latest valid LAT of its map.

        There is no margin: a wave later than the last observed one was not looked for.
        """
        latest = np.full(self.maps, np.nan)
        np.fmax.at(latest, self.map_index[self.valid], self.lat_ms[self.valid])
        end = self.woi_ms[:, 1]
        return np.where(np.isfinite(end), end, latest[self.map_index])

    def with_sigma(self, sigma_ms: float) -> "MappingData":
        """The same points, with `sigma_ms` as the standard deviation (ms) of the LATs that have none of their
        own. Raises `InputError` unless it is positive and finite."""
        return self._with(sigma_ms=np.where(np.isnan(self.sigma_ms), sigma_ms, self.sigma_ms))

    def subset(self, mask: Bool[np.ndarray, " points"]) -> "MappingData":
        """The points where `mask` is True. Names and indices of the maps are unchanged."""
        return self._with(**{name: values[mask] for name, values in self._columns().items()})

    def of_map(self, k: int) -> "MappingData":
        """The points of map `k`, as a data set of one map."""
        mask = self.map_index == k
        rows = {name: values[mask] for name, values in self._columns().items()}
        rows["map_index"] = np.zeros_like(rows["map_index"])
        return self._with(**rows, names=self.names[k : k + 1])

    def without(self, mask: Bool[np.ndarray, " points"], reason: str) -> "MappingData":
        """The same points; those in `mask` are neither valid nor silent, for the `reason` given in the
        notes."""
        notes = self.notes + _dropped(self.valid & mask, reason)
        return self._with(valid=self.valid & ~mask, silent=self.silent & ~mask, notes=notes)

    def _with(self, **changed: Any) -> "MappingData":
        """A copy with other columns. Plausibility was checked for the complete data and would differ for a
        part of them, so only the invariants are checked again."""
        new = object.__new__(MappingData)
        for name, value in (vars(self) | changed).items():
            object.__setattr__(new, name, value)
        new.__check_init__()
        return new

    def summary(self) -> dict[str, Any]:
        """Points and valid LATs per map, range of the LATs (ms), bounding box (mm), notes."""
        lat = self.lat_ms[self.valid]
        return {
            "points": len(self.lat_ms),
            "valid": int(self.valid.sum()),
            "maps": {
                name: {
                    "points": int((self.map_index == k).sum()),
                    "valid": int((self.valid & (self.map_index == k)).sum()),
                    "silent": int((self.silent & (self.map_index == k)).sum()),
                }
                for k, name in enumerate(self.names)
            },
            "lat_ms": (float(lat.min()), float(lat.max())),
            "box_mm": (self.positions.min(axis=0).tolist(), self.positions.max(axis=0).tolist()),
            "notes": self.notes,
        }

    def _columns(self):
        return {name: values for name, values in vars(self).items() if isinstance(values, np.ndarray)}


def project(mesh: Mesh, data: MappingData, *, limit_mm: float = 10.0) -> tuple[MappingData, Interpolation]:
    """Projects the points of a map onto a mesh.

    **Arguments:** `mesh`. `data`: the map. `limit_mm`: points farther than this from the mesh become invalid.

    **Returns:** the data, and the interpolation from nodes to all points.

    **Raises:** `InputError` if map and mesh cannot belong together: other units, another coordinate system, a
    median distance above 10 mm.

    **Example:** `data, to_points = jt.project(mesh, data)`
    """
    extent = np.linalg.norm(np.ptp(data.positions, axis=0)) / np.linalg.norm(np.ptp(mesh.points, axis=0))
    if extent > 100 or (extent < 0.01 and len(data.positions) >= 10):
        raise InputError(
            f"points that span {extent:.3g} times the size of the mesh",
            "map and mesh in the same unit, mm",
            "One of them is probably in micrometres or metres: convert it to mm",
        )
    place = locate(mesh, data.positions)
    median = np.median(place.distance[data.valid])
    if median > 10.0:
        apart = (data.positions.min(axis=0) > mesh.points.max(axis=0)) | (
            data.positions.max(axis=0) < mesh.points.min(axis=0)
        )
        raise InputError(
            f"a map far from the mesh: the median distance is {median:.3g} mm"
            + (", and their bounding boxes do not touch" if apart.any() else ""),
            "points within a few mm of the mesh",
            "Bring both into one coordinate system, or take the surface exported with this map",
        )
    return data.without(
        place.distance > limit_mm, f"a position more than {limit_mm:g} mm from the mesh"
    ), place


def _dropped(mask, reason):
    return (f"{int(mask.sum())} of {len(mask)} points not used: {reason}",) if mask.any() else ()
