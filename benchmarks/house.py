"""what holds the package together: the advertised path, its structure, what may not get slower"""

import json
import tempfile
from pathlib import Path
from typing import Any

from .path import DATA, _jaxtwin, _need


def advertised_path() -> dict[str, Any]:
    """`jaxtwin import MAP --case CASE` and `jaxtwin fit CASE` on a real map, with all defaults."""
    (source,) = _need(DATA / "eam_map").glob("*.vtk")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        imported = _jaxtwin(folder, "import", str(source), "--case", str(folder / "case"))
        fitted = _jaxtwin(folder, "fit", str(folder / "case"))
        summary = json.loads((folder / "case" / "result" / "summary.json").read_text())
    held_out = summary["twin"]["held_out_points"]
    keep = ("twin", "baselines", "validated", "noise_scale_ms", "iterations", "ended", "nodes", "seconds")
    return {
        "minutes": (imported + fitted) / 60, "import_s": imported, "fit_s": fitted,
        "reached": 1.0 - held_out["not_reached"] / held_out["points"],
    } | {key: summary[key] for key in keep}  # fmt: skip


BENCHMARKS = {"advertised-path": advertised_path}
