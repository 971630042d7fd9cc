"""what holds the package together: the advertised path, its structure, what may not get slower"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .path import DATA, _need, jaxtwin

ROOT = Path(__file__).parents[1]
BEFORE = "bfcfca2"  # the commit before the packages became layers
ROUNDS = 5  # of each side, interleaved
LONGEST = 400  # lines of a file


def advertised_path() -> dict[str, Any]:
    """`jaxtwin import MAP --case CASE` and `jaxtwin fit CASE` on a real map, with all defaults."""
    (source,) = _need(DATA / "eam_map").glob("*.vtk")
    return imported_and_fitted(source)


def imported_and_fitted(source: Path) -> dict[str, Any]:
    """What both commands make of the file of a map, and how long they take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        imported = jaxtwin(folder, "import", str(source), "--case", str(folder / "case"))
        fitted = jaxtwin(folder, "fit", str(folder / "case"))
        summary = json.loads((folder / "case" / "result" / "summary.json").read_text())
    held_out = summary["twin"]["held_out_points"]
    keep = (
        "twin", "combined", "baselines", "validated", "noise_scale_ms", "iterations", "ended", "nodes",
        "seconds",
    )  # fmt: skip
    return {
        "minutes": (imported + fitted) / 60, "import_s": imported, "fit_s": fitted,
        "reached": 1.0 - held_out["not_reached"] / held_out["points"],
    } | {key: summary[key] for key in keep}  # fmt: skip


def structure() -> dict[str, Any]:
    """Layers, circles between files, imports inside functions, long files, and the size of `Twin`."""
    import dataclasses
    from graphlib import CycleError, TopologicalSorter

    import grimp

    import jaxtwin as jt

    graph = grimp.build_graph("jaxtwin")
    files = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    circles = 0
    try:
        tuple(TopologicalSorter(files).static_order())
    except CycleError:
        circles = 1
    layers = subprocess.run(["lint-imports"], cwd=ROOT, capture_output=True, text=True)
    inside = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select=PLC0415", "--output-format=concise", "jaxtwin"],
        cwd=ROOT, capture_output=True, text=True,
    ).stdout  # fmt: skip
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines())
        for path in (ROOT / "jaxtwin").rglob("*.py")
    }
    methods = [name for name, value in vars(jt.Twin).items() if callable(value) and not name.startswith("_")]
    return {
        "layers_broken": layers.returncode, "circles": circles,
        "imports_in_functions": inside.count("PLC0415"),
        "long_files": {name: lines for name, lines in lengths.items() if lines > LONGEST},
        "number_of_long_files": sum(lines > LONGEST for lines in lengths.values()),
        "files": len(lengths), "twin_fields": len(dataclasses.fields(jt.Twin)), "twin_methods": len(methods),
    }  # fmt: skip


