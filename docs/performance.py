"""Writes topics/performance.md from the stored results of the benchmarks: run it after they were measured."""

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "topics" / "performance.md"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
HEAD = """\
# Performance

Generated from `benchmarks/results/forward.json`; `python -m benchmarks claims forward --save` measures it
again, and `python docs/performance.py` writes this page.

{machine}. Single precision throughout. A *stage* is one sparse product with all node-local work; a step has
as many as the mesh needs (at least two). *Of a copy* is the minimum memory traffic of the solve, with every
array read and written once per kernel, over the bandwidth of a plain copy on the same machine: above 1 the
caches help.

**These figures are from a CPU.** `python -m benchmarks gpu` measures the same on a GPU, and
`python -m benchmarks claims gpu` compares it with the targets.
"""


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ("---",) * len(head), *rows)]
    return "\n".join(lines) + "\n"


def claims(results: dict[str, Any]) -> str:
    """What is claimed, met or not."""
    rows = [
        (
            c["text"],
            c["bound"],
            "not measured" if c["value"] is None else f"{c['value']:.3g} {c['unit']}".strip(),
            "yes" if c["met"] else "**no**",
        )
        for c in results["claims"]
    ]
    return "\n## Claims\n\n" + table(("claim", "bound", "figure", "met"), rows)


def cost(runs: dict[str, Any], atrium: dict[str, Any]) -> str:
    """Problem P and the atrium: forward and gradient."""
    rows = [
        (
            name,
            f"{r['nodes']:,}",
            f"{r['steps']:,} of {r['step_ms']:g} ms",
            r["stages"],
            f"{r['forward_s']:.2f}",
            f"{r['gradient_s']:.2f}",
            f"{r['gradient_over_forward']:.2f}",
            f"{r['gradient_memory_bytes'] / 1e9:.2f}",
            f"{1e9 / r['node_stages_per_s']:.1f}",
        )
        for name, r in (*((f"P, {n}", r) for n, r in runs.items()), ("A, atrium", atrium))
    ]
    head = (
        "problem",
        "nodes",
        "steps",
        "stages",
        "forward, s",
        "gradient, s",
        "ratio",
        "GB",
        "ns per node and stage",
    )
    return "\n## One core: a beat and its gradient by a diffusivity field\n\n" + table(head, rows)


def scaling(result: dict[str, Any]) -> str:
    """Cost per node against the number of nodes."""
    rows = [
        (
            kind,
            f"{r['nodes']:,}",
            r["stages"],
            f"{r['ns_per_node_stage']:.1f}",
            f"{r['ns_per_node_step']:.1f}",
            f"{r['of_copy_bandwidth']:.2f}",
            f"{r['peak_memory_bytes'] / 1e9:.2f}",
        )
        for kind in ("triangles", "tetrahedra")
        for r in result[kind]["rows"]
    ]
    head = (
        "cells",
        "nodes",
        "stages",
        "ns per node and stage",
        "ns per node and step",
        "of a copy",
        "process, GB",
    )
    copy = f"A copy moves {result['copy_bytes_per_s'] / 1e9:.1f} GB/s on this machine.\n\n"
    return "\n## All cores: cost against size\n\n" + copy + table(head, rows)


def peers(result: dict[str, Any]) -> str:
    """Problem P with other codes."""
    rows = []
    for name, sizes in result["peers"].items():
        if "skipped" in sizes:
            rows.append((name, "not installed", "", "", ""))
            continue
        for size, r in sizes.items():
            over = result["over_jaxtwin"].get(name, {}).get(size)
            rows.append(
                (
                    name,
                    size,
                    f"{r['dt_ms']:g}",
                    f"{r['seconds']:.2f}",
                    f"{r['rms_lat_error_ms']:.2f}",
                    "" if over is None else f"{over:.1f}",
                )
            )
    head = ("code", "nodes", "step, ms", "CPU seconds", "error of activation times, ms", "over jaxtwin")
    return (
        "\n## Problem P: other codes\n\n200 ms on one core, one thread each, in one run. Errors are "
        "against edges of 0.1 mm and steps of 0.02 ms with the same stimulus. Each peer runs at the step of "
        "its own examples; with longer ones dolfinx and Finitewave are up to three times faster and several "
        "times less accurate. jaxtwin runs at steps whose own error is at most a quarter of that of the "
        "edges.\n\n" + table(head, rows)
    )


def page() -> str:
    """The whole page."""
    results = json.loads((RESULTS / "forward.json").read_text("utf-8"))
    runs = {name.rsplit(" ", 1)[-1]: result for name, result in results["results"].items()}
    machine = runs["sheet"]["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    cores = f"{machine['cores']} cores of an {machine['processor']}"
    where = f"Measured on {results['date']} with {cores}, {versions}"
    parts = [HEAD.format(machine=where), claims(results), cost(runs["sheet"]["runs"], runs["atrium"])]
    parts += [scaling(runs["scaling"]), peers(runs["peers"])]
    batches = runs["batch"]["seconds_per_run"]
    rows = [
        (f"{int(nodes):,}", *(f"{1e3 * s:.1f}" for s in costs.values())) for nodes, costs in batches.items()
    ]
    sizes = tuple(f"batch {size}" for size in next(iter(batches.values())))
    parts.append(
        "\n## All cores: milliseconds per run in a batch of pacing sites\n\n" + table(("nodes", *sizes), rows)
    )
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
