"""Rhythmia: a study backup in parts, XML with blocks of bytes inside, which is not well-formed."""

from pathlib import Path
from typing import Any

import numpy as np

SAMPLE_MS = 1000.0 / 953.674


def make(
    folder: Path,
    *,
    points: int = 12,
    seed: int = 0,
    parts: int = 3,
    quoted: bool = False,
    transform: np.ndarray | None = None,
    beat: bool = True,
    table: bool = True,
    activation: bool = True,
    engines: int = 1,
    empty: bool = False,
    flags: bool = True,
    wild: float | None = None,
    padding: int = 300,
) -> dict[str, Any]:
    """Writes `Study_1.000` and so on, and returns what is in them, in mm, ms and mV.

    `quoted`: lengths of blocks in quotes; `transform`: where the anatomy is shown, (4, 4); `beat`: with the
    beat of the map; `engines`: results of the one anatomy; `empty`: an anatomy without anything besides;
    `wild`: an activation that no beat holds; `padding`: bytes of a block that no reader needs.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    angles = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    nodes = np.concatenate([
        np.stack([20 * np.cos(angles), 20 * np.sin(angles), np.full(6, 15.0 * z)], axis=1) for z in range(3)
    ]).astype(np.float32)  # fmt: skip
    around = np.arange(6)
    triangles = np.concatenate([
        np.stack(each, axis=1)
        for r in (0, 6)
        for each in (
            (r + around, r + (around + 1) % 6, r + 6 + around),
            (r + (around + 1) % 6, r + 6 + (around + 1) % 6, r + 6 + around),
        )
    ]).astype(np.int32)  # fmt: skip
    samples, offset = 200, -97.5
    start = int(np.floor(offset / SAMPLE_MS + 0.5))
    counts = random.integers(0, samples, (2, len(nodes))).astype(np.float32)
    counts[0, 0] = np.nan
    if wild is not None:
        counts[0, 1] = wild
    logarithms = random.uniform(3, 9, (2, len(nodes))).astype(np.float32)
    rows = np.zeros((points, 28))
    rows[:, 0] = 5000.0 + np.arange(points)
    rows[:, 1:4] = random.normal(size=(points, 3)) * 20
    rows[:, 4:7] = np.stack(
        [np.arange(points) // 8 % 8, np.arange(points) % 8, np.arange(points) % 64], axis=1
    )
    rows[:, 7:9] = random.integers(1, samples + 1, (points, 2))
    rows[:, 11:13] = random.uniform(3, 9, (points, 2))
    rows[:, 21:24] = rows[:, 1:4] * 1.02
    rows[:, 27] = 1.0
    rows[3:4, 27] = 0.0
    rows[4:5, 12] = 0.0
    matrix = np.eye(4) if transform is None else transform

    def block(values: np.ndarray | bytes, **more: Any) -> bytes:
        content = values if isinstance(values, bytes) else values.tobytes()
        length = f'"{len(content)}"' if quoted else str(len(content))
        tag = "".join(f' {key}="{value}"' for key, value in more.items())
        return f"<inlinedbin{tag} BIN={length}>".encode() + content + b"</inlinedbin>"

    def values(kind: str, source: str, numbers: np.ndarray) -> bytes:
        label = f"<Properties><SrcEgmType>{source}</SrcEgmType></Properties>"
        return f"<{kind}>{label}<values>".encode() + block(numbers) + f"</values></{kind}>".encode()

    mesh = (
        b"<Mesh><vertices>" + block(np.concatenate([nodes, nodes / 20], axis=1)) + b"</vertices><triangles>"
    )
    mesh += block(triangles) + b"</triangles>"
    if flags:
        mesh += b"<triangle_flags>" + block(np.zeros(len(triangles), np.int32)) + b"</triangle_flags>"
    engine = b"<EngineOutput><Properties>"
    if beat:
        engine += f"<BeatOffset>{offset}</BeatOffset>".encode()
        engine += f"<BeatDuration>{samples * SAMPLE_MS:.3f}</BeatDuration>".encode()
    engine += b"</Properties>" + values("Voltage", "Bipolar", logarithms[0])
    engine += values("Voltage", "Unipolar", logarithms[1]) + values("Voltage", "UniDeriv", logarithms[1])
    if activation:
        engine += values("Activation", "Bipolar", counts[0]) + values("Activation", "Unipolar", counts[1])
    if table:
        engine += b"<SurfaceElectrodesNode><SurfElectrodes>"
        engine += block(rows, type="Float64", rows=points, cols=28, fname="Map1/surfelec_a1_all.dat")
        engine += b"</SurfElectrodes></SurfaceElectrodesNode>"
    engine += b"</EngineOutput>"
    whole = b"".join([
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b"<Project><Properties><Version>22.07.24.00</Version></Properties>"
        b"<Patient><Properties><PatientID>4711</PatientID><First>Jane</First><Last>Doe</Last>"
        b"<DateOfBirth>01.02.1950</DateOfBirth></Properties>"
        b"<Study><Properties><Label>Doe 1950</Label></Properties>",
        b"<Signals>", block(bytes(random.integers(0, 256, padding, np.uint8)) + b"<inlinedbin >&<"),
        b"</Signals>",
        b"<Anatomy><Properties><Label>Vorhof &uuml; links</Label></Properties><Transform>",
        " ".join(f"{each:.17g}" for each in matrix.T.ravel()).encode(), b"</Transform>",
        mesh, b"</Mesh>", engine * engines, b"</Anatomy>",
        b"<Anatomy><Properties><Label/></Properties></Anatomy>" if empty else b"",
        b"</Study></Patient></Project>\n",
    ])  # fmt: skip
    edges = np.linspace(0, len(whole), parts + 1).astype(int)
    for k in range(parts):
        (folder / f"Study_1.{k:03d}").write_bytes(whole[edges[k] : edges[k + 1]])

    def placed(positions: np.ndarray) -> np.ndarray:
        positions = positions.astype(np.float64)
        return positions if transform is None else positions @ matrix[:3, :3].T + matrix[:3, 3]

    kept = np.flatnonzero(rows[:, 27] == 1.0)
    with np.errstate(invalid="ignore"):
        millivolt = np.where(rows[kept, 12] > 1, np.exp(rows[kept, 12]) / 1000.0, np.nan)
    return {
        "nodes": placed(nodes), "triangles": triangles, "bytes": len(whole),
        "lat_field": (counts[0].astype(np.float64) + start) * SAMPLE_MS,
        "counts": counts[0].astype(np.float64),
        "bipolar_field": np.exp(logarithms[0].astype(np.float64)) / 1000.0,
        "positions": placed(rows[kept, 1:4]), "surface_positions": placed(rows[kept, 21:24]),
        "lat_ms": (rows[kept, 8] - 1 + start) * SAMPLE_MS, "bipolar_mv": millivolt,
        "ids": tuple(str(row + 1) for row in kept),
        "woi_ms": np.tile([start * SAMPLE_MS, (start + samples) * SAMPLE_MS], (len(kept), 1)),
    }  # fmt: skip
