"""`jaxtwin init`: a folder with a case to start from."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from .._files import atomic_write
from ..anatomy import Mesh, atrial_shell, write_mesh
from ..case import BeatCase, PulseCase, example_case, write_case
from ..cells import MitchellSchaeffer
from ..fem import Space
from ..mapping import MappingData, write_csv
from ..monodomain import Times, Tissue, diffusion_tensor, in_sphere, pulse, simulate
from ..signals import ActivationTimes
from .folder import new_folder


def make_case(folder: Path, edge: float = 2.0) -> None:
    """Writes case.toml with comments, a small heart.vtu, and map.csv: a made-up map to be replaced.

    `edge`: of the mesh, mm. Raises `InputError` where the folder is not empty or cannot be made.
    """
    with new_folder(folder) as made:
        mesh = atrial_shell(edge)
        site = np.round(mesh.points[mesh.points[:, 2].argmax()], 2)
        sphere = PulseCase(centre_mm=tuple(site.tolist()), radius_mm=4.0)
        case = dataclasses.replace(example_case(), beats=[BeatCase(pulses=[sphere])])
        write_mesh(made / "heart.vtu", mesh)
        write_csv(made / "map.csv", made_up_map(mesh, site, sphere.radius_mm))
        with atomic_write(made / "case.toml") as stream:
            stream.write(write_case(case, comments=True).encode())


def made_up_map(mesh: Mesh, site: np.ndarray, radius: float, points: int = 300, seed: int = 0) -> MappingData:
    """Activation from `site` at 0.9 mm/ms, 0.6 where x > 8 mm, at random nodes with 2 ms of noise."""
    space, ionic = Space(mesh), MitchellSchaeffer()
    speed = np.where(mesh.centroids[:, 0] > 8.0, 0.6, 0.9)
    along = jnp.asarray(np.asarray(ionic.diffusivity(1.0)) * speed**2, space.mass.dtype)
    tissue = Tissue(
        space, ionic, diffusion_tensor(mesh.fibres, along, 4.0),
        pulse(in_sphere(mesh, site, radius), len(mesh.points)),
    )  # fmt: skip
    lat = np.asarray(simulate(tissue, Times(200.0, 0.1), recorders=(ActivationTimes(),)).records[0])
    random = np.random.default_rng(seed)
    chosen = random.permutation(np.flatnonzero(np.isfinite(lat)))[:points]
    noisy = lat[chosen] + 2.0 * random.standard_normal(len(chosen))
    return MappingData(mesh.points[chosen], np.round(noisy.astype(float), 1))
