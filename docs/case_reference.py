"""Writes reference/case.md from the definition of the case: run it after a key has changed.

A test compares the page with what this file makes of the definition.
"""

import dataclasses
import json
import re
import typing
from pathlib import Path
from typing import Any

from jaxtwin._cli.case import TABLES

PAGE = Path(__file__).parent / "reference" / "case.md"
HEAD = """\
# Case file

A case is one TOML file, usually `case.toml` in a folder of its own. `jaxtwin init FOLDER` writes one in which
every key has its comment. Paths are relative to the file. A key left out takes its default; a key or a table
that is not listed here is an error, as is a value of the wrong type or out of range.

Required are `[mesh] file`, at least one `[[stimulus]]`, and exactly one of `speed_mm_per_ms`,
`conductivity_S_per_m` and `diffusivity_mm2_per_ms` in `[tissue]`; a fit also needs `[map] file` and one
`[[stimulus]]` for each map. A run writes `resolved.toml`, the case with everything that it worked out.

This page is made from the source by `python docs/case_reference.py`.
"""
UNITS = ("mm2_per_ms", "mm_per_ms", "S_per_m", "per_ms", "GB", "mm", "ms")
WORDS = {float: "number", int: "whole number", str: "text", bool: "true or false"}
SIGNS = {"above": ">", "least": "≥", "most": "≤"}


def unit(key: str) -> str:
    """The unit at the end of a key, as it is written in text."""
    found = next((u for u in UNITS if key.endswith("_" + u)), "")
    return re.sub("^per_", "1/", found).replace("_per_", "/").replace("mm2", "mm²")


def allowed(field: dataclasses.Field, hint: Any) -> str:
    """Choices, or type and bounds."""
    rules = field.metadata
    if rules["choices"]:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in rules["choices"])
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind in WORDS]
    word = WORDS[kinds[0]]
    if typing.get_origin(hint) in (list, tuple):
        return f"list of {word}s"
    bounds = [f"{sign} {rules[name]:g}" for name, sign in SIGNS.items() if rules[name] is not None]
    return " ".join([word, ", ".join(bounds)]).strip()


def default(field: dataclasses.Field) -> str:
    """What holds where the key is left out."""
    return "–" if field.default in (None, "", ()) else f"`{json.dumps(field.default)}`"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, kind in TABLES.items():
        hints = typing.get_type_hints(kind)
        title = f"[[{name}]]" if name == "stimulus" else f"[{name}]"
        parts += [f"\n## `{title}`\n", " ".join((kind.__doc__ or "").split()) + "\n"]
        parts += ["| key | unit | default | allowed | meaning |", "|---|---|---|---|---|"]
        parts += [
            "| any of the model | | | number | its parameters, see below |" if isinstance(hints[f.name], types.GenericAlias) and typing.get_origin(hints[f.name]) is dict else
            f"| `{f.name}` | {unit(f.name)} | {default(f)} | {allowed(f, hints[f.name])} "
            f"| {f.metadata['doc']} |"
            for f in dataclasses.fields(kind)
        ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
