"""From a case to the objects of the package."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .._results import InputError
from .._units import diffusivity_from_conductivity
from ..anatomy import Mesh, read_mesh, refine_with_map, reorder, repair
from ..anatomy.opencarp import read_vtx
from ..fem import Space
from ..ionic import AbstractIonicModel, MitchellSchaeffer, ModifiedMitchellSchaeffer
from ..monodomain import Stimulus, in_regions, in_sphere, pulse
from ..observe import MappingData, earliest_sources, read_csv
from .case import Case, StimulusCase


@dataclass
class Heart:
    """The mesh as it is computed on, and how it came about.

    `origin` (nodes,): the node of the file behind each node, or -1 for one that refinement has added.
    """

    mesh: Mesh
    origin: np.ndarray
    point_data: dict[str, np.ndarray]
    notes: list[str]
    sources: list[Path]


def heart(case: Case) -> Heart:
    """Reads, repairs, refines and orders the mesh of a case."""
    file = read_mesh(case.path(case.mesh.file), case.mesh.unit)
    mesh, notes, data = file.mesh, list(file.notes), dict(file.point_data)
    origin = np.arange(len(mesh.points))
    if case.mesh.repair:
        mended = repair(mesh)
        mesh, origin = mended.mesh, mended.origin
        data = {
            k: mended.carry(v.astype(float)) for k, v in data.items() if np.issubdtype(v.dtype, np.number)
        }
        notes += [] if mended.report.clean else mended.report.lines()
    for _ in range(case.mesh.refine):
        finer = refine_with_map(mesh)
        mesh = finer.mesh
        data = {k: v[finer.parents].mean(axis=1) for k, v in data.items()}
        origin = np.where(finer.parents[:, 0] == finer.parents[:, 1], origin[finer.parents[:, 0]], -1)
    if case.mesh.refine:
        notes.append(f"Refined {case.mesh.refine} times to {len(mesh.points)} nodes.")
    ordered = reorder(mesh)
    data = {k: v[ordered.origin] for k, v in data.items()}
    return Heart(ordered.mesh, origin[ordered.origin], data, notes, list(file.sources))


def cells(case: Case) -> AbstractIonicModel:
    """The cell model with the times of the case where given."""
    c = case.cells
    given = {
        "tau_in": c.tau_in_ms,
        "tau_out": c.tau_out_ms,
        "tau_open": c.tau_open_ms,
        "tau_close": c.tau_close_ms,
    }
    gate = {"u_gate" if c.model == "mitchell_schaeffer" else "a": c.u_gate}
    kind = MitchellSchaeffer if c.model == "mitchell_schaeffer" else ModifiedMitchellSchaeffer
    return kind(**{k: v for k, v in (given | gate).items() if v is not None})


def diffusivity(case: Case, ionic: AbstractIonicModel) -> float:
    """D along the fibres, mm2/ms, from whichever of the three keys was given."""
    t = case.tissue
    if t.diffusivity_mm2_per_ms is not None:
        return t.diffusivity_mm2_per_ms
    if t.conductivity_S_per_m is not None:
        return diffusivity_from_conductivity(t.conductivity_S_per_m)
    if not float(ionic.speed(1.0)) > 0:
        raise InputError("cells that do not conduct", "times at which a wave travels", "Raise tau_out_ms")
    return float(ionic.diffusivity(t.speed_mm_per_ms))


def stimulus(
    case: Case, one: StimulusCase, heart: Heart, data: MappingData | None, k: int, speed: float
) -> Stimulus:
    """The pulse of one [[stimulus]] table."""
    mesh, size = heart.mesh, len(heart.mesh.points)
    if one.kind == "map":
        if data is None:
            raise InputError("a stimulus of kind map in a case without a map", "a [map]", "Name its file")
        return earliest_sources(
            mesh, data, k, fraction=one.earliest_fraction, radius_mm=one.radius_mm, speed=speed,
            duration_ms=one.duration_ms, strength=one.strength_per_ms,
        )  # fmt: skip
    if one.kind == "sphere":
        if len(one.centre_mm) != mesh.dim:
            raise InputError(f"centre_mm = {one.centre_mm}", f"{mesh.dim} numbers", "Give the centre in mm")
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
                f"a stimulus that hits no node: regions {one.regions}",
                f"one of the tags {np.unique(mesh.regions).tolist()}", "Correct the tags",
            )  # fmt: skip
    else:
        nodes = np.flatnonzero(np.isin(heart.origin, read_vtx(case.path(one.file))))
    return pulse(nodes, size, onset=one.start_ms, duration=one.duration_ms, strength=one.strength_per_ms)


def mapping(case: Case, heart: Heart) -> tuple[MappingData, list[Path]]:
    """The measured maps of a case and the files they came from."""
    path = case.path(case.map.file)
    if not case.map.file:
        raise InputError(
            "a fit without a map", '[map] file = "..."', "Name a CSV or a mesh with a point array"
        )
    if path.suffix.lower() in (".csv", ".txt", ".tsv"):
        return read_csv(path), [path]
    if path == case.path(case.mesh.file):
        # the same file: carry the array through the repair, so that each point is a node
        file, points, arrays = None, heart.mesh.points, heart.point_data
    else:
        file = read_mesh(path, case.mesh.unit)
        points, arrays = file.mesh.points, file.point_data
    if case.map.array not in arrays:
        raise InputError(
            f"no point array '{case.map.array}' in {path.name}", f"one of {sorted(arrays)}",
            "Set [map] array to the name of the activation times",
        )  # fmt: skip
    data = MappingData.from_mesh_array(points, np.asarray(arrays[case.map.array], float).ravel())
    return data, [] if file is None else list(file.sources)


def check_step(case: Case, space: Space) -> list[str]:
    """Sentences a user should see about the mesh and the step."""
    notes = []
    if space.added_mass > 0:
        notes.append(f"Mass scaling added {100 * space.added_mass:.2g} % of mass at the smallest cells.")
    if case.time.step_ms > 0.25:
        raise InputError(
            f"a time step of {case.time.step_ms:g} ms", "0.25 ms or less: the upstroke lasts about 1 ms",
            "Choose 0.05 to 0.1 ms",
        )  # fmt: skip
    return notes


def resolved(case: Case, **tables) -> Case:
    """The case with what was worked out filled in; `tables` maps the name of a table to its changed keys."""
    return dataclasses.replace(
        case, **{k: dataclasses.replace(getattr(case, k), **v) for k, v in tables.items()}
    )
