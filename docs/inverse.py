"""Writes topics/inverse.md from the stored results of the benchmarks: run it after they were measured."""

import json
from pathlib import Path
from typing import Any

from performance import RESULTS, claims, table

PAGE = Path(__file__).parent / "topics" / "inverse.md"
HEAD = """\
# Accuracy of fits

Generated from `benchmarks/results/inverse.json`; `python -m benchmarks claims inverse --save` measures it
again, and `python docs/inverse.py` writes this page. Simulated truths come from a mesh twice as fine as that
of the fit unless a line says otherwise. Figures that miss their bound are shown too. Seconds were measured
while the cores did other work: they are upper bounds.

Measured on {date} with {machine}.
"""
RUN = "python -m benchmarks inverse {}"


def sheets(results: dict[str, Any]) -> str:
    """Problem S, each truth."""
    names = {"1ms": "1 ms", "5ms": "5 ms", "heavy": "",
             "other-cells": "1 ms, truth from modified Mitchell-Schaeffer cells"}  # fmt: skip
    # one command measures both
    both = {"8": "8 ms", "heavy": "8 ms, heavy tails and 10 % outliers"}
    rows = [
        (
            noise or both[r["noise"]], r["seed"],
            f"{r['dice']:.3f}", f"{100 * r['conductivity_error']:.1f} %",
            f"{r['rmse_fit_ms']:.2f}", f"{r['unseen_rmse_ms']:.2f}", f"{r['unseen_correlation']:.4f}",
            f"{r['seconds']:.0f}",
        )
        for key, noise in names.items()
        for r in results.get(RUN.format(f"sheet-{key}"), {}).get("runs", [])
    ]  # fmt: skip
    head = ("noise", "truth", "Dice of the scar", "L2 error of D", "RMSE of the fit, ms",
            "RMSE at an unmapped site, ms", "correlation there", "seconds")  # fmt: skip
    return "\n## Problem S: a sheet with a hidden scar, four sites of 250 points\n\n" + table(head, rows)


def fibres(results: dict[str, Any]) -> str:
    """Problem F, means of nine truths, with published figures of another benchmark of this kind."""
    published = {"clean": (84, 60, 74), "1ms": (66, 18, 36)}
    rows = []
    for key, noise in (("clean", "none"), ("1ms", "1 ms")):
        found = results.get(RUN.format(f"fibres-{key}"))
        if found:
            shares = [f"{100 * found[name]:.1f} %" for name in ("angle", "across", "along")]
            rows.append((noise, *shares, " / ".join(map(str, published[key])) + " %"))
    head = ("noise", "direction within 30 degrees", "speed across within 0.1 m/s",
            "speed along within 0.2 m/s", "published for an eikonal network")  # fmt: skip
    return (
        "\n## Problem F: unknown fibres and conduction velocities\n\n"
        "Fractions of the sheet. Four sites of 100 points; uniform tissue, two halves with different\n"
        "fibres and speeds, and a gradual change. The published figures (Appel et al., Computing in\n"
        "Cardiology 2025) are from a similar benchmark whose truths and points are not public: they are no\n"
        "comparison on the same data.\n\n"
    ) + table(head, rows)


def intervals(results: dict[str, Any]) -> str:
    """Coverage."""
    rows = []
    for key, name in (
        ("clean", "mesh of the truth"), ("outliers", "the same, 5 % outliers"),
        ("coarse", "mesh twice as coarse as the truth"),
    ):  # fmt: skip
        found = results.get(RUN.format(f"coverage-{key}"))
        if found:
            shares = [
                f"{100 * found['share'][level]:.1f} ± {100 * found['error'][level]:.1f} %"
                for level in ("50%", "80%", "95%")
            ]
            rows.append((name, found["truths"], *shares))
    head = ("", "truths", "50 % intervals hold", "80 %", "95 %")
    return (
        "\n## Coverage of the intervals of log D\n\n"
        "Truths from the prior on a small sheet, three sites of 80 points, 1 ms of heavy-tailed noise;\n"
        "± is the standard error over truths.\n\n"
    ) + table(head, rows)


