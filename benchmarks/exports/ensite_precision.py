"""EnSite Precision: DxL tables with points in columns, and a surface in DIF."""

from pathlib import Path
from typing import Any

import numpy as np

CLOCK = 1_500_000_000.0  # s, on which the times of an export stand
SLOTS = {"rov": "rov", "ref": "ref", "spare1": "S 1", "spare2": "S 2", "spare3": "S 3"}


def shell(rings: int = 4, around: int = 8, radius: float = 25.0) -> tuple[np.ndarray, np.ndarray]:
    """A closed surface: (nodes, 3) mm, to 4 digits, and (cells, 3) from 0."""
    polar = np.linspace(0, np.pi, rings + 2)[1:-1]
    turn = np.arange(around) * 2 * np.pi / around
    p, t = np.meshgrid(polar, turn, indexing="ij")
    side = np.stack([np.sin(p) * np.cos(t), np.sin(p) * np.sin(t), 0.8 * np.cos(p)], axis=-1).reshape(-1, 3)
    nodes = radius * np.concatenate([side, [[0, 0, 0.8], [0, 0, -0.8]]])
    top, bottom, cells = len(side), len(side) + 1, []
    for k in range(around):
        n = (k + 1) % around
        cells.append((top, k, n))
        cells.append((bottom, (rings - 1) * around + n, (rings - 1) * around + k))
        for r in range(rings - 1):
            a, b = r * around + k, r * around + n
            cells += [(a, a + around, b), (b, a + around, b + around)]
    return np.round(nodes, 4), np.array(cells)


def dif(
    nodes: np.ndarray,
    triangles: np.ndarray,
    values: dict[str, np.ndarray],
    *,
    study: str,
    status: np.ndarray | None = None,
    name: str = "LA",
    placed: bool = False,
    comments: bool = True,
    encoding: str = "cp1252",
) -> bytes:
    """A DIF file. `values`: what the comment calls them -> (nodes,)."""

    def block(tag: str, rows: np.ndarray, form: str) -> list[str]:
        text = [" ".join(form % each for each in np.atleast_1d(row)) for row in rows]
        return [f'<{tag} number="{len(rows)}">', *(f"  {each}" for each in text), f"</{tag}>"]

    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>', "<DIF>",
        "<DIFHeader><Version>SJM_DIF_5.0</Version><VendorVersion>made up</VendorVersion></DIFHeader>",
        '<DIFBody><Volumes number="1">', f'<Volume name="{name}" color="ff0000">',
        f"<!-- Exported from study {study} -->",
        *block("Vertices", nodes, "%.4f"), *block("Polygons", triangles + 1, "%d"),
    ]  # fmt: skip
    for title, numbers in values.items():
        lines += [f"<!-- Data values at each vertex of DxL map {title} -->"] * comments
        lines += block("Map_data", numbers, "%.4f")
    if status is not None:
        lines += ["<!-- Map_status for each vertex: 0=mapped, 1=no data µ, 2=interpolated -->"]
        lines += block("Map_status", status, "%d")
    lines += block("Surface_of_origin", np.ones(len(triangles)), "%d")
    turn = "0 -1 0 1 0 0 0 0 1" if placed else "1 0 0 0 1 0 0 0 1"
    lines += [
        "</Volume></Volumes>",
        '<Labels number="1"><Label name="LSPV">', "  1.0 2.0 3.0", "</Label></Labels>",
        f"<ObjectMap><Rotation>{turn}</Rotation>",
        f"<Translation>{'5 6 7' if placed else '0 0 0'}</Translation>",
        f"<Scaling>{'2 2 2' if placed else '1 1 1'}</Scaling></ObjectMap>",
        "</DIFBody></DIF>",
    ]  # fmt: skip
    return "\n".join(lines).encode(encoding)


