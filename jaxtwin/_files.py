"""Files: read whole or refused with a clear message, written whole or not at all."""

import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ._results import InputError


def read_bytes(path: str | Path, most: int = -1) -> bytes:
    """The bytes of a file, or the first `most` of them. Raises `InputError` where it cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(most)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path}, which cannot be read ({reason})", "a readable file", "Check the path"
        ) from error


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """An open binary file that takes the name `path` only when the block ends without an error.

    Raises `InputError` where the folder cannot be written.
    """
    path = Path(path)
    # Not mkstemp: its files are private to the user (mode 600) and would stay so.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        stream = beside.open("x+b")  # HDF5 reads what it writes
    except OSError as error:
        raise InputError(
            f"{path}, which cannot be written ({error.strerror})",
            "a file name in a folder that exists and is writable",
            "Make the folder or choose another",
        ) from error
    try:
        with stream:
            yield stream
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def parse_numbers(text: bytes, dtype: type = np.float64) -> np.ndarray | None:
    """Numbers separated by white space, or None where something in `text` is not a number."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's sign of unmatched text, an error one day
        try:
            return np.fromstring(text.strip(), dtype, sep=" ")  # numpy reads blanks alone as -1
        except (DeprecationWarning, ValueError):
            return None
