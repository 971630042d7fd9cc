"""A case in a TOML file: read, checked and written."""

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .._files import read_bytes
from .._results import InputError
from ..cells import OF_CASES
from .tables import LISTED, TABLES, BeatCase, Case, CellsCase, parameter_keys

OLD = "stimulus"  # what beats were before
NAMES = (*(name for name in TABLES if name != LISTED), "beat")
WAYS = "speed_mm_per_ms", "conductivity_S_per_m", "diffusivity_mm2_per_ms"


def load_case(path: str | Path) -> Case:
    """Reads and checks a case: a TOML file, or the folder that holds `case.toml`.

    Raises `InputError` for anything unknown, misspelt or out of range.

    **Example:**

    ```python
    case = jt.load_case("case")
    ready = jt.prepare(case)
    ```
    """
    path = Path(path)
    if path.is_dir():
        path = path / "case.toml"
    try:
        tables = tomllib.loads(read_bytes(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:  # also what is not UTF-8, and numbers of 5000 digits
        raise InputError(
            f"{path}, which is not TOML ({error})",
            "texts in quotes, numbers with a decimal point, lists in brackets",
            "Correct that place; `jaxtwin init` writes an example",
        ) from None
    if OLD in tables:
        raise InputError(
            f"[[{OLD}]] in {path.name}",
            "[[beat]] for each run from rest, with a [[beat.pulse]] for each of its pulses",
            f"Rename each [[{OLD}]] to [[beat.pulse]] and write [[beat]] above it: a fit has one beat for "
            "each map. Stimuli that act in one run are pulses of one beat, below one [[beat]]",
        )  # fmt: skip
    for name, content in tables.items():
        what = (
            f"key {name} outside of any table" if not isinstance(content, dict | list) else f"table [{name}]"
        )
        _known(name, NAMES, f"{what} in {path.name}", "tables", _homes(name))
    beats = _listed("beat", tables.pop("beat", []))
    if not beats:
        raise InputError(
            f"{path.name} without a beat", "at least one [[beat]] with a [[beat.pulse]]",
            "Add one; see `jaxtwin init`",
        )  # fmt: skip
    case = Case(
        **{n: _table(n, kind, tables.get(n, {})) for n, kind in TABLES.items() if n != LISTED},
        beats=[_beat(beat) for beat in beats],
        where=path.resolve().parent,
    )  # fmt: skip
    _check_together(case, path.name)
    return case


def _listed(name: str, given: Any) -> list[Any]:
    """The tables of a list, of which one may stand alone."""
    given = given if isinstance(given, list) else [given]
    for each in given:
        if not isinstance(each, dict):
            raise InputError(
                f"{name} = {_short(each)}", f"a table [[{name}]]", "Write its keys below the line in brackets"
            )
    return given


def _beat(given: dict[str, Any]) -> BeatCase:
    for key in given:
        _known(key, ("pulse",), f"key {key} in [[beat]]", "tables", _homes(key))
    pulses = _listed(LISTED, given.get("pulse", []))
    if not pulses:
        raise InputError("a [[beat]] without a pulse", "at least one [[beat.pulse]]", "Add one below it")
    return BeatCase(pulses=[_table(LISTED, TABLES[LISTED], each) for each in pulses])


def _check_together(case: Case, name: str) -> None:
    """What no key can be checked for alone."""
    if not case.mesh.file:
        raise InputError(f"{name} without a mesh", '[mesh] file = "..."', "Name the file of the heart")
    given = [way for way in WAYS if getattr(case.tissue, way) is not None]
    if len(given) != 1:
        raise InputError(
            f"{' and '.join(given) or 'no conduction'} in [tissue]",
            f"exactly one of {', '.join(WAYS)}",
            "Keep the one you know: the others follow from it",
        )
    for beat in case.beats:
        _check_beat(beat, case.time.end_ms)
    low, high = case.fit.least_diffusivity_mm2_per_ms, case.fit.largest_diffusivity_mm2_per_ms
    if low is not None and not low < high:
        raise InputError(
            f"fit.least_diffusivity_mm2_per_ms = {low:g} and fit.largest_diffusivity_mm2_per_ms = {high:g}",
            "the least below the largest",
            "Correct one of them",
        )


def _check_beat(beat: BeatCase, end_ms: float | None) -> None:
    """A beat by itself, and beside the end of the run."""
    for pulse in beat.pulses:
        if (pulse.count > 1) != (pulse.interval_ms is not None):
            raise InputError(
                f"a pulse with count = {pulse.count} and "
                + ("no interval_ms" if pulse.interval_ms is None else f"interval_ms = {pulse.interval_ms:g}"),
                "both for a train of pulses, none of them for a single pulse", "Correct the [[beat.pulse]]",
            )  # fmt: skip
        if pulse.kind == "map" and (len(beat.pulses) > 1 or pulse.count > 1):
            raise InputError(
                "a pulse of kind map beside other pulses of its beat",
                "one pulse of kind map, alone in its beat: it acts at the times of the map",
                "Give the other pulses a [[beat]] of their own, or give this one a site",
            )
        if pulse.kind != "map" and end_ms is not None and pulse.last_ms >= end_ms:
            raise InputError(
                f"a pulse that starts at {pulse.last_ms:g} ms in a run that ends at {end_ms:g} ms",
                "a run that goes on after its last pulse",
                "Raise [time] end_ms, or lower start_ms, count or interval_ms of [[beat.pulse]]",
            )


def _homes(key: str) -> str:
    """What to do with a key that some table knows."""
    homes = [f"[{t}]" for t, kind in TABLES.items() if key in {f.name for f in dataclasses.fields(kind)}]
    if any(key in parameter_keys(model) for model in OF_CASES):
        homes.append("[cells]")
    return f"Move it to {' or '.join(homes)}" if homes else ""


def _known(name: str, names: Iterable[str], what: str, kinds: str, elsewhere: str = "") -> None:
    if name not in names:
        plain = {n.lower(): n for n in names}
        near = difflib.get_close_matches(name.lower(), plain, 1, 0.5)
        hint = elsewhere or (f"Perhaps {plain[near[0]]} is meant" if near else "Remove it")
        raise InputError(f"the unknown {what}", f"one of the {kinds} {', '.join(names)}", hint)


def _table(table: str, kind: type, given: Any) -> Any:
    """The settings of a table."""
    if not isinstance(given, dict):
        raise InputError(
            f"{table} = {_short(given)}", f"a table [{table}]", "Write its keys below the line in brackets"
        )
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {}
    if kind is CellsCase:
        given = _with_parameters(given, fields["model"])
    for key, value in given.items():
        _known(key, fields, f"key {key} in [{table}]", "keys", _homes(key))
        values[key] = _value(f"{table}.{key}", value, hints[key], fields[key])
    return kind(**values)


def _with_parameters(given: dict[str, Any], field: dataclasses.Field) -> dict[str, Any]:
    """The table [cells] with the parameters of its model, which have a key each, together."""
    model = _value("cells.model", given.get("model", field.default), str, field)
    known, found = parameter_keys(model), {}
    for key, value in given.items():
        if key == "model":
            continue
        _known(key, known, f"key {key} in [cells] with model {model}", "keys", _homes(key))
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e300:
            raise InputError(
                f"cells.{key} = {_short(value)}", "a number", "Correct it, or leave the line out"
            )
        found[known[key]] = float(value)
    return {"model": model, "parameters": found}


WORDS: dict[type, str] = {
    float: "a number",
    int: "a whole number",
    str: "a text in quotes",
    bool: "true or false",
}


def _value(name: str, value: Any, hint: Any, field: dataclasses.Field) -> Any:
    """A value as the type of its field, or an error that names the field and says what may stand there."""
    rules = field.metadata
    if isinstance(value, dict):
        return value  # the parameters of a cell model, checked one by one
    if isinstance(hint, types.UnionType):
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    listed = typing.get_origin(hint) is tuple
    scalar = typing.get_args(hint)[0] if listed else hint
    values = value if listed and isinstance(value, list) else [value]
    right = isinstance(value, list) == listed and all(
        isinstance(v, (int, float) if scalar is float else scalar)
        and (scalar is bool or not isinstance(v, bool))
        for v in values
    )
    example = () if field.default is None else field.default
    advice = f"Correct it, or leave the line out{f' for {json.dumps(example)}' if example != () else ''}"

    def refuse(wanted: str) -> typing.NoReturn:
        raise InputError(f"{name} = {_short(value)} ({rules['doc']})", wanted, advice)

    if not right:
        refuse(f"a list in brackets, each {WORDS[scalar]}" if listed else WORDS[scalar])
    for v in values:
        if isinstance(v, str) and "\0" in v:
            refuse("a text without null characters")
        if not isinstance(v, int | float):
            continue
        if not -1e300 < v < 1e300:  # also refuses NaN
            refuse("a finite number")
        if rules["above"] is not None and not v > rules["above"]:
            refuse(f"a number above {rules['above']:g}")
        if rules["least"] is not None and not v >= rules["least"]:
            refuse(f"{rules['least']:g} or more")
        if rules["most"] is not None and not v <= rules["most"]:
            refuse(f"{rules['most']:g} or less")
    if rules["choices"]:
        _known(str(value), rules["choices"], f"choice {name} = {_short(value)}", "choices")
    values = tuple(float(v) if scalar is float else v for v in values)
    return values if listed else values[0]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:80]}..."


