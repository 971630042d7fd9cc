"""Missing values in the arrays of a file: NaN and the numbers that stand for it."""

import numpy as np
from jaxtyping import Bool, Shaped

SENTINEL = 9000.0  # the least size of a number for "missing": CARTO writes -10000, or that less its reference


def missing(values: Shaped[np.ndarray, " *shape"]) -> Bool[np.ndarray, " *shape"]:
    """Where an array holds no value that was measured or computed, and nothing may be interpolated.

    These are what is not finite; numbers of 9000 and more, of either sign, that lie apart from all others by
    more than the others span; and -1 in an array of one column that has no other negative number, with which
    solvers mark nodes that were not activated.
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
