"""EnSite X: points in `Map_*.csv`, waveforms in `Wave_*.csv`, one line each; surfaces in DIF.

A map is exported once for each quantity (Map_LAT_bi, Map_PP_bi, ...) with the same points. Ticks are samples
of the waveforms: LAT = (Rov Tick 1 - Ref Tick) / rate, if the column LAT is absent. Curtains, the window of
interest, are in ms from the reference. The comments in the tables define the columns, and that P-P is in mV;
layout also as read by openep-core (Apache-2.0), pyCEPS and pulse-ep.
"""

import re

import numpy as np

from ..study import Map, Points, Signals, Study
from .ensite_surface import (
    MOST_HEADS,
    dif_names,
    folder_of,
    heads,
    joined,
    near,
    read_volumes,
    reasons,
    slug,
    surfaces_alone,
    unique,
)
from .ensite_x_table import KNOWN, VOLTAGES, Table, is_table, read_table
from .ensite_x_waves import Wave, read_wave, signals_of
from .files import Files

SENTINEL = 9_999.0  # actSeq of points without one is 10000
SAME = 1e-3  # mm


def recognises(files: Files) -> bool:
    """Whether there is a table with a line for each point, or waveforms to one."""
    return any(is_table(head) for _, head in heads(files, ".csv", MOST_HEADS))


def read(files: Files, identity: bool) -> Study:
    """The study of an export of EnSite X.

    Points that the system did not utilize keep their LAT and a reason.

    Raises `InputError`, with file and line, for damaged files.
    """
    tables, waves, notes = [], [], list(files.notes)
    for name, head in heads(files, ".csv"):
        if not is_table(head):
            continue
        if re.search(r"wave name\s*:", head) or name.rpartition("/")[2].lower().startswith("wave_"):
            wave, said = read_wave(files, name)
            waves += [wave] if wave else []
            notes += said
        else:
            tables.append(read_table(files, name))
    volumes = [each for name in dif_names(files) for each in read_volumes(files, name)]
    maps, taken, used = [], set(), []
    for group in _groups(tables):
        folders = {folder_of(each.file) for each in group}
        found = [volume for folder in sorted(folders) for volume in near(volumes, folder)]
        surface, said, chosen = joined([v for i, v in enumerate(found) if v not in found[:i]], group[0].map)
        used += chosen
        mine = [wave for wave in waves if folder_of(wave.file) in folders]
        points, signals, more = _map(files, group, mine)
        name = unique(group[0].map or group[0].type or "map", taken)
        maps.append(Map(name, surface, points, signals, said + more))
    maps += surfaces_alone([each for each in volumes if all(each is not other for other in used)], taken)
    if waves and not tables:
        notes.append(f"{len(waves)} files of waveforms not read: there is no Map_*.csv with their points")
    headers = [each.header for each in tables]
    return Study(
        "EnSite X", next((h["export file version"] for h in headers if h.get("export file version")), ""),
        tuple(maps),
        next((h["export from study"] for h in headers if h.get("export from study")), "") if identity else "",
        tuple(notes), files.sources,
    )  # fmt: skip


def _groups(tables: list[Table]) -> list[list[Table]]:
    """Tables of the same points of one map, the one with LATs first."""
    groups: list[list[Table]] = []
    for each in sorted(tables, key=lambda one: "lat" not in one.numbers):
        for group in groups:
            if group[0].map == each.map and _order(group[0], each) is not None:
                group.append(each)
                break
        else:
            groups.append([each])
    return groups


def _order(one: Table, other: Table) -> np.ndarray | None:
    """Positions of the points of one table in another; None if they are different points."""
    ids = other.texts["(point #)"]
    where = {name: row for row, name in enumerate(ids)}
    mine = one.texts["(point #)"]
    if len(mine) != len(ids) or len(where) < len(ids) or any(name not in where for name in mine):
        return None
    order = np.array([where[name] for name in mine], np.int64)
    with np.errstate(all="ignore"):
        apart = np.abs(one.positions - other.positions[order])
    same = (apart <= SAME) | (np.isnan(one.positions) & np.isnan(other.positions[order]))
    return order if same.all() else None


