"""What a solve and its gradient cost."""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .path import DATA

STEP_MS = 0.25  # its error in the activation times is a tenth of that of the edges; see `sheet`


def one_core() -> None:
    """Keeps all threads of this process on one core."""
    core = {min(os.sched_getaffinity(0))}
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), core)


def fastest(run: Callable[[], Any], times: int = 3) -> tuple[Any, float]:
    """Result, and seconds of the fastest run after a first one."""
    result, seconds = run(), []
    for _ in range(times):
        begin = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - begin)
    return result, min(seconds)


def huge_pages() -> None:
    """Starts this process again with an allocator that asks for huge pages, where it does not yet.

    A gradient writes gigabytes of trajectory once; in pages of 4 kB the faults cost as much as a solve.
    """
    name, wish = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
    if platform.system() == "Linux" and wish not in os.environ.get(name, ""):
        os.environ[name] = wish
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]])


def peak_memory() -> int:
    """The largest resident size of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


class Problem:
    """A tissue whose conductivity is a field of the cells, and what is run on it."""

    def __init__(self, mesh, cell, start, stop: float, along: float, ratio: float, share: float, dt: float):
        import jax.numpy as jnp

        import jaxtwin as jt
        from jaxtwin.fem import Space
        from jaxtwin.monodomain import spectral_bound

        self.space = Space(mesh, consistent_mass=share, mass_scaling=0.005, dtype=jnp.float32)
        self.fibres = jnp.asarray(mesh.fibres, jnp.float32)
        self.cell, self.start, self.times, self.ratio = cell, start, jt.Times(stop, dt), ratio
        self.log_d = jnp.full(len(mesh.cells), np.log(along), jnp.float32)
        bound = float(spectral_bound(self.tissue(self.log_d, self.space)))
        self.stepper = jt.RungeKuttaChebyshev().with_stages(bound, dt)

    def tissue(self, log_d, space):
        import jax.numpy as jnp

        import jaxtwin as jt

        tensor = jt.diffusion_tensor(self.fibres, jnp.exp(log_d), self.ratio)
        return jt.Tissue(space, self.cell, tensor, self.start)

    def until(self, stop: float) -> "Problem":
        """The same problem with another end."""
        import jaxtwin as jt

        other = copy(self)
        other.times = jt.Times(stop, self.times.dt)
        return other

    def solve(self, log_d, space, memory: float = 8e9):
        """Activation times, with reverse mode within so much memory."""
        import jaxtwin as jt

        return jt.simulate(
            self.tissue(log_d, space), self.times, stepper=self.stepper,
            recorders=(jt.ActivationTimes(),), adjoint=jt.Checkpointed(memory),
        ).records[0]  # fmt: skip

    def activation(self) -> Callable[[], np.ndarray]:
        """The activation times as a function that waits for them; compiled at the first call."""
        import equinox as eqx

        solve = eqx.filter_jit(self.solve)
        return lambda: np.asarray(solve(self.log_d, self.space))

    def compiled(self, memory: float = 8e9) -> tuple[Any, Any, dict[str, float]]:
        """Activation times and the gradient of their mean by the field, as functions of the field that wait
        for their result; seconds of each compilation and bytes that the gradient needs for itself."""
        import equinox as eqx
        import jax
        import jax.numpy as jnp

        solve = partial(self.solve, memory=memory)
        begin = time.perf_counter()
        forward = eqx.filter_jit(solve).lower(self.log_d, self.space).compile()
        middle = time.perf_counter()
        gradient = jax.grad(lambda d, s: jnp.nanmean(solve(d, s)))
        backward = eqx.filter_jit(gradient).lower(self.log_d, self.space).compile()
        end = time.perf_counter()
        return (
            lambda d: np.asarray(forward(d, self.space)),
            lambda d: np.asarray(backward(d, self.space)),
            {
                "forward_compile_s": middle - begin, "gradient_compile_s": end - middle,
                "gradient_memory_bytes": backward.compiled.memory_analysis().temp_size_in_bytes,
            },
        )  # fmt: skip

    def costs(self, memory: float = 8e9, times: int = 3) -> tuple[np.ndarray, dict[str, Any]]:
        """Activation times and what they and their gradient cost."""
        forward, gradient, compiled = self.compiled(memory)
        nodes, steps, stages = self.space.nodes, self.times.steps, self.stepper.stages or 0
        lat, seconds = fastest(lambda: forward(self.log_d), times)
        _, gradient_seconds = fastest(lambda: gradient(self.log_d), times)
        return lat, {
            "nodes": nodes, "steps": steps, "step_ms": self.times.dt, "stages": stages,
            "activated_fraction": float(np.isfinite(lat).mean()), "forward_s": seconds,
            "node_steps_per_s": nodes * steps / seconds,
            "node_stages_per_s": nodes * steps * stages / seconds,
            "gradient_s": gradient_seconds, "gradient_over_forward": gradient_seconds / seconds,
            "budget_bytes": memory,
        } | compiled  # fmt: skip


def sheet_problem(edge: float, share: float = 0.5, dt: float = STEP_MS) -> tuple[Any, Problem]:
    """Problem P: 40 x 40 mm, D = 0.3 mm2/ms in each cell, Mitchell-Schaeffer, corner stimulus, 200 ms."""
    import jaxtwin as jt

    mesh = jt.reorder(jt.sheet(40.0, 40.0, edge)).mesh
    start = jt.pulse((mesh.points <= 2.0).all(axis=1), len(mesh.points))
    return mesh, Problem(mesh, jt.MitchellSchaeffer(), start, 200.0, 0.3, 1.0, share, dt)


def trajectory_bytes(problem: Problem) -> float:
    """All that the adjoint can store: gate, diffusion, source, and the argument of each product."""
    return 4.0 * ((problem.stepper.stages or 0) + 3) * problem.space.nodes * problem.times.steps


def traffic(problem: Problem) -> float:
    """Bytes that a step must move at the least, every array from memory and back once a kernel.

    A stage reads index and weight of each neighbour, u there once in all, and seven arrays (u, u before,
    start, rate, gate, drive and the new u); a step reads and writes some twenty more between its stages.
    """
    places = sum(piece.neighbours.size for piece in problem.space.layout.slices)
    stages, nodes = problem.stepper.stages or 0, problem.space.nodes
    return 4.0 * ((stages + 1) * (2 * places + 8 * nodes) + 20 * nodes)


def copy_rate(size: int = 1 << 26) -> float:
    """Bytes per second that a copy of a large float32 array reads and writes, all cores or the whole card."""
    import jax
    import jax.numpy as jnp

    add = jax.jit(lambda x: x + 1.0, donate_argnums=0)
    array, seconds = jnp.zeros(size, jnp.float32), []
    for _ in range(8):
        # into its own memory: fresh pages would be counted as bandwidth
        begin = time.perf_counter()
        array = add(array).block_until_ready()
        seconds.append(time.perf_counter() - begin)
    return 8.0 * size / min(seconds)


def sheet() -> dict[str, Any]:
    """Problem P on one core in float32, 10k and 40k nodes: forward and gradient by a field of D, with the
    trajectory stored and with checkpoints in a tenth of its memory; and the error of the time step."""
    huge_pages()
    one_core()
    table = {}
    for name, edge in (("10k", 0.4), ("40k", 0.2)):
        _, problem = sheet_problem(edge)
        lat, stored = problem.costs()
        _, few = problem.costs(0.1 * trajectory_bytes(problem))
        _, fine = sheet_problem(edge, dt=0.025)
        gap = lat - fine.compiled()[0](fine.log_d)
        table[name] = stored | {
            "trajectory_bytes": trajectory_bytes(problem),
            "checkpointed_over_forward": few["gradient_s"] / stored["forward_s"],
            "checkpointed_memory_bytes": few["gradient_memory_bytes"],
            "checkpointed_memory_over_budget": few["gradient_memory_bytes"] / few["budget_bytes"],
            "step_error_ms": float(np.sqrt(np.nanmean(gap**2))),
        }
    runs = table.values()
    return {
        "problem": "P", "runs": table,
        "gradient_over_forward": max(r["gradient_over_forward"] for r in runs),
        "checkpointed_over_forward": max(r["checkpointed_over_forward"] for r in runs),
        "memory_over_budget": max(r["checkpointed_memory_over_budget"] for r in runs),
        "forward_compile_s": max(r["forward_compile_s"] for r in runs),
        "gradient_compile_s": max(r["gradient_compile_s"] for r in runs),
    }  # fmt: skip


def atrium_problem(stop: float = 500.0, dt: float = 0.2) -> Problem:
    """Problem A: the real atrium, fibres of the file, D = 0.3 mm2/ms, ratio 4, paced at a node."""
    import jaxtwin as jt
    from jaxtwin.anatomy import repair

    path = sorted((DATA / "atrium_dtmri").glob("*.pts"))[0]
    mesh = jt.reorder(repair(jt.read_mesh(path).mesh).mesh).mesh
    start = jt.pulse(jt.in_sphere(mesh, mesh.points[mesh.points[:, 2].argmax()], 3.0), len(mesh.points))
    return Problem(mesh, jt.MitchellSchaeffer(), start, stop, 0.3, 4.0, 0.5, dt)


def atrium() -> dict[str, Any]:
    """Problem A, 500 ms at 0.2 ms in float32: forward, and the gradient with checkpoints within 1 GB."""
    huge_pages()
    one_core()
    _, row = atrium_problem().costs(1e9, 2)
    return {"problem": "A", "memory_over_budget": row["gradient_memory_bytes"] / 1e9} | row


def box_problem(nodes: int, stop: float = 5.0, dt: float = 0.1) -> Problem:
    """Problem H: tetrahedra with edges of 0.4 mm in a cube, about as many nodes as asked for."""
    import jaxtwin as jt

    side = 0.4 * (round(nodes ** (1 / 3)) - 1)
    mesh = jt.reorder(jt.slab(side, side, side, 0.4)).mesh
    start = jt.pulse(np.linalg.norm(mesh.points, axis=1) < 2.0, len(mesh.points))
    return Problem(mesh, jt.MitchellSchaeffer(), start, stop, 0.1, 4.0, 0.5, dt)


def plane_problem(nodes: int, stop: float = 5.0) -> Problem:
    """Triangles with edges of 0.2 mm in a square, about as many nodes as asked for."""
    import jaxtwin as jt

    side = 0.2 * (round(nodes**0.5) - 1)
    mesh = jt.reorder(jt.sheet(side, side, 0.2)).mesh
    start = jt.pulse(np.linalg.norm(mesh.points, axis=1) < 2.0, len(mesh.points))
    return Problem(mesh, jt.MitchellSchaeffer(), start, stop, 0.1, 1.0, 0.5, 0.1)


def scaling() -> dict[str, Any]:
    """Cost of a stage at a node from 1e4 to 1e7 nodes (triangles) and to 1e6 (tetrahedra), all cores."""
    table: dict[str, Any] = {}
    rate = copy_rate()
    for name, make, sizes in (
        ("triangles", plane_problem, (10_000, 100_000, 1_000_000, 10_000_000)),
        ("tetrahedra", box_problem, (10_000, 100_000, 1_000_000)),
    ):
        rows = []
        for nodes in sizes:
            # the difference of two runs, so that what a solve does before its first step does not count
            few = max(10, round(1e7 / nodes))
            long = make(nodes, 0.3 * few)
            short = long.until(0.1 * few)
            seconds = (fastest_forward(long)[0] - fastest_forward(short)[0]) / (2 * few)
            stages = long.stepper.stages or 0
            rows.append({
                "nodes": long.space.nodes, "stages": stages,
                "ns_per_node_stage": 1e9 * seconds / stages / long.space.nodes,
                "ns_per_node_step": 1e9 * seconds / long.space.nodes,
                "of_copy_bandwidth": traffic(long) / seconds / rate, "peak_memory_bytes": peak_memory(),
            })  # fmt: skip
        costs = [row["ns_per_node_stage"] for row in rows]
        table[name] = {"rows": rows, "worst_over_best": max(costs) / min(costs)}
    return (
        {"copy_bytes_per_s": rate}
        | table
        | {"worst_over_best": max(t["worst_over_best"] for t in table.values())}
    )


def fastest_forward(problem: Problem) -> tuple[float, np.ndarray]:
    """Seconds of a solve that keeps nothing but activation times, and these."""
    lat, seconds = fastest(problem.activation())
    return seconds, lat


def assembly() -> dict[str, Any]:
    """A million tetrahedral nodes, in a process of its own: read from VTU, checked, reordered, assembled."""
    import jaxtwin as jt

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "box.vtu"
        jt.write_mesh(path, jt.slab(39.6, 39.6, 39.6, 0.4))
        done = subprocess.run(
            [sys.executable, "-c", ASSEMBLY, str(path)],
            capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
    return json.loads(done.stdout.strip().splitlines()[-1])


ASSEMBLY = """
import json, sys, time
import jaxtwin as jt
from benchmarks.speed import peak_memory
begin = time.perf_counter()
mesh = jt.read_mesh(sys.argv[1]).mesh
read = time.perf_counter()
assert (mesh.measures > 0).all()
mesh = jt.reorder(mesh).mesh
ordered = time.perf_counter()
space = jt.Space(mesh, mass_scaling=0.005)
space.mass.block_until_ready()
end = time.perf_counter()
print(json.dumps({"nodes": space.nodes, "cells": len(mesh.cells), "read_s": read - begin,
    "check_and_reorder_s": ordered - read, "assemble_s": end - ordered, "wall_s": end - begin,
    "peak_memory_bytes": peak_memory(), "peak_memory_gb": peak_memory() / 1e9}))
