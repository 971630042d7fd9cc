"""Claims as data: each names a command, the place of its figure in the command's JSON line, and a bound."""

import json
import operator
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
RELATIONS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}


@dataclass(frozen=True)
class Claim:
    """`figure`: keys from the top of the JSON to the number, joined by dots. `bound`: relation and number.

    `headline`: whether README.md shows it; all claims are in docs/topics/claims.md.
    """

    group: str
    text: str
    command: str
    figure: str
    bound: str
    unit: str = ""
    headline: bool = False

    def value(self, result: dict[str, Any]) -> float:
        """The figure in the result of the command."""
        here: Any = result
        for key in self.figure.split("."):
            here = here[key]
        return float(here)

    def met(self, value: float) -> bool:
        """Whether a figure keeps the bound."""
        relation, limit = self.bound.split()
        return bool(RELATIONS[relation](value, float(limit)))


def load() -> list[Claim]:
    """All claims, in the order of the file."""
    return [Claim(**c) for c in tomllib.loads((HERE / "claims.toml").read_text("utf-8"))["claim"]]


def groups() -> list[str]:
    """The groups of claims, in the order of the file."""
    return list(dict.fromkeys(c.group for c in load()))


def measure(command: str) -> dict[str, Any]:
    """Runs a command; the last line it prints is its result. A reason under `failed` where there is none."""
    words = shlex.split(command)
    words = [sys.executable, *words[1:]] if words[0] == "python" else words
    done = subprocess.run(words, cwd=HERE.parent, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        return {"failed": f"exit code {done.returncode}: {last}"}
    return json.loads(lines[-1])


def stored(group: str) -> dict[str, Any]:
    """Results kept from an earlier run: command -> result."""
    path = HERE / "results" / f"{group}.json"
    return json.loads(path.read_text("utf-8"))["results"] if path.is_file() else {}


def days(results: Iterable[dict[str, Any]]) -> str:
    """The day on which results were measured, or the first and the last."""
    found = sorted({result["date"] for result in results})
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def run(group: str | None, save: bool, only: str = "") -> int:
    """Measures the claims of a group (all where None) and prints the table. 1 where one is not met.

    `only`: commands to measure are those with this text in them; the others keep their stored results.
    """
    chosen = [c for c in load() if group in (None, c.group)]
    console, results = Console(), {}
    for claim in chosen:
        if only not in claim.command and claim.command in stored(claim.group):
            results[claim.command] = stored(claim.group)[claim.command]
    for command in dict.fromkeys(c.command for c in chosen if only in c.command):
        console.print(f"running: {command}", highlight=False)
        begin = time.perf_counter()
        results[command] = measure(command) | {
            "wall_s": round(time.perf_counter() - begin, 1), "date": datetime.now(UTC).date().isoformat(),
        }  # fmt: skip
        if "failed" in results[command]:
            console.print(f"  {results[command]['failed']}", markup=False, highlight=False)
    table = Table("claim", "figure", "bound", "met")
    rows = []
    for claim in chosen:
        result = results.get(claim.command, {"failed": "not run"})
        try:
            value = None if "failed" in result else claim.value(result)
        except KeyError:  # as that of another code that is not installed
            value = None
        met = value is not None and claim.met(value)
        shown = "not measured" if value is None else f"{value:.4g} {claim.unit}".strip()
        table.add_row(claim.text, shown, f"{claim.bound} {claim.unit}".strip(), "yes" if met else "NO")
        rows.append(vars(claim) | {"value": value, "met": met})
    console.print(table)
    if save:
        for name in dict.fromkeys(c.group for c in chosen):
            commands = {c.command for c in chosen if c.group == name}
            measured = {command: results[command] for command in sorted(commands & results.keys())}
            kept = {
                "date": days(measured.values()),
                "claims": [row for row in rows if row["group"] == name],
                "results": measured,
            }
            (HERE / "results" / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    return 0 if all(row["met"] for row in rows) else 1
