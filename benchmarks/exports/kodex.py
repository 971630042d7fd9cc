"""Kodex: a table of points, a surface and the waveforms of each chamber."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def make(
    folder: Path,
    *,
    points: int = 12,
    seed: int = 0,
    chambers: tuple[str, ...] = ("LA",),
    report: bool = False,
    header: str | None = "",
    packed: bool = False,
    waveforms: bool = True,
    surface: bool = True,
    rate: float = 500.0,
    say_rate: bool = False,
    shift: float = 0.0,
    samples: int = 30,
    quads: bool = False,
) -> dict[str, Any]:
    """Writes one folder for each chamber and returns what is in the first, in mm, ms and mV.

    `report`: tables and surfaces in `Report`, waveforms in `dump_state`; `header`: "" for the usual, None
    for none; `packed`: all values in the last column; `shift`: ms that the LATs of the table are later than
    the annotations; `quads`: faces of four corners.
    """
    random = np.random.default_rng(seed)
    truth: dict[str, Any] = {}
    for chamber in chambers:
        angles = np.linspace(0, 2 * np.pi, 6, endpoint=False)
        nodes = np.concatenate(
            [
                np.stack([20 * np.cos(angles), 20 * np.sin(angles), np.full(6, 15.0 * z)], axis=1)
                for z in range(3)
            ]
        ).round(4)
        around = np.arange(6)
        faces = [(r + k, r + (k + 1) % 6, r + 6 + (k + 1) % 6, r + 6 + k) for r in (0, 6) for k in around]
        triangles = np.array([t for a, b, c, d in faces for t in ((a, b, c), (a, c, d))])
        positions = (random.normal(size=(points, 3)) * 20).round(3)
        steps = random.integers(-20, 30, points)
        lat = steps * 1000.0 / rate + shift
        volts = random.uniform(0.05, 4, points).round(3)
        texts = [f"{each:g}" for each in lat]
        if points > 3:
            texts[2], texts[3], lat[2:4] = "-10000", "", np.nan
        lines = ["index,x,y,z,LAT,voltage" if header == "" else header] if header is not None else []
        for k, (place, text, volt) in enumerate(zip(positions, texts, volts, strict=True)):
            row = ",".join([str(k + 1), *(f"{each:.6g}" for each in place), text, f"{volt:g}"])
            lines.append(f"{chamber};kodex;{row}" if packed else row)
        place = folder / "Report" / chamber if report else folder / chamber / "LAT"
        other = folder / "dump_state" / "MainEntry" / chamber / "LAT" if report else place
        for each in (place, other):
            each.mkdir(parents=True, exist_ok=True)
        (place / "lat_points.csv").write_text("\n".join(lines) + "\n")
        if surface:
            shapes = faces if quads else triangles.tolist()
            text = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in nodes]
            text += ["f " + " ".join(f"{corner + 1}/{corner + 1}" for corner in face) for face in shapes]
            (place / f"{chamber}.obj").write_text("# made up\n" + "\n".join(text) + "\n")
        egm = random.normal(size=(points, samples, 2)).round(3)
        for k in range(points if waveforms else 0):
            record = {
                "current_point": k + 1, "tag": "Scar" if k == 1 else None, "position": positions[k].tolist(),
                "projected": (positions[k] * 1.1).tolist(), "index_on_mesh": k,
                "map_signal": egm[k, :, 0].tolist(),
                "ref_signal": egm[k, :, 1].tolist(), "electrode_number1": 1, "electrode_number2": 2,
                "woi_start_index": 5, "woi_end_index": 62, "ref_annotation_index": 30,
                "map_annotation_index": int(30 + steps[k]), "valid_for_map": k != 4, "discarded": k == 5,
                "clipped": False, "patient": "Jane Doe",
            }  # fmt: skip
            if say_rate:
                record["sampling_rate"] = rate
            (other / f"LAT_{chamber}_{k}.json").write_text(json.dumps(record))
        reason = ["no LAT" if np.isnan(each) else "" for each in lat]
        if waveforms:
            reason = [
                "not included" if k == 4 else "discarded" if k == 5 else why for k, why in enumerate(reason)
            ]
        truth = truth or {
            "nodes": nodes, "triangles": triangles, "positions": positions,
            "lat_ms": lat, "bipolar_mv": volts, "reason": tuple(reason),
            "egm": egm.astype(np.float32),
        }  # fmt: skip
    return truth
