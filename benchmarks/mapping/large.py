"""A study of 20,000 points with waveforms: how long its import takes, and how much memory."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

POINTS, SAMPLES, CHANNELS, DISTINCT = 20_000, 2500, 26, 50


def _export(folder: Path) -> int:
    """Writes a CARTO study of 20,000 points, each with its own files as in a real export: 2,500 samples of 26
    channels, 2 MB of text. Waveforms are hard links to fifty distinct ones, since the text of all is 39 GB:
    the disk of a machine is not what is measured. Returns the bytes that are to be read."""
    import numpy as np

    import jaxtwin as jt

    from ..exports.carto import CartoMap, write_study, write_waveform

    random = np.random.default_rng(0)
    names = ("M1(1)", "M2(2)", "M1-M2(92)", "I(110)", *(f"C{k}({k})" for k in range(200, 200 + CHANNELS - 4)))
    surface = jt.atrial_shell(1.5)
    rows = random.integers(0, len(surface.points), POINTS)
    lat = random.integers(-80, 150, POINTS).astype(float)
    lat[::50] = np.nan
    volts = random.uniform(0.05, 4.0, POINTS).round(3)
    one = CartoMap(
        "1-LA",
        surface.points,
        surface.cells,
        surface.points[rows],
        lat,
        volts,
        3 * volts,
        None,
        woi=(-100, 200),
    )
    write_study(folder, [one], channels=names)
    for k in range(DISTINCT):
        raw = random.integers(-3000, 3000, (SAMPLES, CHANNELS))
        write_waveform(folder / f"1-LA_P{k + 1}_ECG_Export.txt", raw, names)
    for k in range(DISTINCT, POINTS):
        os.link(folder / f"1-LA_P{k % DISTINCT + 1}_ECG_Export.txt", folder / f"1-LA_P{k + 1}_ECG_Export.txt")
    return sum(path.stat().st_size for path in folder.iterdir())


def large() -> dict[str, Any]:
    """`jaxtwin import` of it, in a process of its own with nothing compiled before."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = _export(folder / "export")
        words = [
            sys.executable,
            "-m",
            "jaxtwin",
            "import",
            str(folder / "export"),
            "-o",
            str(folder / "s.h5"),
        ]
        begin = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        written = (folder / "s.h5").stat().st_size
    return {
        "points": POINTS, "import_s": seconds, "peak_GB": peak / 1e9, "read_GB": size / 1e9,
        "written_GB": written / 1e9,
    }  # fmt: skip
