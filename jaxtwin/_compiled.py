"""Loops that no array expression can say, as machine code."""

import inspect
from collections.abc import Callable

import numba


def compiled(function: Callable) -> Callable:
    """To machine code, kept on disk; without what type checkers have wrapped around it."""
    return numba.njit(cache=True, error_model="numpy", nogil=True)(inspect.unwrap(function))
