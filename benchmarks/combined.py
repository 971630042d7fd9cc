"""Problem E with the defaults of the command line: the twin combined with interpolation, and both alone."""

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .path import DATA, _need, jaxtwin, run_in

COUNTS = (100, 200, 500)  # points that are fitted
SPLITS = range(3)
HELD_OUT, PATCH = 500, 0.15  # points, and fraction of the surface
EARLIEST = 0.04  # fraction of the points at which the wave starts
MAP = "openep_mesh_2_dense.vtk"
RIVALS = "radial_basis", "gaussian_process"
PARTS = {"points": "held_out_points", "patch": "held_out_patch"}


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
    """The case that `jaxtwin import` writes, with other points held out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "case"
        jaxtwin(Path(name), "import", str(DATA / "eam_map" / MAP), "--case", str(folder))
        text = (folder / "case.toml").read_text()
        for key, value in (
            ("fit_points", points), ("held_out_points", HELD_OUT), ("held_out_patch_fraction", PATCH),
            ("seed", seed),
        ):  # fmt: skip
            text = re.sub(rf"(?m)^{key} = \S+", f"{key} = {value}", text)
        summary = run_in(folder, "fit", text)
        inside = source_in_patch(folder)
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
