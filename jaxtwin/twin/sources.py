"""Where a measured wave started: stimuli taken from the map itself."""

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

FEWEST = 12  # valid points, of which one can be told from its neighbours
TOO_EARLY = 4.0  # standard deviations of the map, before what its neighbours allow
LEAST_SD_MS = 1.0  # of a map
ROUNDS = 3  # in which early points lose their vote on others
SUPPORT = 3  # points of a source beside a larger one


@dataclass(frozen=True)
class Sources:
    """The earliest part of a map.

    - `points`: (early,), indices into the map data. `place`: (early,), the source that each belongs to, from
      0, the earliest first.
    - `doubted`: (points,), valid points of this map whose LAT is too early to be believed.
    """

    points: Int[np.ndarray, " early"]
    place: Int[np.ndarray, " early"]
    doubted: Bool[np.ndarray, " points"]

    @property
    def count(self) -> int:
        """Number of separate sources."""
        return int(self.place.max()) + 1


def find_sources(mesh: Mesh, data: MappingData, map_index: int = 0, *, fraction: float = 0.04) -> Sources:
    """The earliest `fraction` of the valid points of a map, without those that are too early for their
    neighbours.

    Neighbours are points whose areas on the mesh meet (the Voronoi cells along its edges), and the neighbours
    of these. A wave that starts at a point reaches a neighbour at distance d after about d over the apparent
    speed of the map. A point that is earlier than the median over its neighbours of their LAT less this
    delay, by more than 4 standard deviations of the map, did not start the wave. What is left is parted into
    connected areas. All of them with 3 points or more are sources: a heart in sinus rhythm may break through
    at several places.

    Time and memory grow with nodes plus points. Raises `InputError` for a map without a valid LAT.
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
    # numbered in the order in which they begin
    _, begin, place = np.unique(place[kept], return_index=True, return_inverse=True)
    return Sources(rows[first[kept]], np.argsort(np.argsort(begin))[place], doubted)


def _around(mesh: Mesh, sites: Int[np.ndarray, " sites"]) -> tuple[sp.csr_array, sp.csr_array]:
    """(sites, sites), which are neighbours of the first order, and of the first or second; each of itself."""
    length = np.maximum(mesh.edge_lengths, 1e-12)  # a distance of zero would be no edge at all
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
    """Which points come too early to have started the wave, by their near neighbours or by those around."""
    speed = apparent_speed(positions, lat)
    slowness = 1.0 / speed if speed > 0.0 else 0.0  # none of a map too small to tell
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
    """The lower median of the values in each group, NaN for one without."""
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
    """The earliest part of a map as its stimulus: a map in sinus rhythm comes without a pacing site.

    Nodes within `radius_mm` of one of the points of `find_sources` are excited at the LAT of that point plus
    their distance over `speed` (mm/ms), the earliest such time where points compete. A single node would not
    do on a fine mesh: the wave would die of its own curvature.
    """
    early = find_sources(mesh, data, map_index, fraction=fraction).points
    tree = KDTree(mesh.points)
    near = tree.query_ball_point(data.positions[early], radius_mm)
    point = np.repeat(early, [len(each) for each in near])
    nodes = np.concatenate([np.asarray(each, np.int64) for each in near])
    distance = np.linalg.norm(mesh.points[nodes] - data.positions[point], axis=1)
    arrival = np.full(len(mesh.points), np.inf)
    np.minimum.at(arrival, nodes, data.lat_ms[point] + distance / speed)
    # the nearest node of each point belongs to it however coarse the mesh is
    np.minimum.at(arrival, tree.query(data.positions[early])[1], data.lat_ms[early])
    nodes = np.flatnonzero(np.isfinite(arrival))
    onset: Any = arrival[nodes]
    return pulse(nodes, len(mesh.points), onset=onset, duration=duration_ms, strength=strength)
