"""`jaxtwin simulate`: a beat from a case."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..fem import Space
from ..mapping import project
from ..monodomain import Result, Times, Tissue, diffusion_tensor, simulate_in_parts, why_silent
from ..signals import Beats, NumericalError, beat_recorders, beats_of, numerical_error, wave_speed
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
    warnings += error.notes()
    return {
        "rms": error.rms, "largest": error.largest, "split_nodes": error.split,
        "blocked_nodes": error.blocked,
    }  # fmt: skip


def beat_summary(
    found: Beats, number: int, nodes: int, stop: float
) -> tuple[dict[str, Any], dict[str, np.ndarray], list[str]]:
    """What a summary says of a beat (from 1), its arrays by name, and sentences a user should see."""
    lat, late = found.activation_ms[number - 1], found.repolarisation_ms[number - 1]
    activated, several = np.isfinite(lat), len(found.onset_ms) > 1
    # the first beat keeps the names that it has where there is one
    suffix = f"_{number}" if number > 1 else ""
    beat = f"Beat {number} ({found.onset_ms[number - 1]:g} ms): " if several else ""
    warnings, any_at_all = [], bool(activated.any())
    if not activated.all():
        warnings.append(
            f"{beat}{int((~activated).sum())} of {nodes} nodes were not activated by {stop:g} ms."
        )
    if (still := int((activated & ~np.isfinite(late)).sum())) > 0:
        warnings.append(f"{beat}{still} activated nodes had not repolarised by {stop:g} ms ([time] end_ms).")
    table = {
        "activated_nodes": int(activated.sum()), "activated_fraction": float(activated.mean()),
        "first_activation_ms": float(np.nanmin(lat)) if any_at_all else None,
        "last_activation_ms": float(np.nanmax(lat)) if any_at_all else None,
    }  # fmt: skip
    return table, {f"activation{suffix}_ms": lat, f"repolarisation{suffix}_ms": late}, warnings


def run_simulate(case: Case, folder: Path, say: Say, progress: Callable[[float, float], None]) -> None:
    """Runs a case with all of its stimuli, on the clock of the map where they come from one.

    Stimuli less than 50 ms apart are one beat; activation and repolarisation are kept for each beat.

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
    warnings = [*heart.warnings, *build.check_step(case, space)]
    tensor = diffusion_tensor(
        heart.mesh.fibres, jnp.asarray(along, space.mass.dtype), case.tissue.anisotropy_ratio
    )
    stop = start + 500.0 if case.time.end_ms is None else case.time.end_ms
    times = Times(stop, case.time.step_ms, start)
    case = build.resolved(case, time={"end_ms": times.stop})
    every = frames_of(times, case.time.frame_ms)
    recorders = beat_recorders(total)
    frames, stamps, solution = [], [], None
    prepared = time.perf_counter()
    tissue = Tissue(space, ionic, tensor, total)
    for now, solution in simulate_in_parts(tissue, times, every=every, recorders=recorders):
        frames.append(np.asarray(solution.state.u))
        stamps.append(now)
        progress(now, times.stop)
    assert solution is not None
    solved = time.perf_counter()
    found = beats_of(total, solution.records)
    lat, fields, beats = found.activation_ms[0], {}, []
    for number, onset in enumerate(found.onset_ms, start=1):
        table, arrays, notes = beat_summary(found, number, len(lat), times.stop)
        beats.append({"onset_ms": float(onset)} | table)
        fields |= arrays
        warnings += notes
    if solution.result == Result.SILENT:
        warnings.append(why_silent(tissue, times))
    resolution = None
    if case.mesh.error_estimate:
        error = numerical_error(tissue, times, lat)
        resolution = describe(error, case.map.sigma_ms, warnings)
        fields |= {"activation_error_ms": error.of_nodes}
        say(
            f"Numerical error of the activation times, estimated: {error.rms:.2g} ms (rms), "
            f"{error.largest:.2g} ms at most."
        )
    estimated = time.perf_counter()
    record = provenance(case, sources, [*heart.notes, *warnings])
    write_vtkhdf(
        folder / "result.vtkhdf", heart.mesh, times_ms=np.asarray(stamps), provenance=record,
        activation=frozenset(fields),
        point_data={
            "voltage_mV": np.asarray(ionic.millivolts(jnp.asarray(np.stack(frames))), np.float32),
            "original_node": heart.origin,
        } | fields,
    )  # fmt: skip
    if heart.mesh.corners > 2 and np.isfinite(lat).any():
        save_figure(activation_map(heart.mesh, lat), folder / "activation.png")
    summary = {
        "nodes": len(lat), "cells": len(heart.mesh.cells), "steps": times.steps, "step_ms": times.dt,
        **{key: value for key, value in beats[0].items() if key != "onset_ms"}, "beats": beats,
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
