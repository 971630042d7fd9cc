"""`jaxtwin demo`: a synthetic atrium with a hidden scar, found from noisy activation times."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..anatomy import atrial_shell, reorder
from ..cells import MitchellSchaeffer
from ..fem import Space, locate, matern_modes
from ..inference import EIKONAL_ROUNDS, Assessment, fit
from ..mapping import MappingData
from ..monodomain import Times, Tissue, diffusion_tensor, in_sphere, pulse, simulate
from ..signals import ActivationTimes
from ..twin import LogDiffusivity, Twin, field, scar_field
from ..view import activation_map, conductivity_map, residual_map, save_figure, scar_map, write_vtkhdf
from .folder import DISCLAIMER, circumstances, write_json

NOISE_MS = 2.0
POINTS = 250
RATIO = 2.5
SPEED = 0.7  # mm/ms, of healthy tissue along the fibres
SCAR_RADIUS = 9.0  # mm
SCAR_FACTOR = 0.12  # conductivity inside the scar over outside


def scar_site(points: np.ndarray) -> np.ndarray:
    """Centre of the hidden scar: on the posterior wall, off every pacing site."""
    aim = np.asarray([0.2, -1.0, 0.1])
    return points[(points @ (aim / np.linalg.norm(aim))).argmax()]


def hidden_scar(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Scar fraction at each point: 1 inside, 0 outside, over a border of 2 mm."""
    distance = np.linalg.norm(points - centre[None], axis=1)
    return np.clip(0.5 + (SCAR_RADIUS - distance) / 2.0, 0.0, 1.0)


def pacing_sites(points: np.ndarray) -> list[np.ndarray]:
    """Three sites around the shell, and a fourth that the fit never sees."""
    aims = [(1.0, 0.0, 0.6), (-1.0, 0.2, 0.3), (0.1, 0.9, -0.1), (-0.2, -0.5, 0.9)]
    return [points[(points @ np.asarray(aim)).argmax()] for aim in aims]


def truth(edge: float, times: Times, centre: np.ndarray, sites) -> tuple[Any, np.ndarray]:
    """Activation times of the true heart, computed on its own, finer mesh: (mesh, (sites, nodes))."""
    mesh = reorder(atrial_shell(edge)).mesh
    space = Space(mesh, mass_scaling=0.005)
    ionic = MitchellSchaeffer()
    healthy = float(ionic.diffusivity(SPEED))
    scar = jnp.asarray(hidden_scar(mesh.centroids, centre), space.mass.dtype)
    tensor = diffusion_tensor(mesh.fibres, healthy * SCAR_FACTOR**scar, RATIO)
    rows = []
    for site in sites:
        stimulus = pulse(in_sphere(mesh, site, 3.0), len(mesh.points))
        solution = simulate(Tissue(space, ionic, tensor, stimulus), times, recorders=(ActivationTimes(),))
        rows.append(np.asarray(solution.records[0]))
    return mesh, np.stack(rows)


def dice(one: np.ndarray, other: np.ndarray, weight: np.ndarray) -> float:
    """Overlap of two areas, 0 to 1."""
    return float(2 * weight[one & other].sum() / max(weight[one].sum() + weight[other].sum(), 1e-12))


