"""Plausibility of LATs: unit, marks for "not activated", contradictory points."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from .._results import InputError

FEWEST = 10  # LATs, needed to recognise a unit or a mark
REPEATED = 3  # places with the same value, needed for a mark
BINS = 10  # distinct values; a map with fewer shows isochrones, whose first bin is not a mark
JUMP = 5.0  # jump between a mark and the LATs around it, relative to the usual jump between neighbours
SHARE = 0.2  # fraction of the range of the LATs, which that jump must also exceed
FAR_MS = 2000.0  # from the median of its map; no heart beat lasts as long
FENCE = 5.0  # interquartile ranges from the median, beyond which a LAT is excluded from the speed
CELLS = 12  # number of averaging cubes across the extent of a map
AROUND = 8  # neighbours used for a gradient
SPEEDS = 0.05, 5.0  # mm/ms, beyond which a conduction speed is unlikely
IMPOSSIBLE = 10.0  # factor beyond those, above which a map is rejected
LEAST_MM, FAST_MM = (
    1.0,
    20.0,
)  # smallest extent of a map, and smallest extent at which nearly equal LATs are suspicious
CM_MM, CM_SPEED, CM_MS = 20.0, 0.15, 40.0  # extent, speed and range of an atrium in cm
LEAST_SD_MS, MOST_MV = 0.05, 50.0  # medians beyond which the unit is another
PLACE_MM, APART_MS = 0.05, 20.0  # LATs at one place that differ by more than this are contradictory


def not_activated(
    positions: Float[np.ndarray, "points dim"], lat_ms: Float[np.ndarray, " points"]
) -> Bool[np.ndarray, " points"]:
    """Mask of the LATs that are marks for "not activated", as solvers write them: -1, 10000, the end of the
    run.

    A mark is the exact minimum or maximum of the map, at several places, unrelated to the LATs around it: the
    median jump from the mark to the neighbouring LATs is above 5 times the usual jump between neighbours and
    above 20 % of the range. A stimulated area, whose nodes also share one time, has neighbours that follow
    soon after. -1 is also a mark, even once, if no other LAT is negative and the others are not integers.

    `lat_ms`: (points,), NaN if missing.
    """
    marked = np.zeros(len(lat_ms), bool)
    there = np.isfinite(lat_ms)
    # a mark at one end widens the range used for the other end: repeated until neither end is a mark
    while True:
        rows = np.flatnonzero(there & ~marked)
        ends = [lat_ms[rows] == end(lat_ms[rows]) for end in (np.max, np.min)] if len(rows) else []
        found = [end for end in ends if _is_mark(positions[rows], lat_ms[rows], end)]
        if not found:
            return marked
        marked[rows[found[0]]] = True


def _is_mark(place: np.ndarray, lat: np.ndarray, end: np.ndarray) -> bool:
    value, rest = lat[end][0], lat[~end]
    minus_one = value == -1.0 and len(rest) > 0 and rest.min() >= 0.0
    places = len(np.unique(place[end], axis=0))
    if (places < REPEATED and not minus_one) or len(rest) < FEWEST or len(np.unique(rest)) < BINS:
        return False
    if minus_one and (rest % 1.0).any():
        return True
    tree = KDTree(place[~end])
    border = np.unique(tree.query(place[end])[1])
    usual = np.median(np.abs(rest - rest[np.asarray(tree.query(place[~end], 2)[1])[:, 1]]))
    jump = np.median(np.abs(rest[border] - value))
    return bool(jump > JUMP * usual and jump > SHARE * np.ptp(rest))


def apparent_speed(positions: Float[np.ndarray, "points dim"], lat_ms: Float[np.ndarray, " points"]) -> float:
    """The conduction speed that a map implies, mm/ms: the inverse of the median slope of its LATs.

    LATs are averaged (median) in cubes of 1/12 of the extent of the map, to suppress noise and outliers of
    dense points, and a plane is fitted to each cube and its 8 neighbours. It is correct within a factor of
    two, enough to recognise units. NaN for fewer than 10 LATs or a map without extent, infinite if all LATs
    are equal.

    `positions`: (points, dim), mm. `lat_ms`: (points,), ms, NaN if missing.
    """
    there = np.isfinite(lat_ms)
    if there.any():  # values far beyond the range of the others are not times of this beat, in any unit
        quarter, three = np.quantile(lat_ms[there], [0.25, 0.75])
        there &= np.abs(lat_ms - 0.5 * (quarter + three)) <= FENCE * (three - quarter)
    place, lat = positions[there], lat_ms[there]
    extent = float(np.ptp(place, axis=0).max()) if len(place) else 0.0
    if len(place) < FEWEST or extent == 0.0:
        return np.nan
    cube = np.floor((place - place.min(axis=0)) / (extent / CELLS))
    _, owner, count = np.unique(cube, axis=0, return_inverse=True, return_counts=True)
    if len(count) >= FEWEST:
        cuts = np.cumsum(count)[:-1]
        rows = np.split(np.argsort(owner.ravel(), kind="stable"), cuts)
        place = np.array([place[each].mean(axis=0) for each in rows])
        lat = np.array([np.median(lat[each]) for each in rows])
    near = np.asarray(KDTree(place).query(place, min(AROUND + 1, len(place)))[1])
    offset = place[near] - place[near].mean(axis=1, keepdims=True)
    # minimum-norm solution: the slope normal to a surface is undetermined
    inverse = np.linalg.pinv(offset, rcond=0.1)
    slope = np.linalg.norm(
        np.einsum("nak,nk->na", inverse, lat[near] - lat[near].mean(axis=1, keepdims=True)), axis=1
    )
    typical = float(np.median(slope))
    return 1.0 / typical if typical > 0.0 else np.inf


def speed_problem(
    name: str, positions: Float[np.ndarray, "points dim"], lat_ms: Float[np.ndarray, " points"]
) -> str:
    """A sentence on an unlikely apparent conduction speed and its possible cause; "" if it is plausible.

    Raises `InputError` for an impossible speed, ten times beyond 0.05 to 5 mm/ms: LATs or positions are in
    another unit.
    """
    speed = apparent_speed(positions, lat_ms)
    if np.isnan(speed):
        return ""
    lat = lat_ms[np.isfinite(lat_ms)]
    extent, span = float(np.ptp(positions, axis=0).max()), float(np.ptp(lat))
    got = f"map '{name}' with LATs from {lat.min():.4g} to {lat.max():.4g} ms over {extent:.3g} mm"
    got += f", which implies a conduction speed of {speed:.3g} mm/ms"
    low, high = SPEEDS
    if LEAST_MM <= extent < CM_MM and span > CM_MS and speed < CM_SPEED:
        cause = "positions in cm: multiply them by 10"
    elif speed > high and extent > FAST_MM:
        cause = "LATs in seconds: multiply them by 1000"
        if span == 0.0:
            cause = "an array that is not the LAT: all its values are the same"
    elif speed < low:
        cause = "LATs in microseconds or samples, or points of several beats"
        if extent < LEAST_MM:
            cause = "positions in metres: multiply them by 1000"
    else:
        return ""
    if span > 0.0 and not low / IMPOSSIBLE <= speed <= high * IMPOSSIBLE:
        raise InputError(got, f"positions in mm, LATs in ms, and a speed of {low:g} to {high:g} mm/ms",
                         f"The likely cause is {cause}")  # fmt: skip
    return f"{got}; a likely cause is {cause}"


def contradictions(
    positions: Float[np.ndarray, "points dim"], lat_ms: Float[np.ndarray, " points"]
) -> tuple[Float[np.ndarray, " points"], str]:
    """Standard deviation of the LATs at places where they differ by more than 20 ms, NaN elsewhere, and a
    sentence on these places, "" if there are none.

    Points are at one place if they share a cube of 0.05 mm. `lat_ms`: (points,), NaN if missing.
    """
    sd = np.full(len(lat_ms), np.nan)
    rows = np.flatnonzero(np.isfinite(lat_ms))
    cube = np.round(positions[rows] / PLACE_MM)
    _, owner, count = np.unique(cube, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(owner.ravel(), kind="stable")
    places = np.split(rows[order], np.cumsum(count)[:-1])
    places = [each for each in places if len(each) > 1 and np.ptp(lat_ms[each]) > APART_MS]
    for each in places:
        sd[each] = np.std(lat_ms[each], ddof=1)
    if not places:
        return sd, ""
    worst = max(places, key=lambda each: np.ptp(lat_ms[each]))
    at = ", ".join(f"{x:.4g}" for x in positions[worst[0]])
    return sd, (
        f"{sum(map(len, places))} points at {len(places)} place(s) contradict each other, by up to "
        f"{np.ptp(lat_ms[worst]):.3g} ms ({len(worst)} points at ({at}) mm); each counts with the standard "
        "deviation of its place"
    )


def unit_problems(
    sigma_ms: Float[np.ndarray, " points"], **voltages_mv: Float[np.ndarray, " points"]
) -> list[str]:
    """Sentences on standard deviations and voltages that seem to be in another unit; NaN is ignored."""
    found = []
    known = sigma_ms[np.isfinite(sigma_ms)]
    if len(known) and (median := float(np.median(known))) < LEAST_SD_MS:
        found.append(f"standard deviations of {median:.3g} ms (median): a likely cause is seconds")
    for name, values in voltages_mv.items():
        known = values[np.isfinite(values)]
        if len(known) and (median := float(np.median(known))) > MOST_MV:
            found.append(f"{name} of {median:.3g} mV (median): a likely cause is microvolts")
        if negative := int((known < 0.0).sum()):
            found.append(f"{negative} of {len(known)} {name} below 0: peak-to-peak voltages are not")
    return found
