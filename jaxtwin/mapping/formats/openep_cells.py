"""Cells of OpenEP data sets: texts, and waveforms read on access."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def trace_reader(arrays: dict[str, Any], columns: list[tuple[str, int]], places: list[int]) -> Callable:
    """What reads one waveform of a group: of the points at these `places`, the channels of these
    `columns`."""

    def read(trace: int) -> np.ndarray:
        tables = {name: np.asarray(found[places[trace]]) for name, found in arrays.items()}
        tables = {name: each.reshape(len(each), -1) for name, each in tables.items()}
        with np.errstate(all="ignore"):
            values = np.stack([tables[name][:, channel] for name, channel in columns], axis=1)
        # a NaN of unusual bits would raise warnings in any arithmetic
        return np.where(np.isfinite(values), values, np.nan) if values.dtype.kind == "f" else values

    return read


def text_of(value: Any) -> str:
    """One text of a cell; several of them joined."""
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return "; ".join(
            filter(None, (text_of(each) for each in value.ravel(order="F").tolist() if each is not value))
        )
    if isinstance(value, np.ndarray) and value.size != 1:
        return ""
    if isinstance(value, (np.ndarray, int, float)):
        number = float(np.asarray(value, np.float64).flat[0])
        return "" if math.isnan(number) else f"{number:.0f}" if number == round(number, 0) else f"{number:g}"
    return ""
