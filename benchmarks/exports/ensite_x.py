"""EnSite X: a table for each quantity of a map, tables of waveforms, and a surface in DIF."""

from pathlib import Path
from typing import Any

import numpy as np

from .ensite_precision import dif, shell

RATE = 2000.0  # Hz
WAVES = "rov", "uni_distal", "refs"


def make(
    folder: Path,
    *,
    points: int = 12,
    seed: int = 0,
    samples: int = 120,
    name: str = "SR µ LA",
    patient: str = "Musterfrau_1950",
    newline: str = "\r\n",
    waveforms: bool = True,
    lat_column: bool = False,
    voltages: bool = True,
    other_order: bool = False,
    shuffled: bool = False,
    more_ticks: bool = True,
    blank_columns: int = 0,
    declared: int | None = None,
    without: tuple[int, ...] = (),
    surface: bool = True,
    end: bool = True,
    word: str = "invalid",
) -> dict[str, Any]:
    """Writes a small export and returns what is in it.

    The second point has no tick, the third no force (`word`), the fourth is not utilized, the fifth no valid
    voltage. `lat_column`: a column LAT, for the first half of the points. `other_order`: the table of
    voltages has its points backwards. `shuffled`: lines of the header in another order. `without`: points
    without roving waveform. `declared`: points as the header says.
    """
    random = np.random.default_rng(seed)
    inner = folder / "Contact_Mapping"
    inner.mkdir(parents=True, exist_ok=True)
    nodes, triangles = shell()
    ref = random.integers(50, 60, points)
    rov = ref + random.integers(-40, 50, points)
    truth: dict[str, Any] = {
        "name": name, "study": patient, "rate_hz": RATE, "nodes": nodes, "triangles": triangles,
        "positions": np.round(random.normal(0, 25, (points, 3)), 4),
        "lat_ms": 1000.0 * (rov - ref) / RATE, "reference_ms": 1000.0 * ref / RATE,
        "woi_ms": np.tile([-20.0, 25.0], (points, 1)),
        "bipolar_mv": np.round(random.uniform(0.05, 5, points), 3),
        "force_g": np.round(random.uniform(1, 30, points), 1),
        "valid": np.ones(points, bool), "ids": [str(100 + 3 * i) for i in range(points)],
        "freeze": [str(1 + i // 3) for i in range(points)],
        "channels": [f"HDGX A{i % 4 + 1}-B1" for i in range(points)],
        "tags": ["fractionated µ" if i == 0 else "" for i in range(points)],
    }  # fmt: skip
    truth["surface_positions"] = np.round(0.9 * truth["positions"], 4)
    truth["surface_bipolar_mv"] = np.round(random.uniform(0.1, 3, len(nodes)), 4)
    groups = list(dict.fromkeys(truth["freeze"]))
    own = np.round(random.normal(0, 1, (points, samples, 2)), 4).astype(np.float32)
    common = np.round(random.normal(0, 1, (len(groups), samples)), 4).astype(np.float32)
    shared = np.array([common[groups.index(each)] for each in truth["freeze"]]).reshape(points, samples)
    truth["waveforms"] = np.concatenate([own, shared[:, :, None]], axis=2) if waveforms else None
    has_tick = np.arange(points) != 1
    for row, key in ((1, "lat_ms"), (2, "force_g"), (4, "bipolar_mv")):
        if row < points:
            truth[key][row] = np.nan
    truth["valid"][1:2] = truth["valid"][3:4] = False
    if not voltages:
        truth["bipolar_mv"][:] = np.nan

    def header(extra: list[str]) -> list[str]:
        lines = [
            "Export File Version: 11", "Export Data Element: DxL",
            f"Export from Study: {patient}", "Export from Segment: N/A", "Export User Comments: µ",
            f"Export files Stored in Dir: /data/{patient}/", "Export Start Time (h:m:s.msec): N/A", *extra,
        ]  # fmt: skip
        lines = lines[:1] + lines[:0:-1] if shuffled else lines
        comments = [
            "*" * 40,
            "* Each line following this comment block is one mapping point, in mV.",
            "*" * 40,
        ]
        return [*lines, "", *comments]

    def save(place: Path, extra: list[str], titles: list[str], rows: list[list[str]]) -> None:
        lines = header(extra)
        lines.insert(3, f"Data starts in row,{len(lines) + 2}")
        lines += [",".join(titles), *(",".join([*row, *[""] * blank_columns]) for row in rows)]
        text = newline.join([*lines, *["EOF"] * end, ""])
        place.write_bytes(text.encode("cp1252"))

    def points_table(kind: str, title: str, values: np.ndarray, fine: np.ndarray, order) -> None:
        titles = [
            "Rov trace", "Electrodes", "Channels", "Freeze Grp #", "(Point #)", "Ref trace", " Ref2 trace",
            "roving x", "roving y", "roving z", "surface x", "surface y", "surface z",
            "displayed", "utilized", "gold-starred", title, f"{title} valid",
            "refTime (abs)", "adjTime (ms)", "left curtain (ms)", "right curtain (ms)",
            "force (g)", "actSeq", " annot", "# params", "Ref Tick", "# rov ticks",
            "Rov Tick 1", "...",
        ]  # fmt: skip
        rows = []
        for i in order:
            ticks = [str(rov[i]), *([str(rov[i] + 9)] * (more_ticks and i % 2))] if has_tick[i] else []
            rows.append([
                truth["channels"][i], "A1 B1", "99 103", truth["freeze"][i], truth["ids"][i], "CS 9-10", "..",
                *(f"{each:.4f}" for each in truth["positions"][i]),
                *(f"{each:.4f}" for each in truth["surface_positions"][i]),
                "1", "0" if i == 3 else "1", "0", f"{values[i]:.4f}" if np.isfinite(values[i]) else "0.0",
                str(int(fine[i])), f"{1_500_000_000.0 + i:.6f}", "8", "-20", "25",
                f"{truth['force_g'][i]:.1f}" if np.isfinite(truth["force_g"][i]) else word,
                "10000", truth["tags"][i], "2", str(ref[i]), str(len(ticks)), *ticks,
            ])  # fmt: skip
        count = points if declared is None else declared
        extra = [f"Map name:,LA\t{name}", f"Map type:,{kind}", f"# mapping pts:,{count},(in order)"]
        save(inner / f"Map_{kind}.csv", extra, titles, rows)

    order = range(points)
    half = np.arange(points) < points / 2
    if lat_column:
        points_table("LAT_bi", "LAT", truth["lat_ms"], half & np.isfinite(truth["lat_ms"]), order)
    else:
        points_table("Score_bi", "Score", np.full(points, 90.0), np.ones(points), order)
    if voltages:
        backwards = order[::-1] if other_order else order
        points_table("PP_bi", "P-P", truth["bipolar_mv"], np.isfinite(truth["bipolar_mv"]), backwards)
    for at, wave in enumerate(WAVES if waveforms else []):
        titles = ["Trace", "Freeze Grp #", "(Point #)", "startTime (abs)", "rovTime (wave samples)"]
        titles += [str(sample) for sample in range(samples)]
        if wave == "refs":
            names, numbers = [("CS 9-10", group, "") for group in groups], common
            count = f"# freeze groups:,{len(groups)}"
        else:
            there = [i for i in order if not (wave == "rov" and i in without)]
            label = truth["channels"] if wave == "rov" else ["HDGX B1"] * points
            names = [(label[i], truth["freeze"][i], truth["ids"][i]) for i in there]
            numbers, count = own[there, :, at], f"# mapping pts:,{len(there)}"
        rows = [
            [*name, "1500000000.0", "", *(f"{each:.4f}" for each in trace)]
            for name, trace in zip(names, numbers, strict=True)
        ]
        extra = [
            f"Wave name:,{wave}",
            f"Sample rate:,{RATE:.0f}",
            count,
            f"Waveform samples exported:,{samples}",
        ]
        save(inner / f"Wave_{wave}.csv", extra, titles, rows)
    if surface:
        content = dif(nodes, triangles, {"P-P Voltage (bi)": truth["surface_bipolar_mv"]}, study=patient)
        (folder / "Contact_Mapping_Model.xml").write_bytes(content)
    return truth
