"""Sources of a measured wave: stimuli taken from the map itself."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Int
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import KDTree

from .._results import InputError
from ..anatomy import Mesh
from ..mapping import MappingData
from ..mapping.plausibility import apparent_speed
from ..monodomain import Stimulus, pulse

FEWEST = 12  # valid points, needed to compare a point with its neighbours
TOO_EARLY = 4.0  # standard deviations of the map, earlier than the neighbours allow
LEAST_SD_MS = 1.0  # lower bound of the standard deviation of a map
ROUNDS = 3  # rounds in which points found too early are excluded from the comparison
SUPPORT = 3  # points that a source needs if there is a larger one


@dataclass(frozen=True)
class Sources:
    """The sources of a map: its earliest part.

    - `points`: (early,), indices into the map data. `place`: (early,), the source of each point, from 0, the
      earliest source first.
    - `doubted`: (points,), valid points of this map with an implausibly early LAT.
    """

    points: Int[np.ndarray, " early"]
    place: Int[np.ndarray, " early"]
    doubted: Bool[np.ndarray, " points"]

    @property
    def count(self) -> int:
        """Number of separate sources."""
        return int(self.place.max()) + 1


def find_sources(mesh: Mesh, data: MappingData, map_index: int = 0, *, fraction: float = 0.04) -> Sources:
    """Finds the earliest `fraction` of the valid points of a map, excluding points that are implausibly early
    compared with their neighbours.

    Neighbours are points whose Voronoi cells along the edges of the mesh are adjacent, and the neighbours of
    these. A wave from a point reaches a neighbour at distance d after about d over the apparent speed of the
    map. A point is excluded if it is earlier than the median of (neighbour's LAT - this delay) by more than 4
    standard deviations of the map. The remaining early points are grouped into connected areas. All areas
    with at least 3 points are sources: a heart in sinus rhythm may have several breakthroughs.

    Time and memory are linear in nodes plus points.

    **Raises:** `InputError` for a map without a valid LAT.
    """
    rows = np.flatnonzero(data.valid & (data.map_index == map_index))
    if len(rows) == 0:
        raise InputError("a map without a valid activation time", "a few early points", "Choose another map")
    lat = data.lat_ms[rows]
    sites, site = np.unique(KDTree(mesh.points).query(data.positions[rows])[1], return_inverse=True)
    near, around = _around(mesh, sites)
    early = (
        _too_early(data.positions[rows], lat, site, (near, around))
        if len(rows) >= FEWEST
        else np.zeros(len(rows), bool)
    )
    doubted = np.zeros(len(data.lat_ms), bool)
    doubted[rows[early]] = True
    rows, lat, site = rows[~early], lat[~early], site[~early]
    first = np.argsort(lat, kind="stable")[: max(1, round(fraction * len(lat)))]
    part = connected_components(around[sites_of := np.unique(site[first])][:, sites_of], directed=False)[1]
    place = part[np.searchsorted(sites_of, site[first])]
    count = np.bincount(place)
    kept = count[place] >= min(SUPPORT, count.max())
    # numbered by their earliest activation
    _, begin, place = np.unique(place[kept], return_index=True, return_inverse=True)
    return Sources(rows[first[kept]], np.argsort(np.argsort(begin))[place], doubted)


def _around(mesh: Mesh, sites: Int[np.ndarray, " sites"]) -> tuple[sp.csr_array, sp.csr_array]:
    """Adjacency matrices, (sites, sites): first-order neighbours, and first- or second-order neighbours; each
    includes the diagonal."""
    length = np.maximum(mesh.edge_lengths, 1e-12)  # an entry of zero would not count as an edge
    graph = sp.csr_array((length, mesh.edges.T), shape=(len(mesh.points),) * 2)
    _, _, owner = dijkstra(graph, directed=False, indices=sites, return_predecessors=True, min_only=True)
    pairs = owner[mesh.edges]
    pairs = np.searchsorted(sites, pairs[(pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])])
    ends = np.concatenate([pairs.T, pairs.T[::-1], np.tile(np.arange(len(sites)), (2, 1))], axis=1)
    first = sp.csr_array((np.ones(ends.shape[1], np.int32), ends), shape=(len(sites),) * 2)
    return first, sp.csr_array(first @ first)


def _too_early(
    positions: np.ndarray, lat: np.ndarray, site: np.ndarray, around: tuple[sp.csr_array, sp.csr_array]
) -> np.ndarray:
    """Mask of the points too early to be a source, compared with their first- or second-order neighbours."""
    speed = apparent_speed(positions, lat)
    slowness = 1.0 / speed if speed > 0.0 else 0.0  # no delay for a map too small to estimate a speed
    count = int(site.max()) + 1
    place = np.stack([np.bincount(site, axis) for axis in positions.T], axis=1) / np.bincount(site)[:, None]
    early = np.zeros(len(lat), bool)
    for _ in range(ROUNDS):
        time = _medians(site[~early], lat[~early], count)
        allowed, sd = np.full(count, -np.inf), 0.0
        for neighbours in around:
            i, j = neighbours.nonzero()
            delay = slowness * np.linalg.norm(place[i] - place[j], axis=1)
            allowed = np.fmax(allowed, _medians(i, time[j] - delay, count))
            sd = sd or 1.4826 * float(np.nanmedian(np.abs(time - _medians(i, time[j], count))))
        early = lat < allowed[site] - TOO_EARLY * max(sd, LEAST_SD_MS)
    return early


def _medians(group: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Lower median of the values in each group, NaN for an empty group."""
    known = np.isfinite(values)
    group, values = group[known], values[known]
    order = np.lexsort((values, group))
    size = np.bincount(group, minlength=count)
    middle = np.cumsum(size) - size + (size - 1) // 2
    found = np.full(count, np.nan)
    found[size > 0] = values[order][middle[size > 0]]
    return found


def earliest_sources(
    mesh: Mesh,
    data: MappingData,
    map_index: int = 0,
    *,
    fraction: float = 0.04,
    radius_mm: float = 2.0,
    speed: float = 0.7,
    duration_ms: float = 2.0,
    strength: float = 0.5,
) -> Stimulus:
    """Returns a stimulus from the earliest part of a map, for maps without a known pacing site such as sinus
    rhythm.

    Nodes within `radius_mm` of a point of `find_sources` are excited at the LAT of that point plus their
    distance over `speed`; the earliest time counts. A single node would not be enough on a fine mesh, where
    its wave would fail because of its curvature.

    **Arguments:** `map_index`: which map of `data`. `fraction`: of the valid points that are sources.
    `radius_mm`: mm. `speed`: mm/ms. `duration_ms`: ms. `strength`: du/dt, 1/ms.

    **Returns:** a `Stimulus`.

    **Raises:** `InputError` for a map without a valid LAT.

    **Example:** `jt.Twin(mesh, beats=[jt.earliest_sources(mesh, data)], ...)`
    """
    early = find_sources(mesh, data, map_index, fraction=fraction).points
    tree = KDTree(mesh.points)
    near = tree.query_ball_point(data.positions[early], radius_mm)
    point = np.repeat(early, [len(each) for each in near])
    nodes = np.concatenate([np.asarray(each, np.int64) for each in near])
    distance = np.linalg.norm(mesh.points[nodes] - data.positions[point], axis=1)
    arrival = np.full(len(mesh.points), np.inf)
    np.minimum.at(arrival, nodes, data.lat_ms[point] + distance / speed)
    # the nearest node of each point is always excited, however coarse the mesh is
    np.minimum.at(arrival, tree.query(data.positions[early])[1], data.lat_ms[early])
    nodes = np.flatnonzero(np.isfinite(arrival))
    onset: Any = arrival[nodes]
    return pulse(nodes, len(mesh.points), onset=onset, duration=duration_ms, strength=strength)
