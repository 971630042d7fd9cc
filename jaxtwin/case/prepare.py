"""From a case to the objects of the package."""

import dataclasses
from pathlib import Path

import numpy as np

from .._results import InputError
from .._units import diffusivity_from_conductivity
from ..anatomy import Heart, read_heart, read_mesh
from ..cells import MODELS, AbstractIonicModel, parameter_names
from ..fem import Space
from ..mapping import MappingData, read_csv, read_study
from ..monodomain import Stimulus, in_regions, in_sphere, pulse
from ..signals import diffusivity_for, wave_speed
from ..twin import earliest_sources
from .case import Case, StimulusCase

def heart(case: Case) -> Heart:
    """The heart of a case, with the node sets of its stimuli by the names of their files."""
    table, ratio = case.mesh, case.tissue.anisotropy_ratio
    found = read_heart(
        case.path(table.file), unit=table.unit, repair=table.repair, keep=table.keep, refine=table.refine,
        vertices={one.file: case.path(one.file) for one in case.stimulus if one.kind == "vtx" and one.file},
    )  # fmt: skip
    curved = (np.ptp(found.mesh.points, axis=0) > 0).all() and found.mesh.dim == 3
    if ratio > 1 and curved and any("placeholder" in note for note in found.notes):
        warning = (
            f"There are no fibres, and anisotropy_ratio = {ratio:g} makes conduction faster along x without "
            "any anatomical reason: set it to 1, or bring fibres."
        )
        found = dataclasses.replace(found, warnings=(*found.warnings, warning))
    return found


def cells(case: Case) -> AbstractIonicModel:
    """The cell model with the parameters of the case where given."""
    return MODELS[case.cells.model](**case.cells.parameters)


def _parameters(ionic: AbstractIonicModel) -> dict[str, float]:
    """All parameters of a cell model."""
    return {name: float(getattr(ionic, name)) for name in parameter_names(ionic)}


def diffusivity(case: Case, ionic: AbstractIonicModel) -> float:
    """D along the fibres, mm2/ms, from whichever of the three keys was given."""
    t = case.tissue
    if not float(wave_speed(ionic, 1.0)) > 0:
        raise InputError(
            f"cells that do not conduct ({_listed(_parameters(ionic))})",
            "a membrane along which a wave travels",
            "Correct the parameters in [cells]",
        )
    if t.diffusivity_mm2_per_ms is not None:
        return t.diffusivity_mm2_per_ms
    if t.conductivity_S_per_m is not None:
        return diffusivity_from_conductivity(t.conductivity_S_per_m)
    assert t.speed_mm_per_ms is not None  # a case has exactly one of the three
    return float(diffusivity_for(ionic, t.speed_mm_per_ms))


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in values.items())


def stimulus(
    case: Case, one: StimulusCase, heart: Heart, data: MappingData | None, k: int, speed: float
) -> Stimulus:
    """The pulse of one [[stimulus]] table."""
    mesh, size = heart.mesh, len(heart.mesh.points)
    if one.kind == "map":
        if data is None:
            raise InputError("a stimulus of kind map in a case without a map", "a [map]", "Name its file")
        if k >= data.maps:
            raise InputError(
                f"stimulus {k + 1} of kind map with {data.maps} map(s)", "one [[stimulus]] for each map",
                "Remove this table, or give its points a map_id of their own",
            )  # fmt: skip
        return earliest_sources(
            mesh, data, k, fraction=one.earliest_fraction, radius_mm=one.radius_mm, speed=speed,
            duration_ms=one.duration_ms, strength=one.strength_per_ms,
        )  # fmt: skip
    if one.kind == "sphere":
        if len(one.centre_mm) != mesh.dim:
            raise InputError(
                f"stimulus.centre_mm = {list(one.centre_mm)}", f"{mesh.dim} numbers", "Give the centre in mm"
            )
        nodes = in_sphere(mesh, one.centre_mm, one.radius_mm)
        if not nodes.any():
            gap = np.linalg.norm(mesh.points - np.asarray(one.centre_mm)[None], axis=1).min()
            raise InputError(
                f"a stimulus that hits no node: the nearest node is {gap:.3g} mm from centre_mm",
                f"a node within radius_mm = {one.radius_mm:g}",
                f"Move the centre onto the mesh, which spans {np.round(mesh.points.min(0), 1).tolist()} to "
                f"{np.round(mesh.points.max(0), 1).tolist()} mm, or enlarge the radius",
            )
    elif one.kind == "region":
        nodes = in_regions(mesh, one.regions)
        if not nodes.any():
            raise InputError(
                f"a stimulus that hits no node: regions {list(one.regions)}",
                f"one of the tags {np.unique(mesh.regions).tolist()}", "Correct the tags",
            )  # fmt: skip
    else:
        if not one.file:
            raise InputError("a stimulus of kind vtx without a file", 'file = "..."', "Name the .vtx file")
        nodes = heart.node_sets[one.file]
        if not nodes.any():
            raise InputError(
                f"a stimulus that hits no node: none of the vertices in {Path(one.file).name} is in the mesh",
                f"indices of nodes, from 0, of {Path(case.mesh.file).name}",
                "Look at what the repair dropped ([mesh] repair, keep), or name other nodes",
            )
    return pulse(nodes, size, onset=one.start_ms, duration=one.duration_ms, strength=one.strength_per_ms)


