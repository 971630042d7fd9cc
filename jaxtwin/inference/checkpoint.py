"""The state of a fit in a file, complete after each iteration: an interrupted fit resumes from it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import equinox as eqx
import h5py
import jax
import numpy as np
from jaxtyping import Float

from .._files import atomic_write
from .._results import InputError
from ..mapping import MappingData
from .optimise import Progress
from .problem import Problem

FORMAT = "jaxtwin fit 7"


class Checkpoint(eqx.Module):
    """State of a fit. `stage`: number of completed parts. `best`: the best point before, `white`: where the
    current part began, in double precision; `progress`: of the current part. `mesh_error`: of the placed
    maps; `lost`, `level`: of the evidence. `followed`: the waves that windows follow, `window_shape`: of
    these windows. `scales`: of the fields, where they are inferred. `reason`: why the last part ended, and
    `damping`: of its last step."""

    stage: int
    best: Float[np.ndarray, " parameters"]
    white: Float[np.ndarray, " parameters"]
    mesh_error: Float[np.ndarray, "maps points terms"]
    lost: float
    level: float
    history: tuple[dict[str, float], ...]
    reason: str
    damping: float
    progress: Progress | None
    followed: Float[np.ndarray, "three maps nodes"] | None = None
    window_shape: tuple[int, ...] = ()
    scales: dict[str, Float[np.ndarray, "2"]] = eqx.field(default_factory=dict)


def fingerprint(problem: Problem, data: MappingData, settings: dict[str, Any]) -> str:
    """Hash of the heart, its maps and the settings of the fit."""
    # the text covers static values: bounds, names, counts; the leaves are the arrays
    found = hashlib.sha256(
        f"{json.dumps(settings, sort_keys=True)}{eqx.tree_pformat((problem, data))}".encode()
    )
    for leaf in jax.tree.leaves((problem, data)):
        array = np.asarray(leaf)
        found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def write_checkpoint(path: str | Path, key: str, checkpoint: Checkpoint) -> None:
    """Writes the checkpoint atomically."""
    arrays = {name: getattr(checkpoint, name) for name in ("best", "white", "mesh_error")}
    scalars = "stage", "lost", "level", "reason", "damping", "history", "window_shape"
    state = {name: getattr(checkpoint, name) for name in scalars}
    arrays |= {f"scales/{name}": pair for name, pair in checkpoint.scales.items()}
    if checkpoint.followed is not None:
        arrays["followed"] = checkpoint.followed
    now = checkpoint.progress
    if now is not None:
        state["progress"] = {"damping": now.damping, "history": now.history}
        arrays |= {f"progress/{name}": getattr(now, name) for name in ("theta", "steps", "errors")}
    with atomic_write(path) as stream, h5py.File(stream, "w") as file:
        file.attrs.update(format=FORMAT, key=key, state=json.dumps(state))
        for name, array in arrays.items():
            file[name] = array


def read_checkpoint(path: str | Path, key: str) -> Checkpoint | None:
    """Reads a checkpoint; None if there is no such file. Raises `InputError` for that of another fit."""
    path = Path(path)
    if not path.exists():
        return None
    try:
        with h5py.File(path) as file:
            found, state = file.attrs["key"], json.loads(str(file.attrs["state"]))
            arrays: dict[str, np.ndarray] = {}
            file.visititems(
                lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}, which is no checkpoint of a fit ({error})", "a file that a fit has written",
            "Delete it or give another name",
        ) from error  # fmt: skip
    if found != key:
        raise InputError(
            f"{path}, which holds another fit", "a checkpoint of this heart, these maps and these settings",
            "Delete it to begin anew, or give the maps and settings that it was begun with",
        )  # fmt: skip
    progress, now = None, state.pop("progress", None)
    if now is not None:
        own = [arrays[f"progress/{name}"] for name in ("theta", "steps", "errors")]
        progress = Progress(own[0], now["damping"], own[1], own[2], tuple(now["history"]))
    history, shape = tuple(state.pop("history")), tuple(state.pop("window_shape"))
    scales = {name[7:]: array for name, array in arrays.items() if name.startswith("scales/")}
    return Checkpoint(
        best=arrays["best"],
        white=arrays["white"],
        mesh_error=arrays["mesh_error"],
        history=history,
        progress=progress,
        followed=arrays.get("followed"),
        window_shape=shape,
        scales=scales,
        **state,
    )
