"""other codes that solve problem P, in environments of their own, beside jaxtwin on one core

`python -m benchmarks.peers install` makes the environments, in the folder that JAXTWIN_PEERS names (`.peers`
in the repository where it is not set).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .speed import one_core, sheet_problem

HERE = Path(__file__).parent
AT = [[20, 0], [40, 0], [20, 20], [40, 40]]  # mm
EDGES = {"10k": 0.4, "40k": 0.2}
OWN_STEPS = {"10k": 0.35, "40k": 0.25}  # ms; their own error is at most a quarter of that of the edges
STEPS = {  # ms
    "torchcor": {"10k": 0.05, "40k": 0.05},
    "finitewave": {"10k": 0.05, "40k": 0.02},
    "dolfinx": {"10k": 0.05, "40k": 0.05},
}
WHEELS = "https://download.pytorch.org/whl/cpu"  # torch without CUDA


def folder() -> Path:
    """Where the environments of the peers lie."""
    return Path(os.environ.get("JAXTWIN_PEERS", HERE.parent / ".peers"))


def python(peer: str) -> str:
    """The interpreter that has a peer."""
    return "/usr/bin/python3" if peer == "dolfinx" else str(folder() / peer / "bin" / "python")


def missing(peer: str) -> str:
    """Why a peer cannot run here; nothing where it can."""
    try:
        done = subprocess.run([python(peer), "-c", f"import {peer}"], capture_output=True, text=True, cwd="/")
    except OSError as error:
        return f"no environment: {error.strerror}"
    return f"no environment: {done.stderr.strip().splitlines()[-1]}" if done.returncode else ""


def install() -> dict[str, Any]:
    """Makes the environments that are absent; what fails is reported and left out."""
    folder().mkdir(parents=True, exist_ok=True)
    (folder() / ".gitignore").write_text("*\n", "utf-8")

    def call(*command: str) -> bool:
        print("running:", *command, file=sys.stderr)
        try:
            return subprocess.run(command, stdout=sys.stderr).returncode == 0
        except OSError as error:
            print(f"failed: {error}", file=sys.stderr)
            return False

    for peer, version in (("finitewave", "0.9.3"), ("torchcor", "1.0.6")):
        if missing(peer):
            venv.create(folder() / peer, with_pip=True, clear=True)
            pip = (python(peer), "-m", "pip", "install", "--quiet")
            if peer == "torchcor":
                torch = "torch==2.13.0"
                _ = call(*pip, "--index-url", WHEELS, torch) or call(*pip, torch)
            call(*pip, f"{peer}=={version}")
    if missing("dolfinx"):
        call("apt-get", "install", "-y", "--no-install-recommends", "python3-dolfinx")
    return {"peers": {peer: missing(peer) or "installed" for peer in STEPS}}


def cheapest(run: Callable[[], Any], times: int = 2) -> tuple[Any, dict[str, float]]:
    """Result; lowest CPU and wall seconds of the runs after the first, and wall seconds of the first."""
    cpu, wall = [], []
    for _ in range(times + 1):
        begin, used = time.perf_counter(), time.process_time()
        result = run()
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - used)
    return result, {"seconds": min(cpu[1:] or cpu), "wall_s": min(wall[1:] or wall), "first_s": wall[0]}


def jaxtwin(edge: float, dt: float, share: float, repeats: int = 2) -> dict[str, Any]:
    """Problem P with jaxtwin in float32; `share` of the consistent mass."""
    mesh, problem = sheet_problem(edge, share, dt)
    lat, seconds = cheapest(problem.activation(), repeats)
    where = [np.linalg.norm(mesh.points - np.asarray([at]), axis=1).argmin() for at in AT]
    row = {"nodes": len(mesh.points), "dt_ms": dt, "stages": problem.stepper.stages}
    return row | seconds | {"lat_ms": lat[where].tolist()}


def peer(name: str, size: str, repeats: int = 2) -> dict[str, Any]:
    """Problem P with a peer, in a process of its own with one thread; `skipped` where it fails."""
    import jaxtwin as jt

    edge, dt = EDGES[size], STEPS[name][size]
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    with tempfile.TemporaryDirectory() as kept:
        mesh = jt.sheet(40.0, 40.0, edge)
        np.savez(Path(kept) / "mesh.npz", points=mesh.points, cells=mesh.cells)
        job = {
            "mesh": f"{kept}/mesh.npz",
            "edge": edge,
            "dt": dt,
            "stop": 200.0,
            "at": AT,
            "repeats": repeats,
        }
        script = HERE / "peer_scripts" / f"{name}.py"
        command = [python(name), "-W", "ignore", str(script), json.dumps(job)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=kept, env=os.environ | threads)
    if done.returncode or not done.stdout.strip():
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        return {"skipped": f"exit code {done.returncode}: {last}"}
    return {"dt_ms": dt} | json.loads(done.stdout.strip().splitlines()[-1])


def peers() -> dict[str, Any]:
    """Problem P, 200 ms on one core: jaxtwin and every peer that is installed, in one run.

    Sheet of 40 x 40 mm, D = 0.3 mm2/ms, Mitchell-Schaeffer, corner stimulus of 2 x 2 mm; the same
    triangles for the finite-element peers, the same nodes for Finitewave. `seconds` are CPU seconds of one
    thread in the time loop with activation times, the lowest of two runs after one that compiles: other
    processes change them less than `wall_s`. `reference_ms` is jaxtwin's with edges of 0.1 mm and 0.02 ms.
    """
    one_core()
    print("running: reference", file=sys.stderr)
    fine = jaxtwin(0.1, 0.02, 0.5, repeats=0)
    reference = np.asarray(fine["lat_ms"])

    def with_error(row: dict[str, Any]) -> dict[str, Any]:
        if "skipped" in row:
            return row
        gap = np.asarray(row["lat_ms"], float) - reference
        return row | {"lat_error_ms": gap.tolist(), "rms_lat_error_ms": float(np.sqrt(np.mean(gap**2)))}

    table: dict[str, dict[str, Any]] = {}
    for name, share in (("jaxtwin", 0.5), ("jaxtwin, lumped", 0.0)):
        print(f"running: {name}", file=sys.stderr)
        table[name] = {
            size: with_error(jaxtwin(edge, OWN_STEPS[size], share)) for size, edge in EDGES.items()
        }
    for name in STEPS:
        print(f"running: {name}", file=sys.stderr)
        reason = missing(name)
        sizes = {} if reason else {size: with_error(peer(name, size)) for size in EDGES}
        failed = [row["skipped"] for row in sizes.values() if "skipped" in row]
        table[name] = {"skipped": (reason or failed[0])} if reason or failed else sizes
        if reason or failed:
            print(f"skipped {name}: {table[name]['skipped']}", file=sys.stderr)

    ran = [name for name in STEPS if "skipped" not in table[name]]
    result: dict[str, Any] = {"problem": "P", "peers": table, "reference_ms": fine["lat_ms"]}
    for ours, key in (("jaxtwin", "over_jaxtwin"), ("jaxtwin, lumped", "over_jaxtwin_lumped")):
        result[key] = {
            name: {size: table[name][size]["seconds"] / table[ours][size]["seconds"] for size in EDGES}
            for name in ran
        }
    ratios = result["over_jaxtwin"]
    for size in EDGES if ran else ():
        best = min(ran, key=lambda name: ratios[name][size])
        result |= {f"best_peer_{size}": best, f"best_peer_over_jaxtwin_{size}": ratios[best][size]}
    for name in ran:
        result |= {f"{name}_over_jaxtwin_{size}": ratios[name][size] for size in EDGES}
    names = [name for name in table if "skipped" not in table[name]]
    result["lat_error_ms"] = {
        name: {size: table[name][size]["rms_lat_error_ms"] for size in EDGES} for name in names
    }
    if ran:
        errors = result["lat_error_ms"]
        least = min(errors[name]["40k"] for name in ran)
        result["error_over_best_peer_40k"] = errors["jaxtwin"]["40k"] / least
    return result


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        sys.exit("usage: python -m benchmarks.peers install")
    print(json.dumps(install()))