def write_case(case: Case, comments: bool = False) -> str:
    """The case as TOML; keys without a value are left out, or commented out with `comments`."""
    lines: list[str] = []
    for name in TABLES:
        if name != LISTED:
            lines += [*_table_lines(f"[{name}]", getattr(case, name), comments), ""]
            continue
        for beat in case.beats:
            lines += [*_about(beat, comments), "[[beat]]"]
            for pulse in beat.pulses:
                lines += [*_table_lines(f"[[{name}]]", pulse, comments), ""]
    return "\n".join(lines)


def _about(entry: Any, comments: bool) -> list[str]:
    return [f"# {' '.join((type(entry).__doc__ or '').split())}"] if comments else []


def _table_lines(header: str, entry: Any, comments: bool) -> list[str]:
    """One table: its header, and a line for each key."""
    lines = [*_about(entry, comments), header]
    for f in dataclasses.fields(entry):
        value = getattr(entry, f.name)
        if isinstance(value, dict):
            lines += _parameter_lines(entry, comments)
            continue
        choices = f" ({', '.join(f.metadata['choices'])})" if f.metadata["choices"] else ""
        note = f"  # {f.metadata['doc']}{choices}" if comments else ""
        if value is not None:
            lines.append(f"{f.name} = {_toml(value)}{note}")
        elif comments:
            lines.append(f"# {f.name} = {note}")
    return lines


def _parameter_lines(cells: CellsCase, comments: bool) -> list[str]:
    """The parameters of a cell model, those that are left out as comments."""
    standard, lines = OF_CASES[cells.model](), []
    for key, name in parameter_keys(cells.model).items():
        if name in cells.parameters:
            lines.append(f"{key} = {_toml(cells.parameters[name])}")
        elif comments:
            lines.append(f"# {key} = {_toml(float(getattr(standard, name)))}")
    return lines


def _toml(value: Any) -> str:
    """JSON is TOML for what a case holds, but for two things: surrogate pairs and an unescaped DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
