"""the solver on a GPU: latency, throughput, batches and gradients, each part inside eight minutes"""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .machine import machine
from .speed import (
    Problem,
    atrium_problem,
    batch,
    box_problem,
    copy_rate,
    fastest_forward,
    sheet_problem,
    traffic,
)


def _row(problem: Problem, rate: float, gradient: bool) -> dict[str, Any]:
    """What a solve costs, and how much of the bandwidth of a copy it moves its least traffic at."""
    nodes, steps = problem.space.nodes, problem.times.steps
    row: dict[str, Any] = {"nodes": nodes, "steps": steps, "step_ms": problem.times.dt}
    row["stages"] = problem.stepper.stages
    seconds, lat = fastest_forward(problem)
    if gradient:
        _, costs = problem.costs(2e10, 2)
        keep = ("gradient_s", "gradient_memory_bytes", "forward_compile_s", "gradient_compile_s")
        row |= {key: costs[key] for key in keep} | {"gradient_over_forward": costs["gradient_s"] / seconds}
    return row | {
        "forward_s": seconds, "us_per_step": 1e6 * seconds / steps,
        "node_steps_per_s": nodes * steps / seconds,
        "node_stages_per_s": nodes * steps * (problem.stepper.stages or 0) / seconds,
        "times_real_time": 1e-3 * steps * problem.times.dt / seconds,
        "activated_fraction": float(np.isfinite(lat).mean()), "copy_bytes_per_s": rate,
        "of_copy_bandwidth": traffic(problem) * steps / seconds / rate,
    }  # fmt: skip


def sheet(edge: float) -> Callable[[], Iterator[dict[str, Any]]]:
    """Problem P, with gradient on all but the finest mesh."""

    def run() -> Iterator[dict[str, Any]]:
        yield {"problem": "P"} | _row(sheet_problem(edge)[1], copy_rate(), edge > 0.1)

    return run


def atrium() -> Iterator[dict[str, Any]]:
    """Problem A with gradient."""
    yield {"problem": "A"} | _row(atrium_problem(), copy_rate(), True)


def heart(nodes: int, dt: float = 0.1) -> Callable[[], Iterator[dict[str, Any]]]:
    """Problem H, with gradient up to a million nodes."""

    def run() -> Iterator[dict[str, Any]]:
        yield {"problem": "H"} | _row(box_problem(nodes, 20.0, dt), copy_rate(), nodes <= 1_000_000)

    return run


def batches() -> Iterator[dict[str, Any]]:
    """Pacing sites in batches of 1 to 64."""
    yield {"problem": "P, batches"} | batch()


def torchcor() -> Iterator[dict[str, Any]]:
    """Problem P with TorchCor on the same card, where its environment is installed."""
    from . import peers

    for size in ("10k", "40k"):
        reason = peers.missing("torchcor")
        yield {"problem": "P", "code": "torchcor", "size": size} | (
            {"skipped": reason} if reason else peers.peer("torchcor", size)
        )


PARTS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "sheet-10k": sheet(0.4), "sheet-40k": sheet(0.2), "sheet-640k": sheet(0.05), "atrium": atrium,
    "heart-1e5": heart(100_000), "heart-1e6": heart(1_000_000), "heart-1e7": heart(10_000_000),
    "heart-1e6-short-steps": heart(1_000_000, 0.05), "batches": batches, "torchcor": torchcor,
}  # fmt: skip


def run(parts: list[str], anywhere: bool) -> int:
    """Prints one JSON line a measurement. 1 where there is no GPU; with `anywhere` runs on what there is."""
    import jax

    if jax.default_backend() != "gpu" and not anywhere:
        sys.stderr.write(
            f"No GPU: JAX sees {jax.devices()[0].device_kind}. Install jaxtwin[cuda12] or jaxtwin[cuda13] on "
            "a machine with one, or measure on this one with --anywhere.\n"
        )
        return 1
    for part in parts or list(PARTS):
        try:
            for row in PARTS[part]():
                sys.stdout.write(json.dumps({"benchmark": f"gpu {part}", "machine": machine()} | row) + "\n")
                sys.stdout.flush()
        except (FileNotFoundError, IndexError) as error:
            sys.stderr.write(f"skipped {part}: {error or 'its data are not here'}\n")
    return 0
