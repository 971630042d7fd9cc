"""Sites of stimulation beside the maps of a case: whether they belong together."""

import numpy as np
from scipy.spatial import KDTree
from scipy.stats import rankdata

from ..anatomy import Mesh
from ..mapping import MappingData
from ..monodomain import Stimulus
from ..twin import find_sources
from .case import Case

FEWEST = 10  # points of which a rank correlation of LATs and distances says something
FALLING, BETTER = -0.2, 0.3  # such a correlation, and a difference between two, that is no accident


def site_problems(case: Case, mesh: Mesh, data: MappingData, stimuli: list[Stimulus]) -> list[str]:
    """Sentences on stimuli (one for each map, in their order) that the maps contradict: swapped sites, LATs
    of reversed sign, several sources in one map, LATs too early to be believed."""
    found, away = [], {}
    for k, (one, stimulus) in enumerate(zip(case.stimulus, stimuli, strict=True)):
        rows = data.valid & (data.map_index == k)
        if not rows.any():
            continue
        if one.kind == "map":
            sources = find_sources(mesh, data, k, fraction=one.earliest_fraction)
            if sources.count > 1:
                size = ", ".join(str(int((sources.place == each).sum())) for each in range(sources.count))
                found.append(
                    f"Map '{data.names[k]}' starts at {sources.count} separate places ({size} points)."
                )
            if sources.doubted.any():
                found.append(
                    f"{int(sources.doubted.sum())} LATs of map '{data.names[k]}' are too early for those "
                    "around them and start no wave."
                )
            continue
        site = mesh.points[(np.asarray(stimulus.strength) > 0).any(axis=0)]
        away[k] = KDTree(site).query(data.positions)[0]
    order = {k: [_rank_correlation(far, data, j) for j in range(data.maps)] for k, far in away.items()}
    for k in order:
        if order[k][k] < FALLING:
            found.append(
                f"The LATs of map '{data.names[k]}' fall with the distance from its stimulus: the site of "
                "another map, or LATs with their sign reversed."
            )
        for j in order:
            if k < j and min(order[k][j] - order[k][k], order[j][k] - order[j][j]) > BETTER:
                found.append(
                    f"The LATs of map '{data.names[k]}' rise with the distance from the stimulus of map "
                    f"'{data.names[j]}', and the other way round: swapped sites."
                )
    return found


def _rank_correlation(far: np.ndarray, data: MappingData, k: int) -> float:
    """Of distances and the LATs of one map; 1 where there are too few points to tell."""
    rows = data.valid & (data.map_index == k)
    if rows.sum() < FEWEST or min(np.ptp(far[rows]), np.ptp(data.lat_ms[rows])) == 0.0:
        return 1.0
    return float(np.corrcoef(rankdata(far[rows]), rankdata(data.lat_ms[rows]))[0, 1])