"""


def batch() -> dict[str, Any]:
    """Cost of one run in a batch of pacing sites, 1 to 64, on a sheet of 2,601 nodes and on one of 10,201."""
    import jax
    import jax.numpy as jnp

    import jaxtwin as jt

    table = {}
    for side, edge in ((20.0, 0.4), (40.0, 0.4)):
        mesh = jt.reorder(jt.sheet(side, side, edge)).mesh
        space = jt.Space(mesh, dtype=jnp.float32)
        tensor = jt.diffusion_tensor(jnp.asarray(mesh.fibres, jnp.float32), jnp.full(len(mesh.cells), 0.3))
        rng, costs = np.random.default_rng(0), {}
        for size in (1, 4, 16, 64):
            centres = mesh.points[rng.integers(0, len(mesh.points), size)]
            pulses = [jt.pulse(jt.in_sphere(mesh, c, 1.5), len(mesh.points)) for c in centres]
            many = jax.tree.map(lambda *leaves: jnp.stack(leaves), *pulses)
            tissue = jt.Tissue(space, jt.MitchellSchaeffer(), tensor, many)
            times, recorders = jt.Times(50.0, STEP_MS), (jt.ActivationTimes(),)
            _, seconds = fastest(
                lambda t=tissue, w=times, r=recorders: np.asarray(
                    jt.simulate_batch(t, w, batched=("stimulus",), recorders=r).records[0]
                )
            )
            costs[size] = seconds / size
        table[len(mesh.points)] = costs
    smallest = table[min(table)]
    return {"seconds_per_run": table, "batch_64_over_1": smallest[64] / smallest[1]}
