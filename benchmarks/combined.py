"""Problem E with the defaults of `jaxtwin fit`: the twin combined with interpolation, and interpolation."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .path import DATA, _need, run_in

COUNTS = (100, 200, 500)  # points that are fitted
SPLITS = range(3)
HELD_OUT, PATCH = 500, 0.15  # points, and fraction of the surface
EARLIEST = 0.04  # fraction of the points at which the wave starts
RIVALS = "radial_basis", "gaussian_process"
PARTS = {"points": "held_out_points", "patch": "held_out_patch"}
CASE = """
[mesh]
file = "{data}/eam_map/openep_mesh_2_dense.vtk"
[tissue]
speed_mm_per_ms = 0.7
anisotropy_ratio = 1.0
[[beat]]
[[beat.pulse]]
kind = "map"
[map]
file = "{data}/eam_map/openep_mesh_2_dense.vtk"
array = "LAT"
fit_points = {points}
held_out_points = {held_out}
held_out_patch_fraction = {patch}
seed = {seed}
[fit]
discrepancy_ms = 3.0
"""


def real_map() -> dict[str, Any]:
    """Errors of the combination over those of the better of two interpolations, split by split, as means; and
    those of the twin alone. Patches with the source inside count in the runs, not in the means."""
    _need(DATA / "eam_map")
    runs = [_run(points, seed) for points in COUNTS for seed in SPLITS]
    found: dict[str, Any] = {}
    for points in COUNTS:
        own = [run for run in runs if run["fit_points"] == points]
        open_patch = [run for run in own if run["source_in_patch"] < 0.5]
        for who in ("combined", "twin"):
            found |= {
                f"{who}_points_{points}": _mean(own, who, "points"),
                f"{who}_patch_{points}": _mean(open_patch, who, "patch"),
            }
        found[f"patches_{points}"] = len(open_patch)
    return found | {"runs": runs}


def source_in_patch(folder: Path) -> float:
    """The fraction of the earliest 4 % of all points that lie in the patch of a case."""
    import jaxtwin as jt

    ready = jt.prepare(jt.load_case(folder))
    data, patch = ready.data, ready.held_out.patch
    lat = np.where(data.valid, data.lat_ms, np.inf)
    earliest = np.argsort(lat, kind="stable")[: int(np.ceil(EARLIEST * data.valid.sum()))]
    return float(patch[earliest].mean())


def _run(points: int, seed: int) -> dict[str, Any]:
    text = CASE.format(data=DATA.as_posix(), points=points, held_out=HELD_OUT, patch=PATCH, seed=seed)
    with tempfile.TemporaryDirectory() as name:
        summary = run_in(Path(name), "fit", text)
        inside = source_in_patch(Path(name))
    found: dict[str, Any] = {"fit_points": points, "seed": seed, "source_in_patch": inside}
    for name, part in PARTS.items():
        best = min(summary["baselines"][rival][part]["rmse_ms"] for rival in RIVALS)
        found |= {
            f"{name}_best_ms": best,
            f"{name}_combined": summary["combined"][part]["rmse_ms"] / best,
            f"{name}_twin": summary["twin"][part]["rmse_ms"] / best,
        }
    keep = ("twin", "baselines", "combined", "noise_scale_ms", "ended", "iterations", "wall_s")
    return found | {key: summary[key] for key in keep}


def _mean(runs: list[dict[str, Any]], who: str, part: str) -> float:
    return float(np.mean([run[f"{part}_{who}"] for run in runs])) if runs else float("nan")
