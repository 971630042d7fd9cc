"""Quality of a map: checks before it is fitted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from ..anatomy import Mesh
from ..fem import lumped_mass
from .annotate import annotate
from .study import Map

FAR_MM = 10.0  # maximum distance from the surface
COVERED_MM = 10.0  # radius around a valid point that counts as mapped
LOW_MV = 0.5  # bipolar, below which tissue counts as diseased in ventricles and atria
SAME_MM = 0.05  # points closer than this are duplicates
NEAR_MM, APART_MS = 2.0, 20.0  # distance and difference of contradictory neighbours
NEIGHBOURS = 8
LEAST_SCALE_MS = 1.0  # of the residuals that a score is in units of
OUTLIER = 5.0  # score
SHIFTED_MS = 15.0  # between annotation and waveform


@dataclass(frozen=True)
class Quality:
    """Quality of one map. Arrays have one entry per point, NaN if not available.

    - `distance_mm`: to the surface. `score`: deviation of a LAT from the prediction by its neighbours, in
      robust standard deviations of the map. `shift_ms`: exported LAT minus that of the waveform.
    - `same_as`: index of an earlier point at the same place, -1 if there is none.
    - `coverage`: fraction of the surface within 10 mm of a valid point. `low_voltage`: fraction of the
      bipolar voltages below 0.5 mV.
    """

    distance_mm: Float[np.ndarray, " points"]
    score: Float[np.ndarray, " points"]
    shift_ms: Float[np.ndarray, " points"]
    same_as: Int[np.ndarray, " points"]
    contradictions: int
    coverage: float
    low_voltage: float

    def problems(self, one: Map) -> list[str]:
        """Sentences on what should be checked before this map is used."""
        points = one.measured()
        valid = points.valid
        found = [
            f"{points.reason.count(why)} points cannot be used: {why}."
            for why in dict.fromkeys(points.reason)
            if why
        ]
        far = int((self.distance_mm > FAR_MM).sum())
        outliers = int((self.score > OUTLIER).sum())
        shifted = int((np.abs(self.shift_ms) > SHIFTED_MS).sum())
        same = int((self.same_as >= 0).sum())
        if far:
            found.append(
                f"{far} points are more than {FAR_MM:g} mm from the surface: another chamber, or a shift."
            )
        if same:
            found.append(f"{same} points stand where an earlier one does.")
        if self.contradictions:
            found.append(
                f"{self.contradictions} pairs of points within {NEAR_MM:g} mm differ by more than "
                f"{APART_MS:g} ms."
            )
        if outliers:
            worst = [
                points.ids[k] or str(k) for k in np.argsort(-np.nan_to_num(self.score))[: min(outliers, 5)]
            ]
            found.append(
                f"{outliers} LATs do not fit those around them (score above {OUTLIER:g}): {', '.join(worst)}."
            )
        if shifted:
            known = int(np.isfinite(self.shift_ms).sum())
            found.append(
                f"{shifted} of {known} annotations are more than {SHIFTED_MS:g} ms from the waveform's own."
            )
        if np.isfinite(self.coverage) and self.coverage < 0.7 and valid.any():
            found.append(
                f"Valid points cover {100 * self.coverage:.0f} % of the surface: the rest is not measured."
            )
        if len(points) and not valid.any():
            found.append("No LAT can be used.")
        return found

    def facts(self, one: Map) -> dict[str, Any]:
        """The available figures, for a table."""
        points = one.measured()
        valid = points.valid
        lat = points.lat_ms[valid]
        found = {
            "points": len(points), "valid": int(valid.sum()),
            "lat_ms": [float(lat.min()), float(lat.max())] if len(lat) else None,
            "distance_mm": _spread(self.distance_mm), "coverage": _rounded(self.coverage),
            "low_voltage": _rounded(self.low_voltage), "outliers": int((self.score > OUTLIER).sum()),
            "contradictions": self.contradictions, "same_place": int((self.same_as >= 0).sum()),
            "annotation_minus_waveform_ms": _spread(self.shift_ms),
        }  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}


def assess(one: Map, *, waveforms: bool = True) -> Quality:
    """Assesses one map: its points, or the nodes with a LAT of a map without points (`Map.measured`).
    `waveforms`: also annotates them for comparison; this takes a millisecond per point."""
    points = one.measured()
    valid = points.valid
    shift = np.full(len(points), np.nan)
    if waveforms and one.signals and len(points):
        shift = np.where(valid, points.lat_ms - annotate(one).lat_ms, np.nan)
    bipolar = points.bipolar_mv[np.isfinite(points.bipolar_mv)]
    low = float((bipolar < LOW_MV).mean()) if len(bipolar) else np.nan
    same, contradictions = _pairs(points.positions, np.where(valid, points.lat_ms, np.nan))
    return Quality(
        one.distance_mm(), local_score(points.positions, np.where(valid, points.lat_ms, np.nan)), shift, same,
        contradictions, _coverage(one), low,
    )  # fmt: skip


def local_score(
    positions: Float[np.ndarray, "points dim"], lat_ms: Float[np.ndarray, " points"]
) -> Float[np.ndarray, " points"]:
    """Distance of each LAT from a plane through those of its eight nearest neighbours, in units of 1.48 times
    the median of all such distances (at least 1 ms); NaN without a LAT or with too few neighbours.

    The plane is fitted to the neighbours only and twice, the second time without the worst neighbour, so that
    an outlier does not affect the scores of its neighbours.
    """
    rows = np.flatnonzero(np.isfinite(lat_ms))
    score = np.full(len(lat_ms), np.nan)
    if len(rows) <= NEIGHBOURS:
        return score
    place, lat = positions[rows], lat_ms[rows]
    near = np.asarray(KDTree(place).query(place, NEIGHBOURS + 1)[1])
    # the point itself is the first, except for duplicates
    near = np.array([[k for k in each if k != i][:NEIGHBOURS] for i, each in enumerate(near.tolist())])
    away = np.linalg.norm(place[near] - place[:, None], axis=2)
    reach = np.maximum(away.max(axis=1, keepdims=True), 1e-9)
    weight = np.exp(-((away / reach) ** 2))
    value = np.zeros(len(rows))
    for _ in range(2):
        value, off = _plane((place[near] - place[:, None]) / reach[..., None], lat[near], weight)
        worst = off.argmax(axis=1)
        weight = weight.copy()
        weight[np.arange(len(rows)), worst] = 0.0
    rest = np.abs(lat - value)
    scale = max(1.4826 * float(np.median(rest)), LEAST_SCALE_MS)
    score[rows] = rest / scale
    return score


def _plane(offset: np.ndarray, lat: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of fitted planes at the points, and the residual of each neighbour. A small penalty on the slope
    handles collinear neighbours."""
    design = np.concatenate([np.ones((*offset.shape[:2], 1)), offset], axis=2)
    scaled = design * weight[..., None]
    bend = np.diag([0.0] + [1e-2] * offset.shape[2])
    normal = np.einsum("nka,nkb->nab", scaled, design) + bend
    found = np.linalg.solve(normal, np.einsum("nka,nk->na", scaled, lat)[..., None])[..., 0]
    off = np.abs(lat - np.einsum("nka,na->nk", design, found)) * (weight > 0)
    return found[:, 0], off