def run_demo(
    folder: Path, say: Callable[[str], None], progress: Callable[[int, int, Assessment], None], *,
    edge: float = 1.8, iterations: int = 15, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Makes the truth on a mesh twice as fine, maps it with noise, fits, compares. Returns the summary."""
    begin = time.perf_counter()
    mesh = reorder(atrial_shell(edge)).mesh
    centre, sites = scar_site(mesh.points), pacing_sites(mesh.points)
    times = Times(160.0, 0.1)
    say(
        f"Truth: atrial shell with edges of {edge / 2:g} mm, scar of {SCAR_RADIUS:g} mm radius, "
        f"{len(sites)} pacing sites."
    )
    fine, lat = truth(edge / 2, times, centre, sites)
    random = np.random.default_rng(seed)
    where = random.choice(len(fine.points), POINTS, replace=False)
    mapped = sites[:-1]
    data = MappingData(
        np.tile(fine.points[where], (len(mapped), 1)),
        (lat[: len(mapped), where] + NOISE_MS * random.standard_normal((len(mapped), POINTS))).ravel(),
        map_index=np.repeat(np.arange(len(mapped)), POINTS),
        names=tuple(f"paced from site {k + 1}" for k in range(len(mapped))),
    )
    say(
        f"Map: {POINTS} points, {len(mapped)} sites, noise {NOISE_MS:g} ms. "
        "The last site is kept for validation."
    )
    ionic = MitchellSchaeffer()
    modes = matern_modes(mesh, correlation_length=12.0, count=120)
    tissue_map = LogDiffusivity(
        field(modes, sd=0.2, level_sd=0.5),
        scar_basis=scar_field(modes),
        reference=float(ionic.diffusivity(0.6)),
        floor=0.02,
        ceiling=2.5,
        ratio=RATIO,
    )
    stimuli = tuple(pulse(in_sphere(mesh, site, 3.0), len(mesh.points)) for site in sites)
    twin = Twin(mesh, cells=ionic, tissue_map=tissue_map, beats=stimuli[:-1], times=times)
    found = fit(
        twin, data.with_sigma(NOISE_MS), iterations=iterations,
        report=lambda i, a: progress(i, iterations + EIKONAL_ROUNDS, a),
    )  # fmt: skip
    of_tissue = found.theta["tissue"]
    d, scar = np.asarray(tissue_map.diffusivity(of_tissue)), np.asarray(tissue_map.scar(of_tissue))
    true_scar = hidden_scar(mesh.points, centre)
    healthy = float(ionic.diffusivity(SPEED))
    true_d = healthy * SCAR_FACTOR**true_scar
    mass = np.asarray(twin.space.mass)
    low = scar > 0.5  # by the estimate alone: what is healthy and how deep a scar is are not known to it
    place = locate(mesh, fine.points)
    unseen = np.asarray(place(twin.predict(found.theta, stimuli[-1])))
    before = np.asarray(place(twin.wave(twin.mean(), stimuli[-1]).activation))

    def rmse(predicted):
        return float(np.sqrt(np.nanmean((predicted - lat[-1]) ** 2)))

    outside = true_scar == 0
    summary = {
        "scar_area_mm2": {"truth": float(mass[true_scar > 0.5].sum()), "estimate": float(mass[low].sum())},
        "scar_dice": dice(low, true_scar > 0.5, mass),
        "scar_centre_distance_mm": float(
            np.linalg.norm(np.average(mesh.points[low], axis=0, weights=mass[low]) - np.average(
                mesh.points[true_scar > 0.5], axis=0, weights=mass[true_scar > 0.5]))
        ) if low.any() else None,
        "healthy_speed_mm_per_ms": {
            "truth": SPEED, "estimate": float(np.median(np.asarray(ionic.speed(d))[outside])),
        },
        "relative_error_of_log_D": float(np.sqrt(np.average(np.log(d / true_d) ** 2, weights=mass))),
        "rmse_fit_ms": found.rmse_ms, "noise_ms": NOISE_MS,
        "unseen_site_rmse_ms": {"before_fit": rmse(before), "after_fit": rmse(unseen)},
        "unseen_site_not_reached": int((~np.isfinite(unseen)).sum()),
        "unseen_site_correlation": float(np.corrcoef(lat[-1], unseen)[0, 1]),
        "iterations": len(found.history) - 1, "seconds": time.perf_counter() - begin, "notice": DISCLAIMER,
    }  # fmt: skip
    save_figure(activation_map(mesh, np.asarray(twin.predict(found.theta, 0))), folder / "activation.png")
    save_figure(
        conductivity_map(mesh, true_d, title="Conductivity: the hidden truth"),
        folder / "conductivity_truth.png",
    )
    save_figure(conductivity_map(mesh, d, title="Conductivity: estimated"), folder / "conductivity.png")
    save_figure(scar_map(mesh, scar, title="Scar: estimated"), folder / "scar.png")
    save_figure(
        residual_map(
            fine,
            fine.points[where],
            unseen[where] - lat[-1][where],
            title="Site never seen: prediction less truth",
        ),
        folder / "residuals.png",
    )
    settings = {"edge_mm": edge, "iterations": iterations, "seed": seed}
    write_vtkhdf(
        folder / "result.vtkhdf", mesh, times_ms=np.asarray([0.0]), provenance=circumstances() | settings,
        point_data={
            "diffusivity_mm2_per_ms": d, "diffusivity_truth_mm2_per_ms": true_d, "scar": scar,
            "activation_ms": np.asarray(twin.predict(found.theta, 0)),
        },
    )  # fmt: skip
    summary["seconds"] = time.perf_counter() - begin
    write_json(folder / "summary.json", summary)
    lines = [f"{key} = {value}" for key, value in settings.items()]
    (folder / "resolved.toml").write_text("\n".join(["[demo]", *lines, ""]), encoding="utf-8")
    return summary
