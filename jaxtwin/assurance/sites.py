"""Whether pacing sites and sources belong to the maps: swapped sites, reversed signs, several sources."""

from collections.abc import Mapping

import numpy as np
from scipy.spatial import KDTree
from scipy.stats import rankdata

from ..anatomy import Mesh
from ..mapping import MappingData
from ..monodomain import Stimulus
from ..twin import find_sources

FEWEST = 10  # points of which a rank correlation of LATs and distances says something
FALLING, BETTER = -0.2, 0.3  # such a correlation, and a difference between two, that is no accident


def site_problems(mesh: Mesh, data: MappingData, beats: Mapping[int, Stimulus]) -> list[str]:
    """Sentences on pacing sites that the maps contradict: swapped sites, LATs of reversed sign.

    LATs rise with the distance from the site that started the wave, at any conduction velocity. What is
    compared is their rank correlation with the distance, in space.

    **Arguments:** `beats`: by the index of a map, the stimulus whose last pulse starts its wave.
    """
    found, away = [], {}
    for k, stimulus in beats.items():
        if k < data.maps and (data.valid & (data.map_index == k)).any():
            site, _ = stimulus.starts(stimulus.pulses - 1)
            away[k] = KDTree(mesh.points[site]).query(data.positions)[0]
    order = {k: {j: _rank_correlation(far, data, j) for j in away} for k, far in away.items()}
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


def source_problems(
    mesh: Mesh, data: MappingData, map_index: int = 0, *, fraction: float = 0.04
) -> list[str]:
    """Sentences on the source that is taken from a map (see `find_sources`): several of them, and LATs that
    are too early to be believed."""
    if not (data.valid & (data.map_index == map_index)).any():
        return []
    found, name = [], data.names[map_index]
    sources = find_sources(mesh, data, map_index, fraction=fraction)
    if sources.count > 1:
        size = ", ".join(str(int((sources.place == each).sum())) for each in range(sources.count))
        found.append(f"Map '{name}' starts at {sources.count} separate places ({size} points).")
    if sources.doubted.any():
        found.append(
            f"{int(sources.doubted.sum())} LATs of map '{name}' are too early for those around them and "
            "start no wave."
        )
    return found


def _rank_correlation(far: np.ndarray, data: MappingData, k: int) -> float:
    """Of distances and the LATs of one map; 1 where there are too few points to tell."""
    rows = data.valid & (data.map_index == k)
    if rows.sum() < FEWEST or min(np.ptp(far[rows]), np.ptp(data.lat_ms[rows])) == 0.0:
        return 1.0
    return float(np.corrcoef(rankdata(far[rows]), rankdata(data.lat_ms[rows]))[0, 1])
