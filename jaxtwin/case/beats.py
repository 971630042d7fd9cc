"""The stimuli of the beats of a case."""

from pathlib import Path

import numpy as np

from .._results import InputError
from ..anatomy import Heart
from ..mapping import MappingData
from ..monodomain import Stimulus, burst, in_regions, in_sphere, pulse
from ..twin import earliest_sources
from .tables import BeatCase, Case, PulseCase


def stimulus(case: Case, beat: BeatCase, heart: Heart) -> Stimulus:
    """All pulses of a beat that has sites, that with the last onset at the end.

    Raises `InputError` for a pulse that hits no node.
    """
    pulses = [_train(case, one, heart) for one in beat.in_order()]
    total = pulses[0]
    for other in pulses[1:]:
        total = total + other
    return total


def source(beat: BeatCase, heart: Heart, data: MappingData, map_index: int, speed: float) -> Stimulus:
    """The pulse of a beat that has its source from map number `map_index`, at the times of the map.

    Raises `InputError` where there is no such map.
    """
    one = beat.pulses[0]
    if map_index >= data.maps:
        raise InputError(
            f"beat {map_index + 1} of kind map with {data.maps} map(s)", "one [[beat]] for each map",
            "Remove this beat, or give its points a map_id of their own",
        )  # fmt: skip
    return earliest_sources(
        heart.mesh, data, map_index, fraction=one.earliest_fraction, radius_mm=one.radius_mm, speed=speed,
        duration_ms=one.duration_ms, strength=one.strength_per_ms,
    )  # fmt: skip


def _train(case: Case, one: PulseCase, heart: Heart) -> Stimulus:
    """A pulse as often as it is wanted."""
    site = pulse(
        _nodes(case, one, heart), len(heart.mesh.points), onset=one.start_ms, duration=one.duration_ms,
        strength=one.strength_per_ms,
    )  # fmt: skip
    return site if one.interval_ms is None else burst(site, one.interval_ms, one.count)


def _nodes(case: Case, one: PulseCase, heart: Heart) -> np.ndarray:
    """The nodes that a pulse hits, as a mask."""
    mesh = heart.mesh
    if one.kind == "sphere":
        if len(one.centre_mm) != mesh.dim:
            raise InputError(
                f"beat.pulse.centre_mm = {list(one.centre_mm)}",
                f"{mesh.dim} numbers",
                "Give the centre in mm",
            )
        nodes = in_sphere(mesh, one.centre_mm, one.radius_mm)
        if not nodes.any():
            gap = np.linalg.norm(mesh.points - np.asarray(one.centre_mm)[None], axis=1).min()
            raise InputError(
                f"a pulse that hits no node: the nearest node is {gap:.3g} mm from centre_mm",
                f"a node within radius_mm = {one.radius_mm:g}",
                f"Move the centre onto the mesh, which spans {np.round(mesh.points.min(0), 1).tolist()} to "
                f"{np.round(mesh.points.max(0), 1).tolist()} mm, or enlarge the radius",
            )
    elif one.kind == "region":
        nodes = in_regions(mesh, one.regions)
        if not nodes.any():
            raise InputError(
                f"a pulse that hits no node: regions {list(one.regions)}",
                f"one of the tags {np.unique(mesh.regions).tolist()}", "Correct the tags",
            )  # fmt: skip
    else:
        if not one.file:
            raise InputError("a pulse of kind vtx without a file", 'file = "..."', "Name the .vtx file")
        nodes = heart.node_sets[one.file]
        if not nodes.any():
            raise InputError(
                f"a pulse that hits no node: none of the vertices in {Path(one.file).name} is in the mesh",
                f"indices of nodes, from 0, of {Path(case.mesh.file).name}",
                "Look at what the repair dropped ([mesh] repair, keep), or name other nodes",
            )
    return nodes
