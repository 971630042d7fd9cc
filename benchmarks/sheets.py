"""Problem S as a user solves it: scars of unknown depth and border, by `jaxtwin fit` with its defaults."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .path import jaxtwin

EDGE = 0.5  # mm, of the sheet that is fitted; the truth has half of it
SIDE = 40.0  # mm
RATIO = 4.0
SITES = ([0.0, 0.0], [40.0, 0.0], [0.0, 40.0], [40.0, 40.0], [20.0, 0.0])  # the last is not mapped
POINTS = 250  # at each site
TRUTHS = 10
NORMAL = 1.6449  # half-width of a 90 % interval in standard deviations

CASE = """
[mesh]
file = "heart.vtu"

[tissue]
speed_mm_per_ms = 0.7
anisotropy_ratio = {ratio:g}

{beats}
[map]
file = "maps.csv"

[fit]
scar = true

[output]
folder = "result"
"""
BEAT = """[[beat]]
[[beat.pulse]]
kind = "sphere"
centre_mm = {centre}
radius_mm = 2.0
"""


class Truth:
    """A sheet with a field of log D and one scar; the seed draws their shape, size and steepness.

    - `depth`: log D outside over inside the scar, 2 to 4. `border`: its border falls from 73 to 27 % within
      this width, 0.25 to 1.5 mm. `length`: correlation length of the field, 5 to 12 mm.
    """

    def __init__(self, seed: int):
        random = np.random.default_rng(9000 + seed)
        self.depth, self.border, self.length = random.uniform([2.0, 0.25, 5.0], [4.0, 1.5, 12.0])
        self.centre, self.turn = random.uniform(14.0, 26.0, 2), random.uniform(0.0, np.pi)
        self.axes = random.uniform([5.0, 3.5], [8.0, 5.0])
        waves = 500
        self.waves = random.standard_normal((waves, 2)) / self.length
        self.parts = random.standard_normal((2, waves)) / np.sqrt(waves)

    def scar(self, points: np.ndarray) -> np.ndarray:
        """Its fraction at the points, 0 to 1."""
        gap = points[:, :2] - self.centre[None]
        x = gap @ [np.cos(self.turn), np.sin(self.turn)]
        y = gap @ [-np.sin(self.turn), np.cos(self.turn)]
        beyond = (np.hypot(x / self.axes[0], y / self.axes[1]) - 1.0) * self.axes.mean()
        return 1.0 / (1.0 + np.exp(np.clip(2.0 * beyond / self.border, -50.0, 50.0)))

    def log_diffusivity(self, points: np.ndarray) -> np.ndarray:
        """Along the fibres at the points."""
        phase = points[:, :2] @ self.waves.T
        field = np.cos(phase) @ self.parts[0] + np.sin(phase) @ self.parts[1]
        return np.log(0.3) + 0.25 * field - self.depth * self.scar(points)

    def maps(self):
        """The mesh of the truth, and the activation times of all sites at its nodes, (sites, nodes)."""
        import jax.numpy as jnp

        import jaxtwin as jt

        mesh = jt.sheet(SIDE, SIDE, EDGE / 2, fibre_angle=np.pi / 6, distortion=0.15, seed=7)
        space = jt.Space(mesh)
        along = jnp.exp(space.to_cells(jnp.asarray(self.log_diffusivity(mesh.points), space.mass.dtype)))
        tensor, rows = jt.diffusion_tensor(mesh.fibres, along, RATIO), []
        for site in SITES:
            stimulus = jt.pulse(jt.in_sphere(mesh, site, 2.0), len(mesh.points))
            tissue = jt.Tissue(space, jt.MitchellSchaeffer(), tensor, stimulus)
            solution = jt.simulate(tissue, jt.Times(300.0, 0.2), recorders=(jt.ActivationTimes(),))
            rows.append(np.asarray(solution.records[0]))
        return mesh, np.stack(rows)


def write_case(folder: Path, fine, lat: np.ndarray, noise_ms: float, seed: int) -> None:
    """The sheet to fit, the maps of all sites but the last, and a case that knows nothing of the truth."""
    import jax.numpy as jnp

    import jaxtwin as jt
    from jaxtwin.fem import locate

    mesh = jt.sheet(SIDE, SIDE, EDGE, fibre_angle=np.pi / 6, distortion=0.15, seed=3)
    jt.write_mesh(folder / "heart.vtu", mesh)
    random = np.random.default_rng(50 + seed)
    points = random.uniform(0.0, SIDE, (POINTS, 2))
    place, rows = locate(fine, points), ["x_mm,y_mm,z_mm,lat_ms,map_id"]
    for k, row in enumerate(lat[:-1]):
        times = np.asarray(place(jnp.asarray(row))) + noise_ms * random.standard_normal(POINTS)
        rows += [f"{x:.4f},{y:.4f},0,{t:.3f},{k}" for (x, y), t in zip(points, times, strict=True)]
    (folder / "maps.csv").write_text("\n".join(rows) + "\n")
    beats = "\n".join(BEAT.format(centre=[*site, 0.0]) for site in SITES[:-1])
    (folder / "case.toml").write_text(CASE.format(ratio=RATIO, beats=beats))


def judged(folder: Path, truth: Truth, fine, lat: np.ndarray) -> dict[str, Any]:
    """The errors of a fit in its folder, as it predicts: nothing is aligned."""
    import jax.numpy as jnp

    import jaxtwin as jt
    from jaxtwin.fem import locate

    saved = jt.read_twin(folder / "result" / "twin.h5")
    assert saved.posterior is not None
    twin, theta, mesh = saved.fit.twin, saved.fit.theta, saved.fit.twin.mesh
    scar = np.asarray(twin.tissue_map.scar(theta["tissue"])) > 0.5
    d = np.asarray(twin.tissue_map.diffusivity(theta["tissue"]))
    true_d, true_scar = np.exp(truth.log_diffusivity(mesh.points)), truth.scar(mesh.points) > 0.5
    mass = np.asarray(twin.space.mass)
    stimulus = jt.pulse(jt.in_sphere(mesh, [*SITES[-1], 0.0], 2.0), len(mesh.points))
    place = locate(fine, mesh.points[:, :2])
    there = np.asarray(place(jnp.asarray(lat[-1])))
    predicted = np.asarray(twin.predict(theta, stimulus))
    sd = jt.predict(twin, saved.posterior, stimulus).std(axis=0)
    gap = predicted - there
    reached = np.isfinite(gap)
    return {
        "dice": float(2 * mass[scar & true_scar].sum() / (mass[scar].sum() + mass[true_scar].sum())),
        "conductivity_error": float(np.sqrt(mass @ (d - true_d) ** 2 / (mass @ true_d**2))),
        "unseen_rmse_ms": float(np.sqrt(np.mean(gap[reached] ** 2))),
        "unseen_bias_ms": float(gap[reached].mean()), "unseen_not_reached": int((~reached).sum()),
        "held": float((np.abs(gap[reached]) <= NORMAL * sd[reached]).mean()),
        "sd_ms": float(np.sqrt(np.mean(sd[reached] ** 2))),
    }  # fmt: skip


def one(seed: int, noise_ms: float) -> dict[str, Any]:
    """One truth, one set of maps, one `jaxtwin fit`, and its errors."""
    truth = Truth(seed)
    fine, lat = truth.maps()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_case(folder, fine, lat, noise_ms, seed)
        seconds = jaxtwin(folder, "fit", str(folder / "case.toml"))
        summary = json.loads((folder / "result" / "summary.json").read_text())
        errors = judged(folder, truth, fine, lat)
    told = {name: summary[name] for name in ("seconds", "iterations", "ended", "noise_scale_ms")}
    drawn = {"depth": truth.depth, "border_mm": truth.border, "length_mm": truth.length}
    return {"seed": seed, "wall_s": seconds} | drawn | errors | told


def sheets(noise_ms: float, truths: int = TRUTHS) -> dict[str, Any]:
    """Problem S with the defaults of the command line at one noise level, truths of all kinds."""
    runs = [one(seed, noise_ms) for seed in range(truths)]

    def mean(name: str) -> float:
        return float(np.mean([r[name] for r in runs]))

    return {
        "largest_wall_s": max(r["wall_s"] for r in runs), "mean_wall_s": mean("wall_s"),
        "mean_dice": mean("dice"), "least_dice": min(r["dice"] for r in runs),
        "mean_conductivity_error": mean("conductivity_error"),
        "mean_unseen_rmse_ms": mean("unseen_rmse_ms"),
        "mean_unseen_bias_ms": float(np.mean([abs(r["unseen_bias_ms"]) for r in runs])),
        "held_at_unseen": mean("held"), "runs": runs,
    }  # fmt: skip
