"""The folder of a run: written beside its place and moved there as a whole."""

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from .._results import InputError
from .case import Case, write_case

DISCLAIMER = "Research use only. Not a medical device."
PACKAGES = ("jaxtwin", "jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "h5py")


@contextmanager
def run_folder(target: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `target` when the block ends without an error.

    Raises `InputError` if `target` is there and is not the folder of an earlier run.
    """
    if target.exists() and not (target / "resolved.toml").is_file():
        raise InputError(
            f"the output folder {target}, which exists and holds something else",
            "a new name, or the folder of an earlier run", "Choose another folder",
        )  # fmt: skip
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    partial.mkdir()
    try:
        yield partial
        old = target.with_name(f".{target.name}.old-{os.getpid()}")
        if target.exists():
            target.rename(old)
        partial.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def provenance(case: Case, sources: list[Path], warnings: list[str]) -> dict[str, Any]:
    """Versions, device, the resolved case, hashes of the input files, seed, warnings. No user name, no host name."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {p: version(p) for p in PACKAGES} | {"python": platform.python_version()},
        "device": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
        "command": [Path(sys.argv[0]).name, *sys.argv[1:2]],
        "case": write_case(case),
        "sha256": {source.name: hashlib.sha256(source.read_bytes()).hexdigest() for source in sources},
        "seed": case.map.seed,
        "warnings": warnings,
        "notice": DISCLAIMER,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Readable JSON; NaN and infinity, which JSON does not have, become null."""
    path.write_text(json.dumps(_finite(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value
