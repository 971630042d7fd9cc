"""the whole path, from a mesh and a map to a fitted conductivity, as a user runs it"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("JAXTWIN_DATA", Path(__file__).parents[1] / "../shared/data")).resolve()

SIMULATE = """
[mesh]
file = "{data}/atrium_dtmri/{stem}.pts"
[cells]
model = "mitchell_schaeffer"
[tissue]
diffusivity_mm2_per_ms = 0.3
anisotropy_ratio = 4.0
[[beat]]
[[beat.pulse]]
kind = "sphere"
centre_mm = {centre}
radius_mm = 3.0
[time]
end_ms = 500.0
step_ms = 0.2
"""

FIT = """
[mesh]
file = "{data}/eam_map/openep_mesh_2_dense.vtk"
[tissue]
speed_mm_per_ms = 0.8
anisotropy_ratio = 1.0
[[beat]]
[[beat.pulse]]
kind = "map"
[time]
step_ms = 0.2
[map]
file = "{data}/eam_map/openep_mesh_2_dense.vtk"
array = "LAT"
sigma_ms = 3.0
fit_points = {points}
held_out_points = 500
held_out_patch_fraction = 0.15
seed = {seed}
[fit]
discrepancy_ms = {discrepancy}
uncertainty_directions = {directions}
largest_diffusivity_mm2_per_ms = 3.0
"""


def jaxtwin(folder: Path, *words: str) -> float:
    """Wall seconds of a command in its own process, with nothing compiled before."""
    environment = os.environ | {"JAXTWIN_CACHE": str(folder / "cache")}
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "jaxtwin", *words], check=True, env=environment, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begin


def run_in(folder: Path, command: str, text: str) -> dict[str, Any]:
    """The summary of a case in `folder`, with its wall time; the result stays in `folder / "result"`."""
    (folder / "case.toml").write_text(text)
    seconds = jaxtwin(folder, command, str(folder))
    summary = json.loads((folder / "result" / "summary.json").read_text())
    keep = {k: v for k, v in summary.items() if k not in ("provenance", "notes", "notice")}
    return keep | {"wall_s": seconds, "pictures": sorted(p.name for p in (folder / "result").glob("*.png"))}


def run_case(command: str, text: str, needs: str) -> dict[str, Any]:
    """The summary of a case in an empty folder, with its wall time; `needs` a folder of real files."""
    _need(DATA / needs)
    with tempfile.TemporaryDirectory() as folder:
        return run_in(Path(folder), command, text)


def _need(path: Path) -> Path:
    if not path.is_dir():
        sys.exit(f"{path.name} is absent: set JAXTWIN_DATA to the folder of real files")
    return path


def simulate() -> dict[str, Any]:
    """A beat on a real left atrium of 60,100 nodes, 500 ms at 0.05 ms."""
    import numpy as np

    from jaxtwin import read_mesh

    (points,) = _need(DATA / "atrium_dtmri").glob("*.pts")
    mesh = read_mesh(points).mesh
    centre = np.round(mesh.points[mesh.points[:, 2].argmax()], 2).tolist()
    return run_case(
        "simulate", SIMULATE.format(data=DATA.as_posix(), stem=points.stem, centre=centre),
        needs="atrium_dtmri",
    )  # fmt: skip


def fit_real_map(
    seed: int, points: int = 500, discrepancy: float = 0.0, directions: int = 0
) -> dict[str, Any]:  # fmt: skip
    """The summary of a fit to one split of a real map of an atrium."""
    text = FIT.format(
        data=DATA.as_posix(), seed=seed, points=points, discrepancy=discrepancy, directions=directions
    )
    return run_case("fit", text, needs="eam_map")


def fit() -> dict[str, Any]:
    """A field of conductivity from a real map: 500 points to fit, 500 and a patch of 15 % held out.

    Three random splits: how hard a patch is depends on where it lies.
    """
    splits = [fit_real_map(seed, directions=20) for seed in range(3)]

    def error(split, part, of="twin"):
        scores = split["twin"] if of == "twin" else split["baselines"][of]
        return scores[part]["rmse_ms"]

    points, patches = (
        [error(s, part) / error(s, part, "isotropic_speed") for s in splits]
        for part in ("held_out_points", "held_out_patch")
    )
    return {
        "largest_points_rmse_ms": max(error(s, "held_out_points") for s in splits),
        "largest_points_over_isotropic": max(points),
        "mean_patch_over_isotropic": sum(patches) / len(patches),
        "largest_patch_over_isotropic": max(patches),
        "largest_wall_s": max(s["wall_s"] for s in splits), "splits": splits,
    }  # fmt: skip


def demo() -> dict[str, Any]:
    """A hidden scar in a synthetic atrium, truth on a mesh twice as fine."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "demo"
        seconds = jaxtwin(Path(folder), "demo", "--folder", str(target))
        summary = json.loads((target / "summary.json").read_text())
        return summary | {"wall_s": seconds, "pictures": sorted(p.name for p in target.glob("*.png"))}


def verification() -> dict[str, Any]:
    """Orders, speeds, invariances and derivatives in double precision."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    import jaxtwin as jt
    from jaxtwin import verify
    from jaxtwin.signals import plane_wave_speed
    from jaxtwin.verify.exact import STEADY

    cells = {
        "MS": jt.MitchellSchaeffer(),
        "mMS": jt.ModifiedMitchellSchaeffer(),
        "mMS atrial": jt.ModifiedMitchellSchaeffer.atrial(),
    }
    speeds = {
        name: abs(plane_wave_speed(c) / float(c.speed(jnp.asarray(0.1))) - 1) for name, c in cells.items()
    }
    spatial = {name: verify.spatial_order(name).order for name in STEADY}
    temporal = {name: found.order for name, found in verify.temporal_order().items()}
    rotation = max(verify.rotation_difference(dim) for dim in (2, 3))
    meshes = (jt.sheet(5.0, 5.0, 0.5, distortion=0.2), jt.slab(3.0, 2.0, 1.0, 0.5, distortion=0.2))
    derivatives = {
        m.__name__: verify.derivative_errors(m) for m in (jt.MitchellSchaeffer, jt.ModifiedMitchellSchaeffer)
    }
    errors = [e for table in derivatives.values() for row in table.values() for e in row.values()]
    transposes = [verify.transpose_error(m, b) for m in verify.DERIVATIVE_MESHES for b in (1e9, 6e5)]
    return {
        "spatial_order": spatial, "least_spatial_order": min(spatial.values()),
        "temporal_order": temporal, "least_temporal_order": min(temporal.values()),
        "speed_error": speeds, "largest_speed_error": max(speeds.values()),
        "rotation_ms": rotation, "drift": max(verify.total_drift(m) for m in meshes),
        "derivatives": derivatives,
        "gradient_against_differences": max(e["difference"] for e in errors),
        "gradient_against_forward_mode": max(e["forward"] for e in errors),
        "gradient_against_autodiff": max(max(t.values()) for t in transposes),
    }  # fmt: skip


BENCHMARKS = {"verification": verification, "simulate": simulate, "fit": fit, "demo": demo}
