"""Intervals that hold: what the residuals of points that no fit has seen say of the claimed spread."""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from .._results import InputError

FEWEST = 30  # points of a region for a factor of its own


class Recalibration(eqx.Module):
    """By what factors the standard deviations of predictions are to be taken so that intervals hold.

    An interval is prediction +- factor x standard deviation. With n points of calibration it holds a new one,
    of the same distribution, with a chance of at least `level` (and at most that + 1/(n+1)), whatever the
    distribution of the errors: split conformal prediction (Vovk, Gammerman, Shafer 2005,
    doi 10.1007/b106715; Lei et al. 2018, doi 10.1080/01621459.2017.1307116), by region where a region has
    enough points (Mondrian). Points far from all of calibration, as in a patch without any, have no such
    guarantee.

    - `factor`: infinite where points are too few for the level. `regions`: those with a factor of their own.
    """

    level: float = eqx.field(static=True)
    factor: float
    regions: dict[int, float]

    def of(self, region: Int[np.ndarray, " values"]) -> Float[np.ndarray, " values"]:
        """The factor at each of some values, by their region."""
        return np.asarray([self.regions.get(int(r), self.factor) for r in region], np.float64)


def recalibrate(
    error: Float[np.ndarray, " points"],
    sd: Float[np.ndarray, " points"],
    region: Int[np.ndarray, " points"] | None = None,
    *,
    level: float = 0.9,
) -> Recalibration:
    """Factors from errors (prediction - measurement, ms) at points that were held out, and their `sd`.

    Raises `InputError` for a level out of (0, 1) and where a standard deviation is not positive.
    """
    error, sd = np.asarray(error, np.float64), np.asarray(sd, np.float64)
    if not 0.0 < level < 1.0:
        raise InputError(f"a level of {level:g}", "one above 0 and below 1", "Give 0.9 for 90 %")
    if not (np.isfinite(error).all() and np.isfinite(sd).all() and (sd > 0.0).all()):
        raise InputError(
            "errors or standard deviations that are not numbers, or not above 0", "one of each per point",
            "Leave out the points that the prediction does not reach",
        )  # fmt: skip
    score = np.abs(error) / sd
    own = {}
    if region is not None:
        for r in np.unique(region):
            if (region == r).sum() >= FEWEST:
                own[int(r)] = _quantile(score[region == r], level)
    return Recalibration(level, _quantile(score, level), own)


def _quantile(score: np.ndarray, level: float) -> float:
    """The smallest score that ceil((n + 1) level) of the scores do not exceed."""
    rank = int(np.ceil((len(score) + 1) * level - 1e-9))
    return float(np.sort(score)[rank - 1]) if rank <= len(score) else float("inf")
