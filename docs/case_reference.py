"""Writes reference/case.md from the definition of the case: run it after a key has changed.

A test compares the page with what this file makes of the definition.
"""

import dataclasses
import json
import re
import typing
from pathlib import Path
from typing import Any

from jaxtwin.case import LISTED, TABLES, BeatCase, parameter_keys
from jaxtwin.cells import OF_CASES

PAGE = Path(__file__).parent / "reference" / "case.md"
HEAD = """\
# Case file

A case is one TOML file, usually `case.toml` in a folder of its own. `jaxtwin init FOLDER` writes one in which
every key has its comment. Paths are relative to the file. A key left out takes its default; a key or a table
that is not listed here is an error, as is a value of the wrong type or out of range.

Required are `[mesh] file`, at least one `[[beat]]` with a `[[beat.pulse]]`, and exactly one of
`speed_mm_per_ms`, `conductivity_S_per_m` and `diffusivity_mm2_per_ms` in `[tissue]`; a fit also needs
`[map] file` and one `[[beat]]` for each map. A run writes `resolved.toml`, the case with everything that it
worked out. In Python, `jaxtwin.load_case` reads a case and `jaxtwin.prepare` makes what it describes: see
[jaxtwin.case](prepare.md).

This page is made from the source by `python docs/case_reference.py`.
"""
TRAIN = """
A beat of eight S1 pulses at one site and one S2 pulse at another, and a second beat:

```toml
[[beat]]
[[beat.pulse]]
centre_mm = [12.0, -3.5, 8.1]
count = 8
interval_ms = 600.0
[[beat.pulse]]
centre_mm = [-9.0, 4.2, 1.0]
start_ms = 4500.0   # 300 ms after the last S1

[[beat]]
[[beat.pulse]]
centre_mm = [-9.0, 4.2, 1.0]
```

`jaxtwin simulate` runs the two beats one after the other, each from rest. `jaxtwin fit` takes them as the
beats of two maps: the first map shows the wave of the S2 pulse.
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


def rows(kind: type) -> list[str]:
    """One row for each key of a table; those of a cell model have tables of their own."""
    hints = typing.get_type_hints(kind)
    return [
        f"| `{f.name}` | {unit(f.name)} | {default(f)} | {allowed(f, hints[f.name])} | {f.metadata['doc']} |"
        if typing.get_origin(hints[f.name]) is not dict
        else "| parameters | | of the model | number | a key each, see below |"
        for f in dataclasses.fields(kind)
    ]


def parameters(model: str) -> list[str]:
    """A table of the parameters of a cell model."""
    standard = OF_CASES[model]()
    lines = [f"\nWith `model = {json.dumps(model)}` (`jaxtwin.{type(standard).__name__}`):\n"]
    lines += ["| key | unit | default |", "|---|---|---|"]
    return lines + [
        f"| `{key}` | {unit(key)} | `{float(getattr(standard, name)):g}` |"
        for key, name in parameter_keys(model).items()
    ]


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, kind in TABLES.items():
        if name == LISTED:
            parts += ["\n## `[[beat]]`\n", " ".join((BeatCase.__doc__ or "").split()), TRAIN]
        title = f"[[{name}]]" if name == LISTED else f"[{name}]"
        parts += [f"\n## `{title}`\n", " ".join((kind.__doc__ or "").split()) + "\n"]
        parts += ["| key | unit | default | allowed | meaning |", "|---|---|---|---|---|", *rows(kind)]
        if name == "cells":
            parts += [line for model in OF_CASES for line in parameters(model)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
