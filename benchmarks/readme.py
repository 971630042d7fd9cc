"""The README's table of figures, from the stored results."""

import json
from pathlib import Path

from .claims import HERE

README = HERE.parent / "README.md"
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"


def table() -> str:
    """Markdown: one row for each claim measured, with the machine below."""
    lines, machines = ["| claim | bound | measured |", "|---|---|---|"], {}
    for path in sorted((HERE / "results").glob("*.json")):
        kept = json.loads(path.read_text("utf-8"))
        for row in kept["claims"]:
            figure = "not measured" if row["value"] is None else f"{row['value']:.3g} {row['unit']}".strip()
            missed = "" if row["met"] else " (not met)"
            lines.append(
                f"| {row['text']} | {row['bound']} {row['unit']} | {figure}{missed} |".replace("  ", " ")
            )
        for result in kept["results"].values():
            if "machine" in result:
                m = result["machine"]
                machines[f"{m['processor']}, {m['cores']} cores, jax {m['versions']['jax']}"] = kept["date"]
    where = "; ".join(f"{name}, {date}" for name, date in machines.items())
    return "\n".join([*lines, "", f"Measured on: {where}. `python -m benchmarks claims` repeats it.", ""])


def renewed(text: str) -> str:
    """The README with the table between its two marks replaced."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table() + END + after


def write(path: Path = README) -> None:
    """Writes the table into the README."""
    path.write_text(renewed(path.read_text("utf-8")), "utf-8")
