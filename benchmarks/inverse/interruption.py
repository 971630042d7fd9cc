"""A fit that is killed several times, against an uninterrupted one."""

from pathlib import Path
from typing import Any

KILLS = 3


def killed() -> dict[str, Any]:
    """`jaxtwin fit` ended by SIGKILL each time its state has changed twice: the difference of its result from
    that of an uninterrupted run."""
    import json
    import os
    import signal
    import subprocess
    import sys
    import tempfile
    import time

    import numpy as np

    from jaxtwin.view import read_vtkhdf

    def command(*words: str) -> list[str]:
        return [sys.executable, "-m", "jaxtwin", *words]

    def result(folder: Path):
        fields = read_vtkhdf(folder / "result" / "result.vtkhdf").point_data
        return fields, json.loads((folder / "result" / "summary.json").read_text("utf-8"))

    with tempfile.TemporaryDirectory() as place:
        alone, disturbed = Path(place) / "alone", Path(place) / "disturbed"
        environment = os.environ | {"JAXTWIN_CACHE": str(Path(place) / "cache")}
        for folder in (alone, disturbed):
            subprocess.run(command("init", str(folder)), check=True, capture_output=True, env=environment)
        fit = command("fit", str(alone / "case.toml"))
        subprocess.run(fit, check=True, capture_output=True, env=environment)
        kills = 0
        while kills < KILLS:
            running = subprocess.Popen(
                command("fit", str(disturbed / "case.toml")), env=environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            seen: set[int] = set()
            while running.poll() is None and len(seen) < 2 + (kills == 0):
                seen |= {path.stat().st_mtime_ns for path in disturbed.glob(".*.checkpoint.h5")}
                time.sleep(0.02)
            if running.poll() is not None:
                break
            running.send_signal(signal.SIGKILL)
            running.wait()
            kills += 1
        last = subprocess.run(
            command("fit", str(disturbed / "case.toml")), check=True, capture_output=True, text=True,
            env=environment,
        )  # fmt: skip
        (whole, one), (again, two) = result(alone), result(disturbed)
    gap = max(float(np.nanmax(np.abs(whole[name] - again[name]))) for name in whole)
    return {
        "kills": kills, "went_on": int("Resuming from" in last.stderr), "largest_gap": gap,
        "loss_gap": abs(one["loss"] - two["loss"]), "iterations": one["iterations"],
    }  # fmt: skip