def mapping(case: Case, heart: Heart) -> tuple[MappingData, list[Path]]:
    """The measured maps of a case and the files they came from."""
    path = case.path(case.map.file)
    if not case.map.file:
        raise InputError(
            "a fit without a map", '[map] file = "..."', "Name a CSV or a mesh with a point array"
        )
    if path.suffix.lower() in (".csv", ".txt", ".tsv"):
        data = read_csv(path)
        _check_end(case, data)
        return data, [path]
    if path.suffix.lower() in (".h5", ".hdf5"):
        data = read_study(path).data(case.map.maps or None)
        _check_end(case, data)
        return data, [path]
    if path == case.path(case.mesh.file):
        # the same file: carry the array through the repair, so that each point is a node
        file, own = None, heart.origin >= 0  # what refinement adds was not measured
        points, arrays = heart.mesh.points[own], {k: v[own] for k, v in heart.point_data.items()}
    else:
        file = read_mesh(path, case.mesh.unit)
        points, arrays = file.mesh.points, file.point_data
    if case.map.array not in arrays:
        raise InputError(
            f"no point array '{case.map.array}' in {path.name}",
            f"one of its arrays {', '.join(sorted(arrays))}" if arrays else "a file with point arrays",
            "Set [map] array to the name of the activation times, or [map] file to a CSV",
        )
    values = np.asarray(arrays[case.map.array], float)
    if values.size != len(points):
        raise InputError(
            f"the point array '{case.map.array}' of shape {values.shape}", "one number for each point",
            "Set [map] array to the name of the activation times",
        )  # fmt: skip
    data = MappingData.from_mesh_array(points, values.ravel(), names=(case.map.array,))
    _check_end(case, data)
    return data, [] if file is None else list(file.sources)


def _check_end(case: Case, data: MappingData) -> None:
    latest, end = float(data.lat_ms[data.valid].max()), case.time.end_ms
    if end is not None and latest > end:
        raise InputError(
            f"a map with activations until {latest:.4g} ms and [time] end_ms = {end:g}",
            "a run that covers the map",
            f"Raise end_ms to {latest + 25:.0f} or more, or leave it out",
        )


def check_step(case: Case, space: Space) -> list[str]:
    """Sentences a user should see about the mesh and the step."""
    notes = []
    if space.added_mass > 0:
        notes.append(
            f"Mass scaling ([mesh] mass_scaling = {case.mesh.mass_scaling:g}) added "
            f"{100 * space.added_mass:.2g} % of mass at the smallest cells."
        )
    return notes


def resolved(case: Case, **tables) -> Case:
    """The case with what was worked out filled in; `tables` maps the name of a table to its changed keys."""
    tables = {"cells": {"parameters": _parameters(cells(case))}} | tables
    return dataclasses.replace(
        case, **{k: dataclasses.replace(getattr(case, k), **v) for k, v in tables.items()}
    )
