"""`jaxtwin init`: a folder with a case to start from."""

import dataclasses
from pathlib import Path

import numpy as np

from .._results import InputError
from ..anatomy import Mesh, atrial_shell, write_mesh
from ..observe import MappingData, write_csv
from .case import StimulusCase, example_case, write_case


def make_case(folder: Path) -> None:
    """Writes case.toml with comments, a small heart.vtu, and map.csv: a made-up map to be replaced by a real one."""
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise InputError(f"{folder}, which is not empty", "a new or empty folder", "Choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    mesh = atrial_shell(2.0)
    site = mesh.points[mesh.points[:, 2].argmax()]
    write_mesh(folder / "heart.vtu", mesh)
    write_csv(folder / "map.csv", made_up_map(mesh, site))
    sphere = StimulusCase(centre_mm=[round(float(x), 2) for x in site], radius_mm=4.0)
    case = dataclasses.replace(example_case(), stimulus=[sphere])
    (folder / "case.toml").write_text(write_case(case, comments=True), encoding="utf-8")


def made_up_map(mesh: Mesh, site: np.ndarray, points: int = 300, seed: int = 0) -> MappingData:
    """Activation at 0.7 mm/ms along straight lines from `site`, with 2 ms of noise."""
    random = np.random.default_rng(seed)
    where = mesh.points[random.choice(len(mesh.points), points, replace=False)]
    lat = np.linalg.norm(where - site[None], axis=1) / 0.7 + 2.0 * random.standard_normal(points)
    return MappingData(where, np.round(lat, 1))
