"""Missing values in the arrays of a file: NaN and the numbers that encode it."""

import numpy as np
from jaxtyping import Bool, Shaped

SENTINEL = 9000.0  # smallest size of a number for "missing": CARTO writes -10000, or that minus its reference


def missing(values: Shaped[np.ndarray, " *shape"]) -> Bool[np.ndarray, " *shape"]:
    """Mask of the entries of an array that are missing and must not be interpolated.

    These are non-finite values; numbers of magnitude 9000 and more that are farther from all others than the
    range of the others; and -1 in an array of one column without any other negative number, with which
    solvers mark non-activated nodes.
    """
    known = np.isfinite(values)
    size = np.abs(np.where(known, values, 0.0))
    far = known & (size >= SENTINEL)
    rest = values[known & ~far]
    if far.any() and rest.size:
        low, high = float(rest.min()), float(rest.max())
        gap = np.where(values < low, low - values, values - high)[far].min()
        known &= ~(far & (gap > high - low))
    unmarked = known & (values != -1)
    if values.size == len(values) and unmarked.any() and (values[unmarked] >= 0).all():
        known = unmarked
    return ~known
