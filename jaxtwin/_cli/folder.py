"""The folder of a run: written beside its place and moved there as a whole."""

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from .._files import read_bytes
from .._results import InputError
from ..case import Case, write_case

DISCLAIMER = "Research use only. Not a medical device."
PACKAGES = ("jaxtwin", "jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "numba", "h5py")


@contextmanager
def run_folder(target: Path, mark: str = "resolved.toml") -> Iterator[Path]:
    """An empty folder that takes the place of `target` when the block ends without an error.

    Raises `InputError` if `target` is there and is not the folder of an earlier run, by which the file `mark`
    is known, or cannot be made.
    """
    if target.exists() and not (target / mark).is_file():
        raise InputError(
            f"the output folder {target}, which exists and holds something else",
            "a new name, or the folder of an earlier run", "Choose another folder",
        )  # fmt: skip
    partial, old = (target.with_name(f".{target.name}.{word}-{os.getpid()}") for word in ("partial", "old"))
    parents = [folder for folder in target.parents if not folder.exists()]
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"the output folder {target}, which cannot be made ({error.strerror})",
            "a folder that can be written", "Choose another folder",
        ) from error  # fmt: skip
    try:
        yield partial
        if target.exists():
            target.rename(old)
        partial.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):  # another run may have put something there
            for folder in parents:
                folder.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder that takes the name `target` when the block ends without an error.

    Raises `InputError` if `target` is there and not empty, or cannot be made.
    """
    try:
        if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
            raise InputError(f"{target}, which is not empty", "a new or empty folder", "Choose another name")
        parents = [folder for folder in target.parents if not folder.exists()]
        partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"{target}, which cannot be made ({error.strerror})",
            "a new or empty folder",
            "Choose another name",
        ) from error
    try:
        yield partial
        if target.exists():
            target.rmdir()
        partial.rename(target)
    except BaseException:  # also where it is interrupted
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):  # something else may stand there by now
            for folder in parents:
                folder.rmdir()
        raise


def circumstances() -> dict[str, Any]:
    """When and with what a result was made. No user name and no host name."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {p: version(p) for p in PACKAGES} | {"python": platform.python_version()},
        "device": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
        "command": [Path(sys.argv[0]).name, *sys.argv[1:2]],
        "notice": DISCLAIMER,
    }


def provenance(case: Case, sources: list[Path], warnings: list[str]) -> dict[str, Any]:
    """The circumstances, the resolved case, hashes of the input files, seed, warnings.

    Paths are relative to the output folder, from which the case can be run again.
    """
    target = case.path(case.output.folder)
    return circumstances() | {
        "case": write_case(case.seen_from(target)),
        "sha256": {
            Path(os.path.relpath(source, target)).as_posix(): hashlib.sha256(read_bytes(source)).hexdigest()
            for source in sources
        },
        "seed": case.map.seed,
        "warnings": warnings,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes `readable_json` to a file."""
    path.write_text(readable_json(content), encoding="utf-8")


def readable_json(content: dict[str, Any]) -> str:
    """Indented JSON; NaN and infinity, which JSON does not have, become null."""
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value
