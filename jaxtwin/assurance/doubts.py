"""A fit that cannot be right: what is wrong with it, and the likely causes, tested on the data."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from ..anatomy import Mesh
from ..mapping import MappingData
from ..monodomain import Stimulus
from .sites import site_problems

CLEARLY = 1.2  # times the error of a simple method: more than the chance of a few dozen points
NOISE = 2.0  # times the standard deviation that was given for the LATs
INTERPOLATIONS = "radial_basis", "gaussian_process"
PARTS = {
    "fit": "fitted points", "held_out_points": "held-out points",
    "held_out_patch": "points of the held-out patch",
}  # fmt: skip


def method(name: str) -> str:
    """What a simple method is called in a sentence."""
    return name.replace("_", " ").replace("gaussian", "Gaussian")


def fit_doubts(
    scores: Mapping[str, Mapping[str, float]],
    baselines: Mapping[str, Mapping[str, Mapping[str, float]]],
    noise_scale: float,
    sigma_ms: float,
) -> list[str]:
    """What speaks against a fit: phrases, empty for one that may be right.

    A fit is in doubt if on any set of points its root mean square error exceeds both twice `sigma_ms` and 1.2
    times that of the best simple method; if its wave reaches none of the points of a set; or if the noise
    that it estimates is more than twice `sigma_ms`. At the fitted points it is compared with isotropic speed
    only, since an interpolation passes as close to them as it likes.

    **Arguments:** `scores`: of the fit, and `baselines`: of each simple method, by the set of points, as from
    `judge.errors`. `noise_scale`: `Fit.noise()`. `sigma_ms`: the standard deviation given for LATs.
    """
    found = []
    for part, name in PARTS.items():
        own = scores.get(part, {})
        if "points" in own and "rmse_ms" not in own:
            found.append(f"the fitted wave reaches none of the {name}")
        rivals = {
            rival: table[part]["rmse_ms"] for rival, table in baselines.items()
            if not (part == "fit" and rival in INTERPOLATIONS) and "rmse_ms" in table.get(part, {})
        }  # fmt: skip
        if "rmse_ms" not in own or not rivals:
            continue
        best = min(rivals, key=lambda rival: rivals[rival])
        if own["rmse_ms"] > max(CLEARLY * rivals[best], NOISE * sigma_ms):
            found.append(
                f"its error of {own['rmse_ms']:.1f} ms at the {name} exceeds the {rivals[best]:.1f} ms of "
                f"{method(best)}"
            )
    if noise_scale > NOISE:
        found.append(
            f"the estimated noise is {noise_scale:.1f} times the standard deviation given for the LATs"
        )
    return found


def likely_causes(
    mesh: Mesh,
    data: MappingData,
    beats: Sequence[Stimulus],
    residual_ms: Float[np.ndarray, " points"],
    fitted: Bool[np.ndarray, " points"],
    *,
    paced: bool = True,
) -> list[str]:
    """Sentences on why a fit in doubt may have failed, each tested on the maps.

    The sites are tested by the order of the LATs (see `site_problems`); which map bears the error, by the
    residuals; and whether one map mixes time references, by two groups of residuals with a gap between.

    **Arguments:** `residual_ms`: prediction less measurement at the points of `data`, NaN where there is no
    prediction. `fitted`: mask of the points of the fit. `paced`: False for sources that come from the maps.
    """
    found = site_problems(mesh, data, dict(enumerate(beats))) if paced else []
    used = fitted & data.valid & np.isfinite(residual_ms)
    error = np.asarray([_rms(residual_ms[used & (data.map_index == k)]) for k in range(data.maps)])
    for k, name in enumerate(data.names):
        others = np.delete(error, k)
        if len(others) and error[k] > 2.0 * np.max(others):
            found.append(
                f"The error is that of map '{name}': {error[k]:.1f} ms, elsewhere at most "
                f"{np.max(others):.1f} ms."
            )
        gap, early = two_groups(residual_ms[used & (data.map_index == k)])
        if gap > 0.0:
            found.append(
                f"The residuals of map '{name}' are two groups, {gap:.0f} ms apart, with {100 * early:.0f} % "
                "of the points in the earlier one: two time references or two beats in one map."
            )
    if not found:
        found.append(
            ("The order of the LATs agrees with the pacing sites and their sign. " if paced else "")
            + "A constant shift of the time reference is estimated and does no harm. Look for a map of "
            "another position of the heart, several beats in one map, wrong fibres, or too small a sigma_ms."
        )
    return found


def two_groups(residual_ms: Float[np.ndarray, " points"]) -> tuple[float, float]:
    """The distance between the means of two groups of residuals (prediction less LAT), ms, and the fraction
    of the points in the group with the earlier LATs; both 0 where there is one group.

    The split is that of least variance within the groups (Otsu 1979, doi 10.1109/TSMC.1979.4310076). They are
    two where each has a tenth of the points, and their means lie more than 6 standard deviations of the
    groups apart: halves of a normal distribution lie 2.6 apart, of a uniform one 3.5.
    """
    x = np.sort(np.asarray(residual_ms, np.float64))[::-1]
    count = len(x)
    least = max(count // 10, 5)
    if count < 2 * least:
        return 0.0, 0.0
    size = np.arange(1, count)
    first, second = np.cumsum(x)[:-1], np.cumsum(x**2)[:-1]
    within = (
        second - first**2 / size
        + (np.sum(x**2) - second) - (np.sum(x) - first) ** 2 / (count - size)
    )  # fmt: skip
    allowed = (size >= least) & (count - size >= least)
    cut = int(np.where(allowed, within, np.inf).argmin())
    gap = first[cut] / size[cut] - (np.sum(x) - first[cut]) / (count - size[cut])
    if gap <= 6.0 * np.sqrt(max(within[cut], 0.0) / count):
        return 0.0, 0.0
    return float(gap), float(size[cut] / count)


def verdict(doubts: Sequence[str], causes: Sequence[str]) -> list[str]:
    """The first warning of a fit in doubt, with its likely causes; none without a doubt."""
    if not doubts:
        return []
    return [f"This fit is in doubt: {'; '.join(doubts)}. {' '.join(causes)}"]


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0
