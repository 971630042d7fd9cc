"""Where a measured wave started: stimuli taken from the map itself."""

import numpy as np

from .._results import InputError
from ..anatomy import Mesh
from ..mapping import MappingData
from ..monodomain import Stimulus, pulse


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

    Nodes within `radius_mm` of one of the earliest `fraction` of the valid points are excited at the LAT
    of that point plus their distance over `speed` (mm/ms), the earliest such time where points compete.
    A single node would not do on a fine mesh: the wave would die of its own curvature.
    """
    rows = np.flatnonzero(data.valid & (data.map_index == map_index))
    if len(rows) == 0:
        raise InputError("a map without a valid activation time", "a few early points", "Choose another map")
    lat = data.lat_ms[rows]
    early = rows[np.argsort(lat, kind="stable")[: max(1, round(fraction * len(rows)))]]
    distance = np.linalg.norm(mesh.points[:, None] - data.positions[early][None], axis=2)
    # the nearest node of each point belongs to it however coarse the mesh is
    distance[distance.argmin(axis=0), np.arange(len(early))] = 0.0
    arrival = np.where(distance <= radius_mm, data.lat_ms[early][None] + distance / speed, np.inf).min(axis=1)
    nodes = np.flatnonzero(np.isfinite(arrival))
    return pulse(nodes, len(mesh.points), onset=arrival[nodes], duration=duration_ms, strength=strength)
