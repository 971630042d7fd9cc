"""What a summary looks like in a terminal."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table


def errors_table(summary: dict[str, Any]) -> Table:
    """Errors of the twin, of its combination with interpolation and of its baselines at the points that were
    fitted and at those held out."""
    scores = {"twin": summary["twin"], "twin + interpolation": summary["combined"]} | summary["baselines"]
    heads = {
        part: f"{part.replace('_', ' ')}, {score['points']} points" for part, score in scores["twin"].items()
    }
    table = Table("RMSE, ms", *heads.values(), title_justify="left")
    for name, score in scores.items():
        table.add_row(name.replace("_", " "), *(_error(score[part]) for part in heads))
    return table


def cells_table(summary: dict[str, Any]) -> Table:
    """The action potentials of single cells."""
    cells = summary["cells"]
    table = Table(f"beat {summary['beats']} at {summary['interval_ms']:g} ms", *cells, title_justify="left")
    for key in next(iter(cells.values())):
        name, _, unit = key.partition("_")
        unit = unit.replace("_per_", "/")
        table.add_row(f"{name}, {unit}", *(f"{one[key]:.2f}" for one in cells.values()))
    return table


def _error(score: dict[str, Any]) -> str:
    missed = f" ({score['not_reached']} not reached)" if score["not_reached"] else ""
    return f"{score['rmse_ms']:.2f}{missed}" if "rmse_ms" in score else "none reached"


def interval_lines(summary: dict[str, Any]) -> list[str]:
    """How often intervals covered points that no fit has seen, and where to pace next."""
    found, lines = summary["intervals"], []
    names = {"held_out_points": "held-out points", "held_out_patch": "points of the held-out patch"}
    for part, name in names.items():
        if part in found:
            each = found[part]
            line = f"{100 * found['level']:.0f} % intervals hold {100 * each['held']:.0f} %"
            if "held_recalibrated" in each:
                line += f", recalibrated {100 * each['held_recalibrated']:.0f} %,"
            lines.append(f"{line} of {each['points']} {name}.")
    for site in summary["next_sites"] or ():
        place = ", ".join(f"{x:.1f}" for x in site["position_mm"])
        lines.append(f"Pace next at ({place}) mm: {site['expected_nats']:.1f} nats expected.")
    return lines


def summary_lines(summary: dict[str, Any], folder: Path, keys: tuple[str, ...]) -> list[str]:
    """These entries of a summary, and where the results are."""
    lines = [f"{key}: {json.dumps(rounded(summary[key]))}" for key in keys]
    return [*lines, f"Results in {folder}. {summary['notice']}"]


def rounded(value: Any) -> Any:
    """The value with its numbers to four digits."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
