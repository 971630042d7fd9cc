"""A table of points of one or several maps."""

from pathlib import Path
from typing import Any

import numpy as np


def make(
    folder: Path,
    *,
    points: int = 12,
    seed: int = 0,
    labels: bool = True,
    flat: bool = False,
    separator: str = ",",
    silent: bool = False,
    missing: str = "-10000",
    stem: str = "Doe Jane 1950",
) -> dict[str, Any]:
    """Writes a table and returns what is in it, in mm, ms and mV. `labels`: of two maps; `flat`: without
    z."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    positions = (random.normal(size=(points, 3)) * 20).round(3)
    if flat:
        positions[:, 2] = 0.0
    lat = random.integers(-40, 60, points).astype(float) / 4
    volts = random.uniform(0.05, 4, points).round(3)
    maps = np.arange(points) % 2 if labels else np.zeros(points, int)
    texts = [f"{each:g}" for each in lat]
    reason = [""] * points
    if points > 6:
        texts[2], lat[2], reason[2] = missing, np.nan, "no LAT"
        texts[3], lat[3], reason[3] = "90", 90.0, "outside the window of interest"
        if silent:
            texts[5], lat[5], reason[5] = "", np.nan, "no activation seen"
    names = ["x_mm", "y_mm", *([] if flat else ["z_mm"]), "lat_ms", "bipolar_mv", "woi_from_ms", "woi_to_ms"]
    names += ["map_id"] * labels + ["silent"] * silent
    lines = ["# made up", separator.join(names)]
    for k in range(points):
        row = [f"{each:g}" for each in positions[k, : 2 if flat else 3]] + [
            texts[k],
            f"{volts[k]:g}",
            "-50",
            "70",
        ]
        row += [("sinus", "paced µ")[maps[k]]] * labels + ["1" if k == 5 else "0"] * silent
        lines.append(separator.join(row))
    (folder / f"{stem}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "positions": positions, "lat_ms": lat, "bipolar_mv": volts, "maps": maps, "reason": tuple(reason),
        "names": ("sinus", "paced µ") if labels else ("map",),
    }  # fmt: skip
