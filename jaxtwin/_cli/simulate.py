"""`jaxtwin simulate`: a beat from a case."""

import time
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from ..fem import Space
from ..mapping import project
from ..monodomain import Times, Tissue, diffusion_tensor, simulate_in_parts
from ..observe import ActivationTimes, NumericalError, numerical_error, wave_speed
from ..view import activation_map, save_figure, write_vtkhdf
from . import build
from .case import Case
from .folder import DISCLAIMER, provenance, write_json

Say = Callable[[str], None]


def frames_of(times: Times, frame_ms: float) -> int:
    """Steps between two stored voltages."""
    return max(1, round(frame_ms / times.dt))


def describe(error: NumericalError, noise_ms: float, warnings: list[str]) -> dict[str, float]:
    """The numerical error for a summary; adds a warning where it matters."""
    if error.rms > noise_ms:
        warnings.append(
            f"The edges of the mesh move activation times by {error.rms:.2g} ms (rms), more "
            f"than the noise of {noise_ms:.2g} ms: refine the mesh ([mesh] refine = 1)."
        )
    if error.split:
        warnings.append(
            f"At {error.split} nodes the treatment of the mass decides whether a wave comes: tissue this "
            "slow is not resolved; whether it conducts is not known. Refine the mesh ([mesh] refine = 1)."
        )
    return {"rms": error.rms, "largest": error.largest, "split_nodes": error.split}


def run_simulate(case: Case, folder: Path, say: Say, progress: Callable[[float, float], None]) -> None:
    """Runs a case with all of its stimuli in one beat, on the clock of the map where they come from one.

    `progress(now_ms, end_ms)` is called after each frame. Writes into `folder`.
    """
    begin = time.perf_counter()
    heart = build.heart(case)
    for note in heart.notes:
        say(note)
    ionic = build.cells(case)
    along = build.diffusivity(case, ionic)
    speed = float(wave_speed(ionic, along))
    data, sources, start = None, list(heart.sources), 0.0
    if any(s.kind == "map" for s in case.stimulus):
        data, more = build.mapping(case, heart)
        data, _ = project(heart.mesh, data)
        for note in data.notes:
            say(note)
        sources += more
        first = float(np.floor(data.lat_ms[data.valid].min())) - 5.0
        start = first if all(s.kind == "map" for s in case.stimulus) else min(0.0, first)
    stimuli = [build.stimulus(case, s, heart, data, k, speed) for k, s in enumerate(case.stimulus)]
    total = stimuli[0]
    for other in stimuli[1:]:
        total = total + other
    space = Space(heart.mesh, mass_scaling=case.mesh.mass_scaling, consistent_mass=case.mesh.consistent_mass)
    warnings = build.check_step(case, space)
    tensor = diffusion_tensor(
        heart.mesh.fibres, jnp.asarray(along, space.mass.dtype), case.tissue.anisotropy_ratio
    )
    stop = start + 500.0 if case.time.end_ms is None else case.time.end_ms
    times = Times(stop, case.time.step_ms, start)
    case = build.resolved(case, time={"end_ms": times.stop})
    every = frames_of(times, case.time.frame_ms)
    recorders = (ActivationTimes(), ActivationTimes(upward=False))
    frames, stamps, solution = [], [], None
    prepared = time.perf_counter()
    tissue = Tissue(space, ionic, tensor, total)
    for now, solution in simulate_in_parts(tissue, times, every=every, recorders=recorders):
        frames.append(np.asarray(solution.state.u))
        stamps.append(now)
        progress(now, times.stop)
    assert solution is not None
    solved = time.perf_counter()
    lat, repolarised = (np.asarray(r) for r in solution.records)
    activated = np.isfinite(lat)
    if not activated.all():
        warnings.append(
            f"{int((~activated).sum())} of {len(lat)} nodes were not activated by {times.stop:g} ms."
        )
    if (still := int((activated & ~np.isfinite(repolarised)).sum())) > 0:
        warnings.append(f"{still} activated nodes had not repolarised by {times.stop:g} ms ([time] end_ms).")
    resolution, fields = None, {}
    if case.mesh.error_estimate:
        error = numerical_error(tissue, times, lat)
        resolution = describe(error, case.map.sigma_ms, warnings)
        fields = {"activation_error_ms": error.of_nodes}
        say(
            f"Numerical error of the activation times, estimated: {error.rms:.2g} ms (rms), "
            f"{error.largest:.2g} ms at most."
        )
    estimated = time.perf_counter()
    record = provenance(case, sources, [*heart.notes, *warnings])
    write_vtkhdf(
        folder / "result.vtkhdf", heart.mesh, times_ms=np.asarray(stamps), provenance=record,
        activation=frozenset({"activation_ms", "repolarisation_ms", *fields}),
        point_data={
            "voltage_mV": np.asarray(ionic.millivolts(jnp.asarray(np.stack(frames))), np.float32),
            "activation_ms": lat, "repolarisation_ms": repolarised, "original_node": heart.origin,
        } | fields,
    )  # fmt: skip
    if heart.mesh.corners > 2 and activated.any():
        save_figure(activation_map(heart.mesh, lat), folder / "activation.png")
    summary = {
        "nodes": len(lat), "cells": len(heart.mesh.cells), "steps": times.steps, "step_ms": times.dt,
        "activated_nodes": int(activated.sum()), "activated_fraction": float(activated.mean()),
        "first_activation_ms": float(np.nanmin(lat)) if activated.any() else None,
        "last_activation_ms": float(np.nanmax(lat)) if activated.any() else None,
        "diffusivity_mm2_per_ms": along, "plane_wave_speed_mm_per_ms": speed,
        "seconds": {
            "prepare": prepared - begin, "solve": solved - prepared, "estimate": estimated - solved,
            "total": time.perf_counter() - begin,
        },
        "numerical_error_ms": resolution,
        "warnings": warnings, "notes": heart.notes, "notice": DISCLAIMER, "provenance": record,
    }  # fmt: skip
    write_json(folder / "summary.json", summary)
    (folder / "resolved.toml").write_text(record["case"], encoding="utf-8")
    for warning in warnings:
        say(warning)