def sampled(results: dict[str, Any]) -> str:
    """The Laplace approximation against draws from the posterior itself."""
    found = results.get(RUN.format("sampled"))
    if not found:
        return ""
    ratio, shift = found["sd_ratio"], found["shift"]
    text = (
        f"At {found['places']} places of {found['truths']} truths on a coarse sheet the standard deviation\n"
        f"of log D by the Laplace approximation is on average {ratio['mean']:.2f} of that of draws by the\n"
        f"no-U-turn sampler ({ratio['min']:.2f} to {ratio['max']:.2f}, of which 0.05 is sampling error).\n"
        f"Means differ by {shift['rms']:.2f} of it, at most {shift['largest']:.2f}.\n"
    )
    return "\n## Laplace approximation against draws from the posterior itself\n\n" + text


def real(results: dict[str, Any]) -> str:
    """Problem E, means of five splits."""
    rows = []
    for key in ("real-100", "real-200", "real-500", "real-500-physics"):
        found = results.get(RUN.format(key))
        if not found:
            continue
        runs = found["runs"]
        for part, where in (("held_out_points", "points"), ("held_out_patch", "patch of 15 %")):
            errors = [sum(r["twin"][part]["rmse_ms"] for r in runs) / len(runs)]
            errors += [
                sum(r["baselines"][name][part]["rmse_ms"] for r in runs) / len(runs)
                for name in ("radial_basis", "gaussian_process", "isotropic_speed")
            ]
            rows.append((key.removeprefix("real-"), where, *(f"{e:.2f}" for e in errors)))
    most = results.get(RUN.format("real-500"), {}).get("runs", [])[:4]
    own, other = (
        sum(run[key]["held_out_patch"]["rmse_ms"] for run in runs)
        for key, runs in (("twin", most), ("radial_basis", [run["baselines"] for run in most]))
    )
    without = own / other if other else float("nan")
    head = ("training points", "held out", "twin, ms", "radial basis functions", "Gaussian process",
            "one speed")  # fmt: skip
    return (
        "\n## Problem E: a real map of an atrium, parts of it held out\n\n"
        "Means of five random splits. The vendor interpolated this map: held-out points among fitted ones\n"
        "are what interpolation of the same kind returns; radial basis functions pass within 0.35 ms of\n"
        "their training points. On the patch there is nothing to interpolate. The patch of the fifth split\n"
        "hides the source: the earliest time in it is 20 ms, outside of it 32 ms, and a wave that starts\n"
        "from the earliest known points runs through the patch the wrong way. A source fitted to the\n"
        "earliest tenth of the points is 14 mm off, since tissue there conducts at 1.4 mm/ms and more, and\n"
        "in the fourth split such a fit finds a source where there is none. Without the fifth split, with\n"
        f"500 points, the error on the patch is {without:.2f} of that of radial basis functions.\n\n"
    ) + table(head, rows)


def restitution(results: dict[str, Any]) -> str:
    """Problem C."""
    rows = []
    for key, noise in (("1ms", "1 ms"), ("clean", "none")):
        found = results.get(RUN.format(f"restitution-{key}"))
        if found:
            keys = ("mean_error", "mean_guess_error", "mean_sd", "median_cramer_rao")
            columns = [found[f"{key}_of"] for key in keys]
            rows += [(noise, name, *(f"{100 * each[name]:.1f} %" for each in columns)) for name in columns[0]]
    head = ("noise", "parameter", "mean absolute error", "that of the prior mean",
            "posterior standard deviation", "Cramer-Rao bound without a prior, median")  # fmt: skip
    return (
        "\n## Problem C: restitution from premature beats\n\n"
        "D and four time constants of the cell from arrival times of one regular and four premature beats,\n"
        "five truths from the prior (standard deviation 0.25 of each logarithm). Where the bound is above\n"
        "0.25, the maps alone do not identify the parameter. Without noise the fit assumes 0.05 ms.\n\n"
    ) + table(head, rows)


def page() -> str:
    """The whole page."""
    kept = json.loads((RESULTS / "inverse.json").read_text("utf-8"))
    results = kept["results"]
    machine = next(iter(results.values()))["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    where = f"{machine['cores']} cores of an {machine['processor']}, {versions}"
    parts = (sheets, fibres, real, intervals, sampled, restitution)
    head = HEAD.format(date=kept["date"], machine=where)
    return head + claims(kept) + "".join(part(results) for part in parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
