"""The measured maps of a case."""

from pathlib import Path

import numpy as np

from .._results import InputError
from ..anatomy import Heart, read_mesh
from ..mapping import MappingData, read_csv, read_study
from .tables import Case


def measured(case: Case, heart: Heart) -> tuple[MappingData, list[Path]]:
    """The measured maps of a case and the files they came from."""
    path = case.path(case.map.file)
    if not case.map.file:
        raise InputError(
            "a fit or a source of kind map without a map",
            '[map] file = "..."',
            "Name a study, a CSV or a mesh with a point array",
        )
    if path.suffix.lower() in (".csv", ".txt", ".tsv"):
        data = read_csv(path)
        return data, [path]
    if path.suffix.lower() in (".h5", ".hdf5"):
        data = read_study(path).data(case.map.maps or None)
        return data, [path]
    if path == case.path(case.mesh.file) and not case.mesh.remesh_mm:
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
    return data, [] if file is None else list(file.sources)
