"""`jaxtwin fit`: conductivity (and scar) from a measured map."""

import time
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import InputError
from .._units import conductivity_from_diffusivity
from ..assurance import hold_out, judge
from ..fem import matern_modes
from ..inference import EIKONAL_ROUNDS, Assessment, Voltage, fit, posterior, predict, spread
from ..mapping import MappingData, project
from ..monodomain import Checkpointed, Times
from ..signals import wave_speed
from ..twin import LogDiffusivity, Twin, at_once, field, offset_ms, per_region, uniform
from ..view import (
    activation_map,
    conductivity_map,
    convergence,
    fit_summary,
    information_map,
    residual_map,
    save_figure,
    scar_map,
    write_vtkhdf,
)
from . import build
from .case import Case
from .folder import DISCLAIMER, provenance, write_json
from .simulate import Say, describe

TENSOR_SD, TENSOR_LEVEL_SD = 1.0, 1.6  # of log(D_l/D_t) as a vector: 2.2 in the mean, speeds 3 to 1
ACROSS = "speed_across_mm_per_ms"
ENOUGH_MAPS = 3  # for the three numbers of a tensor


def parameterisation(case: Case, mesh, reference: float) -> LogDiffusivity:
    """What the [fit] table of a case asks for."""
    f, modes = case.fit, None
    if f.parameterisation == "field" or f.scar or f.fibres:
        count = min(f.modes, len(mesh.points) // 3)
        modes = matern_modes(mesh, correlation_length=f.correlation_length_mm, count=count)
    if f.parameterisation == "field" and modes is not None:
        basis = field(modes, f.sd_log)
    elif f.parameterisation == "regions":
        basis = per_region(mesh, f.sd_log)
    else:
        basis = uniform(len(mesh.points), f.sd_log)
    scar = field(modes, sd=1.5, level_sd=0.3) if f.scar and modes is not None else None
    # what the map has to say of fibres it says alone: no direction is likelier than another
    tensor = field(modes, TENSOR_SD, TENSOR_LEVEL_SD) if f.fibres and modes is not None else None
    return LogDiffusivity(
        basis, scar_basis=scar, reference=reference,
        floor=f.least_diffusivity_mm2_per_ms, ceiling=f.largest_diffusivity_mm2_per_ms,
        ratio=1.0 if f.fibres else case.tissue.anisotropy_ratio,
        ratio_basis=tensor, angle_basis=None if tensor is None else 0.5 * tensor,
    )  # fmt: skip


def discrepancy(case: Case, mesh) -> Float[Array, "nodes terms"] | None:
    """The basis of the field of times beside the model, ms; its level is the offset of the map."""
    f = case.fit
    if not f.discrepancy_ms:
        return None
    count = min(f.modes, len(mesh.points) // 3)
    modes = matern_modes(mesh, correlation_length=f.discrepancy_length_mm, count=count)
    return f.discrepancy_ms * modes.modes[:, 1:]


def beat(case: Case, data: MappingData, own_clock: bool) -> Times:
    """The grid in time that covers the map; its number of steps is a multiple of 100, for the checkpoints."""
    lat = data.lat_ms[data.valid]
    start = float(np.floor(lat.min())) - 5.0 if own_clock else 0.0
    stop = case.time.end_ms if case.time.end_ms is not None else float(lat.max()) + 25.0
    block = 100 * case.time.step_ms
    return Times(start + float(np.ceil((stop - start) / block - 1e-9)) * block, case.time.step_ms, start)


def run_fit(
    case: Case, folder: Path, checkpoint: Path, say: Say, progress: Callable[[int, int, Assessment], None]
) -> None:  # fmt: skip
    """Fits the map of a case. `progress(iteration, iterations, assessment)`. Writes into `folder`, and its
    state into the file `checkpoint`, from which it goes on where there is one."""
    begin = time.perf_counter()
    heart = build.heart(case)
    for note in heart.notes:
        say(note)
    data, more = build.mapping(case, heart)
    data, _ = project(heart.mesh, data)
    for note in data.notes:
        say(note)
    sets = hold_out(
        heart.mesh, data, fit=case.map.fit_points or None, held_out=case.map.held_out_points,
        patch_fraction=case.map.held_out_patch_fraction, seed=case.map.seed,
    )  # fmt: skip
    train = data.subset(sets.fit).with_sigma(case.map.sigma_ms)
    ionic = build.cells(case)
    reference = build.diffusivity(case, ionic)
    own_clock = case.stimulus[0].kind == "map"
    if any((s.kind == "map") != own_clock for s in case.stimulus):
        raise InputError(
            "stimuli of kind map beside others in one fit",
            "all from their maps, on the clocks of the maps, or none",
            "Give a site for each map, or take all sources from the maps",
        )
    stimuli = tuple(
        build.stimulus(case, s, heart, train, k, float(wave_speed(ionic, reference)))
        for k, s in enumerate(case.stimulus)
    )
    if case.fit.fibres and (data.maps < ENOUGH_MAPS or heart.mesh.corners != 3):
        raise InputError(
            f"[fit] fibres with {data.maps} maps of a mesh of {heart.mesh.corners} corners a cell",
            f"{ENOUGH_MAPS} maps or more of a surface of triangles: fewer do not tell direction from speed",
            "Add maps of other pacing sites, or give the fibres with the mesh",
        )
    tissue_map = parameterisation(case, heart.mesh, reference)
    if case.fit.voltage and not (case.fit.scar and (train.bipolar_mv > 0.0).any()):
        raise InputError(
            f"[fit] voltage = true with scar = {str(case.fit.scar).lower()} and "
            f"{int((train.bipolar_mv > 0.0).sum())} bipolar voltages in the map",
            "scar = true and a map with voltages (column bipolar_mv)", "Correct one of them",
        )  # fmt: skip
    twin = Twin(
        heart.mesh, cells=ionic, tissue_map=tissue_map, beats=stimuli,
        times=beat(case, train, own_clock), discrepancy=discrepancy(case, heart.mesh),
        mass_scaling=case.mesh.mass_scaling, consistent_mass=case.mesh.consistent_mass,
        adjoint=Checkpointed(case.fit.gradient_memory_GB * 1e9 / at_once(len(stimuli))),
    )  # fmt: skip
    evidence = (Voltage(case.fit.healthy_mV, case.fit.scar_mV),) if case.fit.voltage else ()
    warnings = [*heart.warnings, *data.notes, *build.check_step(case, twin.space)]
    case = build.resolved(case, time={"end_ms": twin.times.stop})
    prepared = time.perf_counter()
    if checkpoint.exists():
        say(f"Resuming from {checkpoint}.")
    found = fit(
        twin, train, evidence=evidence, iterations=case.fit.iterations, tolerance=case.fit.tolerance,
        optimiser=case.fit.optimiser,
        checkpoint=checkpoint if case.fit.optimiser == "trust_region" else None,
        report=lambda i, a: progress(i, case.fit.iterations + EIKONAL_ROUNDS, a),
    )  # fmt: skip
    fitted = time.perf_counter()
    waves = found.waves()
    uncertain = posterior(found, rank=case.fit.uncertainty_directions, waves=waves)
    fields = spread(twin, uncertain, waves=waves)
    judged = time.perf_counter()
    _, place = project(heart.mesh, data)
    beats = [twin.predict(found.theta, k, wave) for k, wave in enumerate(waves)]
    nodes = np.stack([np.asarray(lat) for lat in beats])
    noise = found.noise() * case.map.sigma_ms
    resolution = None
    if case.mesh.error_estimate:
        resolution = [describe(wave.error, noise, warnings) for wave in waves if wave.error is not None]
    at_points = np.stack([np.asarray(place(lat)) for lat in beats])
    predicted = at_points[data.map_index, np.arange(len(data.lat_ms))]
    of_tissue = found.theta["tissue"]
    d = np.asarray(tissue_map.diffusivity(of_tissue))
    conduction = principal(twin, found.theta) if case.fit.fibres else {}
    scar, mass = np.asarray(tissue_map.scar(of_tissue)), np.asarray(twin.space.mass)
    parts = {"fit": sets.fit & data.valid, "held_out_points": sets.points, "held_out_patch": sets.patch}
    scores = {
        name: judge.errors(predicted[mask], data.lat_ms[mask]) for name, mask in parts.items() if mask.any()
    }
    open_ms = np.stack([predict(twin, uncertain, k, wave=wave).std(axis=0) for k, wave in enumerate(waves)])
    half_ms, held = judge.intervals(
        heart.mesh, found.problem.arrival.errors, open_ms, noise, predicted, data, place, parts
    )
    rivals = judge.baselines(heart.mesh, data, parts)
    warnings += [
        f"{name}: {score['not_reached']} of {score['points']} points are not reached by the fitted wave."
        for name, score in scores.items()
        if score["not_reached"]
    ]
    further = None
    if case.fit.next_sites:
        further = judge.next_sites(
            found, uncertain, np.asarray(fields.scar), case.fit.next_sites, case.map.sigma_ms
        )
    record = provenance(case, [*heart.sources, *more], [*heart.notes, *warnings])
    summary = {
        "twin": scores, "baselines": rivals, "validated": judge.validated(scores, rivals),
        "physics_alone": judge.physics_alone(found, predicted, place, data, parts),
        "noise_scale_ms": noise, "numerical_error_ms": resolution,
        "offset_ms": np.asarray(offset_ms(found.theta)).tolist(),
        "diffusivity_mm2_per_ms": judge.percentiles(d),
        "conductivity_S_per_m": judge.percentiles(conductivity_from_diffusivity(d)),
        "speed_mm_per_ms": judge.percentiles(np.asarray(wave_speed(ionic, d))),
        "uncertainty": judge.uncertainty(uncertain, fields, mass), "intervals": held, "next_sites": further,
        "speed_across_mm_per_ms": judge.percentiles(conduction[ACROSS]) if conduction else None,
        "voltage_levels_mV": judge.voltage_levels(found),
        "scar_fraction": float(np.average(scar > 0.5, weights=mass)) if case.fit.scar else None,
        "iterations": len(found.history) - 1, "ended": found.reason, "loss": found.loss,
        "nodes": len(heart.mesh.points), "steps": twin.times.steps, "stages": twin.stepper.stages,
        "seconds": {
            "prepare": prepared - begin, "fit": fitted - prepared, "uncertainty": judged - fitted,
            "total": time.perf_counter() - begin,
        },
        "warnings": warnings, "notes": heart.notes, "notice": DISCLAIMER, "provenance": record,
    }  # fmt: skip
    shown = scar if case.fit.scar else None
    beats = {"activation_ms": nodes, "activation_sd_ms": open_ms, "activation_90_percent_ms": half_ms}
    where = None if further is None else np.asarray([site["position_mm"] for site in further])
    _write(
        folder, heart, twin, data, predicted, beats, d, shown, sets, found, fields, record, conduction, where
    )
    write_json(folder / "summary.json", summary)
    (folder / "resolved.toml").write_text(record["case"], encoding="utf-8")
    for warning in warnings:
        say(warning)


def principal(twin: Twin, theta) -> dict[str, np.ndarray]:
    """In each cell the direction of fastest conduction, and the speed at right angles to it in the tissue."""
    values, vectors = np.linalg.eigh(np.asarray(twin.diffusivity(theta), np.float64))
    across = np.asarray(wave_speed(twin.cells.model, jnp.asarray(values[:, -2])), np.float64)
    return {"conduction_direction": vectors[:, :, -1], ACROSS: across}


def _write(
    folder: Path,
    heart,
    twin,
    data,
    predicted,
    beats,
    d,
    scar,
    sets,
    found,
    uncertain,
    record,
    conduction,
    where,
) -> None:
    mesh = heart.mesh
    nodes = beats["activation_ms"]
    measured = {
        f"{name}_{k}" if data.maps > 1 else name: row
        for name, rows in beats.items()
        for k, row in enumerate(rows)
    }
    values = {"diffusivity_mm2_per_ms": d, "conductivity_S_per_m": conductivity_from_diffusivity(d)}
    values |= {"speed_mm_per_ms": np.asarray(wave_speed(twin.cells.model, d)), "original_node": heart.origin}
    values |= {
        "log_conductivity_sd": np.asarray(uncertain.log_sd),
        "information": np.asarray(uncertain.information),
    }
    ends = {"p5": uncertain.low, "p95": uncertain.high}
    values |= {
        f"conductivity_{name}_S_per_m": conductivity_from_diffusivity(np.asarray(end))
        for name, end in ends.items()
    }
    if scar is not None:
        values |= {"scar_probability": np.asarray(uncertain.scar)}
    write_vtkhdf(
        folder / "result.vtkhdf", mesh, times_ms=np.asarray([0.0]), provenance=record,
        point_data=measured | values | ({} if scar is None else {"scar": scar}),
        cell_data=conduction,
        activation=frozenset(name for name in measured if name.startswith("activation_ms")),
    )  # fmt: skip
    if mesh.corners == 2:
        return
    used = data.valid & (sets.fit | sets.points | sets.patch)
    first = used & (data.map_index == 0)
    save_figure(
        activation_map(mesh, nodes[0], points=data.positions[first], values=data.lat_ms[first]),
        folder / "activation.png",
    )
    save_figure(conductivity_map(mesh, d), folder / "conductivity.png")
    save_figure(
        information_map(mesh, np.asarray(uncertain.information), points=where), folder / "information.png"
    )
    if scar is not None:
        save_figure(scar_map(mesh, scar), folder / "scar.png")
    save_figure(
        residual_map(mesh, data.positions[used], (predicted - data.lat_ms)[used]), folder / "residuals.png"
    )
    save_figure(
        fit_summary(data.lat_ms[used], predicted[used], held_out=(sets.points | sets.patch)[used]),
        folder / "fit.png",
    )
    history = {name: np.asarray([row[name] for row in found.history]) for name in ("loss", "rmse_ms")}
    save_figure(convergence(history), folder / "convergence.png")