def import_time() -> dict[str, Any]:
    """Processor time of `import jaxtwin`, and of the first name that needs most of it; the least of five."""

    def seconds(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return {
        "import_s": min(seconds("import jaxtwin") for _ in range(ROUNDS)),
        "with_twin_s": min(seconds("import jaxtwin; jaxtwin.Twin") for _ in range(ROUNDS)),
    }


def extension() -> dict[str, Any]:
    """A cell, a recorder, evidence, a reader and a therapy, each one file and one line in a copy."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/extend"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    passed = re.search(r"(\d+) passed", done.stdout)
    toys = (ROOT / "tests" / "extend" / "toys").glob("*.py")
    return {
        "passed": int(passed[1]) if passed else 0,
        "longest_lines": max(len(toy.read_text("utf-8").splitlines()) for toy in toys),
    }


READ = """
import sys, jax, numpy as np
jax.config.update("jax_enable_x64", sys.argv[3] == "float64")
import jaxtwin as jt
known = jt.read_twin(sys.argv[1])
twin, theta = known.fit.twin, known.fit.theta
site = jt.pulse(jt.in_sphere(twin.mesh, [20.0, 0.0], 2.0), len(twin.mesh.points))
np.savez(sys.argv[2], map=twin.predict(theta, 0), site=twin.predict(theta, site),
         draws=jt.predict(twin, known.posterior, site, draws=20))
"""


def saved_twin() -> dict[str, Any]:
    """A fitted twin is stored, and read in processes of both precisions: what these predict."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import numpy as np

    import jaxtwin as jt
    from jaxtwin.verify.coverage import drawn, small_sheet

    trial = small_sheet()
    _, data = drawn(trial, 0.0, np.random.default_rng(0))
    found = jt.fit(trial.twin, data.with_sigma(trial.sigma_ms))
    posterior = jt.posterior(found)
    site = jt.pulse(jt.in_sphere(trial.twin.mesh, [20.0, 0.0], 2.0), len(trial.twin.mesh.points))
    here = {
        "map": found.twin.predict(found.theta, 0), "site": found.twin.predict(found.theta, site),
        "draws": jt.predict(found.twin, posterior, site, draws=20),
    }  # fmt: skip
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "twin.h5"
        jt.write_twin(path, found, posterior)
        result["bytes"] = path.stat().st_size
        for precision in ("float64", "float32"):
            out = Path(name) / f"{precision}.npz"
            subprocess.run([sys.executable, "-c", READ, path, out, precision], check=True, cwd=ROOT)
            with np.load(out) as there:
                if precision == "float64":
                    result["different_values"] = sum(
                        int((there[key] != np.asarray(values)).sum()) for key, values in here.items()
                    )
                else:
                    gap = np.abs(there["map"] - np.asarray(here["map"]))
                    result["largest_difference_float32_ms"] = float(gap.max())
    return result


SOLVE = """
import json, sys, time
import jax, jax.numpy as jnp, numpy as np
import jaxtwin as jt
from jaxtwin.fem import Space
name, folder = sys.argv[1:3]
if name == "sheet":
    mesh = jt.reorder(jt.sheet(40.0, 40.0, 0.4)).mesh
    end, site, along, ratio = 200.0, (mesh.points < 2.0).all(axis=1), 0.3, 1.0
else:
    mesh = jt.reorder(jt.repair(jt.read_mesh(folder).mesh).mesh).mesh
    end, along, ratio = 100.0, 0.3, 4.0
    site = jt.in_sphere(mesh, mesh.points[mesh.points[:, 2].argmax()], 3.0)
space, cells = Space(mesh, mass_scaling=0.005), jt.MitchellSchaeffer()
real = space.mass.dtype
paced, times = jt.pulse(site, len(mesh.points)), jt.Times(end, 0.2)
from jaxtwin.monodomain import spectral_bound
def tissue(log_d):
    tensor = jt.diffusion_tensor(mesh.fibres, along * jnp.exp(log_d), ratio)
    return jt.Tissue(space, cells, tensor.astype(real), paced)
zero = jnp.zeros(len(mesh.cells), real)
stepper = jt.RungeKuttaChebyshev().with_stages(float(spectral_bound(tissue(zero))), times.dt)
def lat(log_d):
    found = jt.simulate(tissue(log_d), times, stepper=stepper, recorders=(jt.ActivationTimes(),), throw=False)
    return jnp.where(jnp.isfinite(found.records[0]), found.records[0], 0.0).mean()
result = {}
for what, function in (("forward", jax.jit(lat)), ("gradient", jax.jit(jax.grad(lat)))):
    begin = time.process_time(); jax.block_until_ready(function(zero)); first = time.process_time() - begin
    runs = []
    while len(runs) < 3 or sum(runs) < 3.0:
        begin = time.process_time(); jax.block_until_ready(function(zero))
        runs.append(time.process_time() - begin)
    result[what], result[what + "_compile"] = min(runs), first - min(runs)
print(json.dumps(result))
"""


def before() -> dict[str, Any]:
    """Solve, gradient and compilation on a sheet and a real atrium, over those of the commit before the
    layers: processor time on one core, both sides in one run and interleaved, minima."""
    (atrium,) = _need(DATA / "atrium_dtmri").glob("*.pts")
    cores = os.sched_getaffinity(0)
    one = {min(cores)}
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "before"
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), BEFORE], cwd=ROOT, check=True)
        try:
            found: dict[str, dict[str, dict[str, float]]] = {}
            for problem in ("sheet", "atrium"):
                sides: dict[str, list[dict[str, float]]] = {"before": [], "now": []}
                for _ in range(ROUNDS):
                    for side, where in (("before", tree), ("now", ROOT)):
                        done = subprocess.run(
                            [sys.executable, "-c", SOLVE, problem, str(atrium)], cwd=where, check=True,
                            capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(where)},
                            preexec_fn=lambda: os.sched_setaffinity(0, one),
                        )  # fmt: skip
                        sides[side].append(json.loads(done.stdout.splitlines()[-1]))
                found[problem] = {
                    side: {key: min(run[key] for run in runs) for key in runs[0]}
                    for side, runs in sides.items()
                }
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)
    ratios = {
        f"{problem}_{key}": sides["now"][key] / sides["before"][key]
        for problem, sides in found.items() for key in sides["now"]
    }  # fmt: skip
    solves = [value for key, value in ratios.items() if not key.endswith("compile")]
    compiles = [value for key, value in ratios.items() if key.endswith("compile")]
    return (
        {"largest_ratio": max(solves), "largest_compile_ratio": max(compiles)} | ratios | {"seconds": found}
    )


BENCHMARKS = {
    "advertised-path": advertised_path,
    "structure": structure,
    "import-time": import_time,
    "extension": extension,
    "saved-twin": saved_twin,
    "before": before,
}
