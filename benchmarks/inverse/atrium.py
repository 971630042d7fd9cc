"""Problem R: a real atrium with two hidden scars, three sites of 500 points, fitted as a user does it."""

from pathlib import Path
from typing import Any

POINTS = 500  # for each site
NOISE = 2.0  # ms
RATIO = 4.0
LENGTH = 10.0  # mm, of the variation of log D
DEPTH = 3.0  # scar conducts exp(-DEPTH) of what the tissue around it does
RADII = (8.0, 6.0)  # mm, of the scars

CASE = """
[mesh]
file = "{data}/atrium_dtmri/Labelled.pts"
[tissue]
diffusivity_mm2_per_ms = 0.3
anisotropy_ratio = {ratio}
{stimuli}
[time]
step_ms = 0.2
[map]
file = "map.csv"
sigma_ms = {noise}
[fit]
scar = true
modes = 100
largest_diffusivity_mm2_per_ms = 1.2
iterations = 2
tolerance = 1.0
uncertainty_directions = 0
"""
STIMULUS = """
[[stimulus]]
kind = "sphere"
centre_mm = {}
radius_mm = 3.0
"""


def far_apart(points, count: int):
    """Nodes, each as far as can be from those before it."""
    import numpy as np

    chosen = [int(points[:, 2].argmax())]
    while len(chosen) < count:
        gaps = np.linalg.norm(points[:, None] - points[chosen][None], axis=2).min(axis=1)
        chosen.append(int(gaps.argmax()))
    return points[chosen]


def hidden(points, centres):
    """log D along the fibres, and the share of scar, at points."""
    import numpy as np

    random, waves = np.random.default_rng(4), 500
    k = random.standard_normal((waves, 3)) / LENGTH
    a, b = random.standard_normal((2, waves))
    phase = points @ k.T
    smooth = (np.cos(phase) @ a + np.sin(phase) @ b) / np.sqrt(waves)
    share = np.zeros(len(points))
    for centre, radius in zip(centres, RADII, strict=True):
        beyond = np.linalg.norm(points - centre[None], axis=1) - radius
        share = np.maximum(share, 1.0 / (1.0 + np.exp(np.clip(beyond / 0.25, -50.0, 50.0))))
    return np.log(0.3) + 0.25 * smooth - DEPTH * share, share


def true_map(folder: Path) -> dict[str, Any]:
    """Writes the map of a truth on a mesh twice as fine; what is known of it."""
    import jax.numpy as jnp
    import numpy as np

    import jaxtwin as jt
    from jaxtwin.observe import write_csv

    from ..path import DATA

    mesh = jt.refine(jt.repair(jt.read_mesh(DATA / "atrium_dtmri/Labelled.pts").mesh).mesh)
    # three sites, two scars, and a site that is not mapped
    places = np.round(far_apart(mesh.points[::16], 6), 2)
    sites, centres = places[[0, 1, 2, 5]], places[3:5]
    log_d, share = hidden(mesh.points, centres)
    space = jt.Space(mesh)
    along = jnp.exp(space.to_cells(jnp.asarray(log_d, space.mass.dtype)))
    tensor = jt.diffusion_tensor(mesh.fibres, along, RATIO)
    lat = []
    for site in sites:
        stimulus = jt.pulse(jt.in_sphere(mesh, site, 3.0), len(mesh.points))
        tissue = jt.Tissue(space, jt.MitchellSchaeffer(), tensor, stimulus)
        solution = jt.simulate(tissue, jt.Times(200.0, 0.2), recorders=(jt.ActivationTimes(),))
        lat.append(np.asarray(solution.records[0]))
    random = np.random.default_rng(0)
    where = random.choice(np.flatnonzero(np.isfinite(lat).all(axis=0)), POINTS, replace=False)
    maps = len(sites) - 1
    measured = np.stack(lat)[:maps, where] + NOISE * random.standard_normal((maps, POINTS))
    data = jt.MappingData(
        np.tile(mesh.points[where], (maps, 1)), measured.ravel(),
        map_index=np.repeat(np.arange(maps), POINTS), names=tuple(f"site {k + 1}" for k in range(maps)),
    )  # fmt: skip
    write_csv(folder / "map.csv", data)
    return {"mesh": mesh, "log_d": log_d, "scar": share, "lat": np.stack(lat), "sites": sites}