def make(
    folder: Path,
    *,
    points: int = 12,
    seed: int = 0,
    files: int = 2,
    samples: int = 40,
    name: str = "PP µ LA",
    patient: str = "Musterfrau_1950",
    newline: str = "\r\n",
    waveforms: bool = True,
    spares: int = 1,
    blank_columns: int = 0,
    blank_lines: bool = True,
    backwards: bool = False,
    shuffled: bool = False,
    counted: bool = True,
    surface: bool = True,
    placed: bool = False,
    comments: bool = True,
    unipolar: bool = False,
    words: tuple[str, str] = ("nan", "invalid"),
) -> dict[str, Any]:
    """Writes a small export and returns what is in it.

    The second point has no LAT (its cell is `words[0]`), the third no voltage (`words[1]`), the fourth is
    not utilized. `backwards`: names of files against their order. `shuffled`: lines of the header in another
    order. `counted`: the header says how many points there are.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    nodes, triangles = shell()
    rate, seconds = 1000.0, samples / 1000.0
    truth: dict[str, Any] = {
        "name": name, "study": patient, "rate_hz": rate, "nodes": nodes, "triangles": triangles,
        "positions": np.round(random.normal(0, 25, (points, 3)), 4),
        "lat_ms": np.round(random.uniform(-0.35 * samples, 0.35 * samples, points), 1),
        "reference_ms": np.round(random.uniform(0.4 * samples, 0.6 * samples, points), 1),
        "bipolar_mv": np.round(random.uniform(0.05, 5, points), 3),
        "cfe_mean_ms": np.round(random.uniform(50, 200, points), 1),
        "valid": np.ones(points, bool), "ids": [str(i + 1) for i in range(points)],
        "channels": [f"HD-G {'+ A' if unipolar else 'A'}{i % 4 + 1}{'' if unipolar else '-B1'}"
                     for i in range(points)],
    }  # fmt: skip
    truth["surface_positions"] = np.round(0.9 * truth["positions"], 4)
    slots = [*SLOTS][: 2 + spares]
    waves = np.round(random.normal(0, 1, (points, samples, len(slots))), 4).astype(np.float32)
    truth["waveforms"], truth["slots"] = waves if waveforms else None, slots
    truth["surface_bipolar_mv"] = np.round(random.uniform(0.1, 3, len(nodes)), 4)
    truth["surface_lat_ms"] = np.round(random.uniform(-20, 20, len(nodes)), 4)
    status = np.arange(len(nodes)) % 3
    ends = np.round(CLOCK + 10.0 * np.arange(points), 3)
    ref = np.round(ends - seconds + truth["reference_ms"] / 1000, 6)
    rov = np.round(ref + truth["lat_ms"] / 1000, 6)
    if points > 1:
        truth["lat_ms"][1], truth["valid"][1] = np.nan, False
    if points > 2:
        truth["bipolar_mv"][2] = np.nan
    if points > 3:
        truth["valid"][3] = False

    def cells(form: str, values, word: str = "nan") -> list[str]:
        return [form % each if np.isfinite(each) else word for each in values]

    parts = np.array_split(np.arange(points), files)
    for number, rows in enumerate(parts, 1):
        header = [
            f"Export from Study : {patient}",
            f"Export from Segment : {patient} Map 1", "Export User Comments : µ",
            f"Export files Stored in Dir : /data/{patient}/2017_07_14",
            "Export Data Element : dxl",
            *([f"Total number of data points (columns):, {len(rows)}"] if counted else
              ["Total number of data points (columns):"] * 0 + ["data points (columns) as below"]),
            f"This is file {number} of {files} for map,{name}",
            "Points sorted in order of acceptance (first to last)",
        ]  # fmt: skip
        header = header[::-1] if shuffled else header
        header = ["St. Jude Medical. File Revision : 5.2", *header, "", "Begin data"]
        sheet: dict[str, list[str]] = {
            "pt number": [truth["ids"][i] for i in rows],
            "ref trace": ["CS 9-10"] * len(rows), "S 1 trace": ["ECG V1"] * len(rows),
            "rov trace": [truth["channels"][i] for i in rows],
            "end time": cells("%.6f", ends[rows]), "ref LAT": cells("%.6f", ref[rows]),
            "rov LAT": [words[0] if i == 1 else f"{rov[i]:.6f}" for i in rows],
            "peak2peak": cells("%.3f", truth["bipolar_mv"][rows], words[1]),
            "peak neg": cells("%.3f", -truth["bipolar_mv"][rows]),
            "CFE mean": cells("%.1f", truth["cfe_mean_ms"][rows]),
            "CFE stddev": ["5.0"] * len(rows),
            **{f"roving {a}": cells("%.4f", truth["positions"][rows, k]) for k, a in enumerate("xyz")},
            **{f"surfPt {a}": cells("%.4f", truth["surface_positions"][rows, k])
               for k, a in enumerate("xyz")},
            "utilized": ["0" if i == 3 else "1" for i in rows], "displayed": ["1"] * len(rows),
            "rov detect": ["neg dV/dt"] * len(rows), "ref detect": ["peak"] * len(rows),
            "rov param": ["0.3"] * len(rows), "ref param": ["-1"] * len(rows),
        }  # fmt: skip
        more = [""] * blank_columns
        lines = [f"{label}:," + ",".join([*each, *more]) for label, each in sheet.items()]
        lines += [""] * blank_lines
        lines += [f"Seg data len:,{seconds}", f"Exported seconds:,{seconds}", f"Sample rate:,{rate:.1f}"]
        lines += ["CFE P-P sensitivity (mv),0.05", "CFE Width (ms),10", "CFE Refractory (ms),40"]
        for at, slot in enumerate(slots if waveforms else []):
            label = (
                truth["channels"] if slot == "rov" else ["CS 9-10" if slot == "ref" else "ECG V1"] * points
            )
            lines += ["," * (len(rows) + blank_columns)] * blank_lines
            lines += [",".join([f"{slot} trace:", *(label[i] for i in rows), *more])]
            for sample in range(samples):
                lines += [",".join(["", *(f"{waves[i, sample, at]:.4f}" for i in rows), *more])]
        lines += ["FFT spectrum is available for FFT maps only", "CFE detection rov trace:,1,2", "EOF", ""]
        text = newline.join([*header, *lines])
        place = files + 1 - number if backwards else number
        (folder / f"DxL_{place}.csv").write_bytes(text.encode("cp1252"))
    if surface:
        values = {
            "P-P Voltage (bi)": truth["surface_bipolar_mv"], "LAT Isochronal (bi)": truth["surface_lat_ms"],
        } if comments else {"": truth["surface_bipolar_mv"]}  # fmt: skip
        content = dif(
            nodes, triangles, values, study=patient, status=status if comments else None, placed=placed,
            comments=comments,
        )  # fmt: skip
        (folder / "DxLandmarkGeo.xml").write_bytes(content)
        if comments:
            for key in ("surface_bipolar_mv", "surface_lat_ms"):
                truth[key] = np.where(status == 1, np.nan, truth[key])
    return truth
