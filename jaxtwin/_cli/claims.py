"""Claims and the figures behind them, as Markdown and as JSON."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .folder import circumstances

RELATIONS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Claim:
    """A sentence, the figure that was measured, and the bound it has to keep."""

    text: str
    figure: float
    relation: str
    bound: float
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure keeps the bound; one that is not a number does not."""
        return bool(RELATIONS[self.relation](self.figure, self.bound))


@dataclass(frozen=True)
class Table:
    """What stands behind the claims. Numbers are written with `digits` significant digits."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str | float, ...]]
    digits: int = 3


@dataclass
class Group:
    """Claims of one kind."""

    title: str
    claims: list[Claim] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    seconds: float = 0.0


def markdown(group: Group) -> str:
    """The group as Markdown: its claims and the tables behind them."""
    rows: list[tuple[str | float, ...]] = [
        (
            claim.text, f"{number(claim.figure, 3)} {claim.unit}".strip(),
            f"{claim.relation} {claim.bound:g} {claim.unit}".strip(), "yes" if claim.met else "**no**",
        )
        for claim in group.claims
    ]  # fmt: skip
    parts = [f"## {group.title}", _grid(("claim", "figure", "bound", "met"), rows, 3)]
    for table in group.tables:
        parts += [f"{table.title}:", _grid(table.head, table.rows, table.digits)]
    return "\n\n".join(parts) + "\n"


def document(groups: dict[str, Group]) -> str:
    """All groups as one Markdown page that says with what it was made."""
    made = circumstances()
    versions = ", ".join(f"{name} {made['versions'][name]}" for name in ("jaxtwin", "jax", "python"))
    seconds = sum(group.seconds for group in groups.values())
    line = f"{made['created']}, {versions}, {', '.join(made['device'])}, {seconds:.0f} s. {made['notice']}"
    return "\n".join(["# jaxtwin verify\n", line + "\n", *map(markdown, groups.values())])


def content(groups: dict[str, Group], full: bool) -> dict[str, Any]:
    """All groups for a program: figures unrounded, and with what they were made."""
    return circumstances() | {
        "full": full,
        "met": all(claim.met for group in groups.values() for claim in group.claims),
        "groups": {
            name: {
                "title": group.title,
                "seconds": group.seconds,
                "claims": [vars(claim) | {"met": claim.met} for claim in group.claims],
                "tables": [vars(table) for table in group.tables],
            }
            for name, group in groups.items()
        },
    }


def _grid(head: tuple[str, ...], rows: list[tuple[str | float, ...]], digits: int) -> str:
    lines = [head, ("---",) * len(head)]
    lines += [tuple(x if isinstance(x, str) else number(x, digits) for x in row) for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float, digits: int) -> str:
    """So many significant digits; "none" for what is not a number."""
    return f"{value:#.{digits}g}".rstrip(".") if np.isfinite(value) else "none"
