"""A fitted twin in a file: everything needed to predict from it in another process or on another machine."""

import dataclasses
import importlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import equinox as eqx
import h5py
import jax
import jax.numpy as jnp
import numpy as np

from .._files import atomic_write
from .._results import InputError
from .fit import Fit
from .laplace import Laplace

FORMAT = "jaxtwin twin 1"
PACKAGE = __name__.partition(".")[0]


class FittedTwin(eqx.Module):
    """A fit and its posterior; the posterior is None if it was not computed."""

    fit: Fit
    posterior: Laplace | None = None


def write_twin(path: str | Path, fit: Fit, posterior: Laplace | None = None) -> None:
    """Writes a fitted twin atomically to an HDF5 file.

    The file holds the heart, the parameters and their prior, the posterior, and the maps. Reading it never
    executes code from the file.

    **Arguments:** `fit`: from `fit`. `posterior`: from `posterior`; may be omitted.

    **Raises:** `InputError` if the twin holds anything but Equinox modules, arrays, numbers, texts and None,
    and lists, tuples and dictionaries of these.

    **Example:**

    ```python
    jt.write_twin("patient.twin.h5", found, jt.posterior(found))
    ```
    """
    arrays: list[np.ndarray] = []
    twin = _described(FittedTwin(fit, posterior), arrays)
    text = json.dumps({"arrays": len(arrays), "twin": twin})
    with atomic_write(path) as stream, h5py.File(stream, "w") as file:
        file.attrs["format"] = FORMAT
        file["structure"] = text
        for k, array in enumerate(arrays):
            file[f"arrays/{k}"] = array


def read_twin(path: str | Path, *, classes: Iterable[type] = ()) -> FittedTwin:
    """Reads a fitted twin that `write_twin` wrote; its predictions are identical bit for bit.

    **Arguments:** `classes`: your own cell models, recorders, evidence and other classes used in the twin;
    those of jaxtwin are known.

    **Returns:** a `FittedTwin`.

    **Raises:** `InputError` for another kind of file, another version, or unknown classes.

    **Example:**

    ```python
    twin = jt.read_twin("patient.twin.h5")
    lat_ms = twin.fit.twin.predict(twin.fit.theta, 0)
    ```
    """
    path = Path(path)
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") != FORMAT:
                raise InputError(
                    f"{path} of format '{file.attrs.get('format', 'unknown')}'", f"'{FORMAT}'",
                    "Write the twin with this version of jaxtwin",
                )  # fmt: skip
            told = json.loads(np.asarray(file["structure"]).item())
            arrays = [np.asarray(file[f"arrays/{k}"]) for k in range(told["arrays"])]
        found = _built(told["twin"], arrays, {_name(each): each for each in classes})
    except (OSError, ImportError, KeyError, ValueError, TypeError, IndexError, RecursionError) as error:
        raise InputError(
            f"{path}, which holds no fitted twin ({error})", "a file that `write_twin` has written",
            "Check the path, or fit again",
        ) from error  # fmt: skip
    if not isinstance(found, FittedTwin):
        raise InputError(f"{path}, which holds no fitted twin", "a fit and its posterior", "Fit again")
    return found


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _fields(kind: type) -> tuple[str, ...] | None:
    """Names of the stored fields of a class; None for a class that cannot be stored."""
    if issubclass(kind, eqx.Module):
        return tuple(field.name for field in dataclasses.fields(kind))
    return None


def _described(value: Any, arrays: list[np.ndarray]) -> Any:
    """A value as JSON; its arrays are appended to a list."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        arrays.append(np.asarray(value))
        return {"array": len(arrays) - 1, "device": isinstance(value, jax.Array)}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_described(each, arrays) for each in value]}
    if isinstance(value, dict):
        return {"dict": {name: _described(each, arrays) for name, each in value.items()}}
    names = _fields(type(value))
    if names is None:
        raise InputError(
            f"a {type(value).__name__} in a twin to store",
            "modules, arrays, numbers, texts, and their lists", "Make it an `equinox.Module` of these",
        )  # fmt: skip
    return {
        "class": _name(type(value)), "fields": {n: _described(getattr(value, n), arrays) for n in names}
    }  # fmt: skip


def _built(told: Any, arrays: list[np.ndarray], own: dict[str, type]) -> Any:
    """The value of a description. Classes are looked up and built without calling their code."""
    if not isinstance(told, dict):
        return told
    if "array" in told:
        array = arrays[told["array"]]
        return jnp.asarray(array) if told["device"] else array
    if "tuple" in told:
        return tuple(_built(each, arrays, own) for each in told["tuple"])
    if "list" in told:
        return [_built(each, arrays, own) for each in told["list"]]
    if "dict" in told:
        return {name: _built(each, arrays, own) for name, each in told["dict"].items()}
    kind = _known(told["class"], own)
    if set(told["fields"]) != set(_fields(kind) or ()):
        raise InputError(
            f"a {kind.__name__} with the fields {', '.join(told['fields'])}",
            f"the fields {', '.join(_fields(kind) or ())}", "Write the twin with this version of jaxtwin",
        )  # fmt: skip
    made = object.__new__(kind)
    for name, value in told["fields"].items():
        object.__setattr__(made, name, _built(value, arrays, own))
    return made


def _known(name: str, own: dict[str, type]) -> type:
    module, _, path = name.partition(":")
    kind: Any = own.get(name)
    if kind is None and module.split(".")[0] == PACKAGE:
        kind = importlib.import_module(module)
        for part in path.split("."):
            kind = getattr(kind, part, None)
    if not isinstance(kind, type) or _fields(kind) is None:
        raise InputError(
            f"a twin made of the class {name}", "classes of jaxtwin, or those named in `classes`",
            f"Pass `classes=({path},)` to `read_twin`",
        )  # fmt: skip
    return kind