def _map(
    files: Files, group: list[Table], waves: list[Wave]
) -> tuple[Points, tuple[Signals, ...], tuple[str, ...]]:
    """Points and waveforms of one map. Values missing in one table are taken from the next."""
    base, notes = group[0], [note for each in group for note in each.notes]
    count, none = len(base.texts["(point #)"]), np.full(len(base.texts["(point #)"]), np.nan)
    columns = {name: none.copy() for name in ("bipolar_mv", "unipolar_mv", "force_g")}
    more: dict[str, np.ndarray] = {}
    exported = none.copy()
    for each in group:
        order = _order(base, each)
        order = np.arange(count) if order is None else order  # identity if a number occurs twice
        values = {title: column[order] for title, column in each.numbers.items()}
        single = bool(re.search("uni", each.type, re.I))
        for title, column in values.items():
            if f"{title} valid" in values:
                column = np.where(values[f"{title} valid"] == 1, column, np.nan)
            if title == "lat":
                exported = np.where(np.isfinite(exported), exported, column)
                continue
            target = VOLTAGES.get(title, "")
            target = ("unipolar_mv" if single else "bipolar_mv") if title == "p-p" else target
            target = "force_g" if title == "force (g)" else target
            if title == "force (g)":
                column = np.where(column >= 0, column, np.nan)  # -1: no sensor
            if title == "actseq":
                column = np.where(np.abs(column) < SENTINEL, column, np.nan)
            if target:
                columns[target] = np.where(np.isfinite(columns[target]), columns[target], column)
            elif title not in KNOWN and not title.endswith(" valid") and slug(title):
                more.setdefault(slug(title), column)
    more = {name: column for name, column in more.items() if np.isfinite(column).any()}
    lat, reference, said = _times(base, exported, waves)
    notes += said
    used = base.numbers.get("utilized", none)
    if np.isnan(used).all():
        used = np.ones(count)
        notes += ["which points were utilized is not stated: all are taken"] if count else []
    reason = reasons(used, lat)
    with np.errstate(all="ignore"):
        kept = np.flatnonzero(np.isfinite(base.positions).all(axis=1))
    if len(kept) < count:
        notes.append(f"{count - len(kept)} points left out: no position")
    place = np.full(count, -1)
    place[kept] = np.arange(len(kept))
    columns |= {
        "lat_ms": lat, "reference_ms": reference,
        "surface_positions": np.stack([base.numbers.get(f"surface {a}", none) for a in "xyz"], axis=1),
        "woi_ms": np.stack([base.numbers.get(f"{a} curtain (ms)", none) for a in ("left", "right")], axis=1),
    }  # fmt: skip
    blank, single = [""] * count, bool(re.search("_uni", base.type, re.I))
    rov = base.texts.get("rov trace", blank)
    texts = {
        "ids": base.texts["(point #)"], "reason": reason, "tags": base.texts.get("annot", blank),
        "unipolar_channel": rov if single else blank, "bipolar_channel": blank if single else rov,
        "reference_channel": base.texts.get("ref trace", blank),
    }  # fmt: skip
    texts = {name: list(column) for name, column in texts.items()}
    signals, said = signals_of(files, base, waves, place, texts, single)
    points = Points(
        base.positions[kept], **{name: column[kept] for name, column in columns.items()},
        **{name: [column[row] for row in kept] for name, column in texts.items()},
        more={name: column[kept] for name, column in more.items()},
    )  # fmt: skip
    return points, signals, tuple(dict.fromkeys(notes + said))


def _times(base: Table, exported: np.ndarray, waves: list[Wave]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """LATs and references, ms. The reference tick is a sample of the exported waveform, as the comments of
    the tables say, so that manual adjustments are in it already."""
    none = np.full(len(exported), np.nan)
    # the rate of the roving traces, to which the ticks belong
    order = sorted(waves, key=lambda wave: (wave.name.lower() != "rov", "ref" in wave.name.lower()))
    rates = [wave.rate for wave in order]
    ticks = {name: base.numbers.get(name, none) for name in ("ref tick", "rov tick 1")}
    ticks = {name: np.where(column >= 0, column, np.nan) for name, column in ticks.items()}
    if not rates:
        notes = []
        if np.isfinite(ticks["rov tick 1"]).any() and not np.isfinite(exported).all():
            notes.append("ticks not read: without waveforms their rate is not known")
        return exported, none, notes
    with np.errstate(all="ignore"):
        found = 1000.0 * (ticks["rov tick 1"] - ticks["ref tick"]) / rates[0]
        reference = 1000.0 * ticks["ref tick"] / rates[0]
        apart = int((np.abs(found - exported) > 1500.0 / rates[0]).sum())
    notes = [f"{apart} LATs differ from their first tick by more than a sample: kept"] if apart else []
    found = np.where(np.isfinite(exported), exported, found)
    found, reference = (np.where(np.isfinite(times), times, np.nan) for times in (found, reference))
    return found, reference, notes
