"""The state of a tissue in a file, so that a protocol can be continued from it."""

from dataclasses import replace
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np

from .._files import atomic_write
from .._results import InputError
from ..cells import AbstractIonicModel
from .stepper import State, initial_state

FORMAT = "jaxtwin state 1"


def write_state(path: str | Path, state: State) -> None:
    """Writes the state at the end of a solve, `Solution.state`, atomically to an HDF5 file."""
    with atomic_write(path) as stream, h5py.File(stream, "w") as file:
        file.attrs["format"] = FORMAT
        for name, leaf in _named(state).items():
            file[name] = np.asarray(leaf)


def read_state(path: str | Path, ionic: AbstractIonicModel, nodes: int) -> State:
    """Reads a state that `write_state` wrote, for `simulate(state=...)` with these cells on a mesh of
    `nodes`.

    **Raises:** `InputError` for another kind of file, other cells or another mesh.
    """
    form = initial_state(ionic, 1, float)
    wanted, found = _named(replace(form, ahead=form.u)), {}
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") != FORMAT:
                raise OSError("no state of jaxtwin")
            file.visititems(
                lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
    except OSError as error:
        raise InputError(
            f"{path}, which holds no state of a tissue ({error})", "a file of `write_state`", "Check the path"
        ) from error
    ahead = "ahead" in found
    names = [name for name in wanted if ahead or name != "ahead"]
    if set(found) != set(names) or any(found[name].shape != (nodes,) for name in names):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in sorted(found.items()))
        raise InputError(
            f"{path} with {shapes}", f"{', '.join(names)}, each of {nodes} nodes",
            f"Read it with the mesh and the cells of its solve (not {type(ionic).__name__} on this mesh)",
        )  # fmt: skip
    form = replace(form, ahead=form.u) if ahead else form
    leaves = [jnp.asarray(found[name]) for name in names]
    return jax.tree.unflatten(jax.tree.structure(form), leaves)


def _named(state: State) -> dict[str, jax.Array]:
    """The arrays of a state under names that are valid in HDF5."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
