"""Problem E: a real map of an atrium, parts of it held out, against interpolation of the same points."""

from typing import Any

SEEDS = range(5)
KEPT = (
    "twin", "baselines", "physics_alone", "validated", "intervals", "noise_scale_ms", "ended", "iterations",
    "seconds", "wall_s",
)  # fmt: skip


def real_map(points: int, discrepancy: float) -> dict[str, Any]:
    """Problem E: a real map of an atrium, five random splits, against interpolation of the same points."""
    from ..path import fit_real_map

    fits = [fit_real_map(seed, points, discrepancy) for seed in SEEDS]
    runs = [{name: fit[name] for name in KEPT} for fit in fits]
    parts, rivals = ("held_out_points", "held_out_patch"), ("radial_basis", "gaussian_process")
    own = {part: [run["twin"][part]["rmse_ms"] for run in runs] for part in parts}
    mean = {part: sum(errors) / len(errors) for part, errors in own.items()}
    found: dict[str, Any] = {f"mean_{part}_rmse_ms": value for part, value in mean.items()}
    for rival in rivals:
        for part in parts:
            other = [run["baselines"][rival][part]["rmse_ms"] for run in runs]
            found[f"mean_{part}_over_{rival}"] = mean[part] / (sum(other) / len(other))
    return found | {f"largest_{part}_rmse_ms": max(errors) for part, errors in own.items()} | {"runs": runs}
