"""Problem R: a real atrium with two hidden scars, three sites of 500 points, by `jaxtwin fit` as it comes."""

import tempfile
from pathlib import Path
from typing import Any

POINTS = 500  # for each site
NOISE = 2.0  # ms
RATIO = 4.0
LENGTH = 10.0  # mm, of the variation of log D
DEPTH = 3.0  # scar conducts exp(-DEPTH) of what the tissue around it does
RADII = (8.0, 6.0)  # mm, of the scars
SITES, SCARS = (0, 1, 2), (3, 4)  # among places that are far apart

CASE = """
[mesh]
file = "{data}/atrium_dtmri/Labelled.pts"
[tissue]
diffusivity_mm2_per_ms = 0.3
anisotropy_ratio = {ratio}
{beats}
[time]
step_ms = 0.2
[map]
file = "map.csv"
sigma_ms = {noise}
[fit]
scar = true
"""
BEAT = """
[[beat]]
[[beat.pulse]]
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
    """log D along the fibres, and the scar fraction, at points."""
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


def true_map(folder: Path):
    """Writes the map of a truth on a mesh twice as fine: (its sites, the centres of its scars)."""
    import jax.numpy as jnp
    import numpy as np

    import jaxtwin as jt
    from jaxtwin.mapping import write_csv

    from .path import DATA

    mesh = jt.refine(jt.repair(jt.read_mesh(DATA / "atrium_dtmri/Labelled.pts").mesh).mesh)
    places = np.round(far_apart(mesh.points[::16], 5), 2)
    sites, centres = places[list(SITES)], places[list(SCARS)]
    log_d, _ = hidden(mesh.points, centres)
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
    maps = len(sites)
    measured = np.stack(lat)[:, where] + NOISE * random.standard_normal((maps, POINTS))
    data = jt.MappingData(
        np.tile(mesh.points[where], (maps, 1)), measured.ravel(),
        map_index=np.repeat(np.arange(maps), POINTS), names=tuple(f"site {k + 1}" for k in range(maps)),
    )  # fmt: skip
    write_csv(folder / "map.csv", data)
    return sites, centres


def atrium() -> dict[str, Any]:
    """Fields of diffusivity and scar with their uncertainty, against the truth."""
    import numpy as np

    from jaxtwin.fem import lumped_mass
    from jaxtwin.view import read_vtkhdf

    from .path import DATA, run_in

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sites, centres = true_map(folder)
        beats = "".join(BEAT.format(site.tolist()) for site in sites)
        text = CASE.format(data=DATA.as_posix(), ratio=RATIO, beats=beats, noise=NOISE)
        summary = run_in(folder, "fit", text)
        result = read_vtkhdf(folder / "result" / "result.vtkhdf")
    fields, mass = result.point_data, lumped_mass(result.mesh)
    log_d, share = hidden(result.mesh.points, centres)
    true, found = share > 0.5, fields["scar"] > 0.5
    low, high = (fields[f"conductivity_{end}_S_per_m"] for end in ("p5", "p95"))
    true_s = fields["conductivity_S_per_m"] / fields["diffusivity_mm2_per_ms"] * np.exp(log_d)
    healthy = share < 0.01
    held = (low <= true_s) & (true_s <= high)
    gap = fields["diffusivity_mm2_per_ms"] - np.exp(log_d)
    return summary | {
        "fit_wall_s": summary["wall_s"],
        "scar_dice": float(2 * mass[true & found].sum() / (mass[true].sum() + mass[found].sum())),
        "conductivity_error": float(np.sqrt(mass @ gap**2 / (mass @ np.exp(2 * log_d)))),
        "held_by_90_percent_intervals": float(np.average(held[healthy], weights=mass[healthy])),
    }