def _pairs(positions: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, int]:
    same = np.full(len(positions), -1)
    if len(positions) < 2:
        return same, 0
    tree = KDTree(positions)
    for a, b in sorted(tree.query_pairs(SAME_MM)):
        if same[b] < 0:
            same[b] = a
    rows = np.flatnonzero(np.isfinite(lat))
    pairs = (
        KDTree(positions[rows]).query_pairs(NEAR_MM, output_type="ndarray")
        if len(rows) > 1
        else np.zeros((0, 2), int)
    )
    return same, int((np.abs(lat[rows[pairs[:, 0]]] - lat[rows[pairs[:, 1]]]) > APART_MS).sum())


def _coverage(one: Map) -> float:
    surface, points = one.surface, one.measured()
    valid = points.valid
    if surface is None or not len(surface.triangles) or not valid.any():
        return np.nan
    whole = surface.triangles[~surface.cut_out]
    if not len(whole):
        return np.nan
    area = lumped_mass(Mesh(surface.points, whole))
    near = KDTree(points.positions[valid]).query(surface.points)[0] <= COVERED_MM
    return float(area[near].sum() / max(area.sum(), 1e-30))


def _rounded(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None


def _spread(values: np.ndarray) -> dict[str, float] | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    return dict(
        zip(
            ("median", "p95", "max"),
            np.percentile(np.abs(known), [50, 95, 100]).round(3).tolist(),
            strict=True,
        )
    )
