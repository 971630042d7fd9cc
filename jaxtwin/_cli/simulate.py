"""`jaxtwin simulate`: the beats of a case, each from rest."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..case import Case, Prepared, prepare
from ..monodomain import Result, Times, simulate_in_parts, why_silent
from ..signals import Beats, NumericalError, beat_recorders, beats_of, numerical_error
from ..view import activation_map, save_figure, write_vtkhdf
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


def named(name: str, beat: int = 1, wave: int = 1) -> str:
    """The name of an array `name_unit` of a beat and of a wave in it, both from 1: those of the first have no
    number."""
    base, _, unit = name.rpartition("_")
    beats, waves = f"_beat_{beat}" if beat > 1 else "", f"_wave_{wave}" if wave > 1 else ""
    return f"{base}{beats}{waves}_{unit}"


class Simulated:
    """One beat of a case: its arrays, its part of the summary, and what a user should know of it."""

    def __init__(self, ready: Prepared, beat: int, progress: Callable[[float], None]):
        tissue, times, case = ready.tissue(beat - 1), ready.times, ready.case
        stimulus, begin = ready.beats[beat - 1], time.perf_counter()
        self.number, self.several = beat, len(case.beats) > 1
        recorders = beat_recorders(stimulus)
        every = frames_of(times, case.time.frame_ms)
        frames, self.stamps, solution = [], [], None
        for now, solution in simulate_in_parts(tissue, times, every=every, recorders=recorders):
            frames.append(np.asarray(solution.state.u))
            self.stamps.append(now)
            progress(now)
        assert solution is not None
        solved = time.perf_counter()
        volts = np.asarray(ready.cells.millivolts(jnp.asarray(np.stack(frames))), np.float32)
        self.frames = {named("voltage_mV", beat): volts}
        self.times, self.warnings = {}, []
        found = beats_of(stimulus, solution.records)
        self.lat = found.activation_ms[0]
        self.table: dict[str, Any] = {
            "waves": [self._wave(found, wave, times.stop) for wave in range(1, len(found.onset_ms) + 1)]
        }
        if solution.result == Result.SILENT:
            self.warnings.append(why_silent(tissue, times))
        self.error = numerical_error(tissue, times, self.lat) if case.mesh.error_estimate else None
        self.table["numerical_error_ms"] = None
        if self.error is not None:
            self.table["numerical_error_ms"] = describe(self.error, case.map.sigma_ms, self.warnings)
            self.times[named("activation_error_ms", beat)] = self.error.of_nodes
        self.seconds = {"solve": solved - begin, "estimate": time.perf_counter() - solved}

    def _wave(self, found: Beats, wave: int, stop: float) -> dict[str, Any]:
        """One wave of the beat for the summary; keeps its arrays and warnings."""
        lat, late = found.activation_ms[wave - 1], found.repolarisation_ms[wave - 1]
        activated, onset = np.isfinite(lat), float(found.onset_ms[wave - 1])
        which = [f"beat {self.number}"] if self.several else []
        which += [f"wave {wave} ({onset:g} ms)"] if len(found.onset_ms) > 1 else []
        head = f"{', '.join(which)}: ".capitalize() if which else ""
        if not activated.all():
            missed = int((~activated).sum())
            self.warnings.append(f"{head}{missed} of {len(lat)} nodes were not activated by {stop:g} ms.")
        if (still := int((activated & ~np.isfinite(late)).sum())) > 0:
            self.warnings.append(
                f"{head}{still} activated nodes had not repolarised by {stop:g} ms ([time] end_ms)."
            )
        self.times[named("activation_ms", self.number, wave)] = lat
        self.times[named("repolarisation_ms", self.number, wave)] = late
        return {
            "onset_ms": onset, "activated_nodes": int(activated.sum()),
            "activated_fraction": float(activated.mean()),
            "first_activation_ms": float(np.nanmin(lat)) if activated.any() else None,
            "last_activation_ms": float(np.nanmax(lat)) if activated.any() else None,
        }  # fmt: skip


def run_simulate(
    case: Case, folder: Path, say: Say, progress: Callable[[float, float, int], None]
) -> dict[str, Any]:
    """Runs the beats of a case, each from rest, and writes the results into `folder`; returns the summary.

    Pulses of a beat less than 50 ms apart start one wave; activation and repolarisation are kept for each
    wave of each beat. `progress(now_ms, end_ms, beat)` is called after each frame.
    """
    begin = time.perf_counter()
    ready = prepare(case)
    for note in ready.notes:
        say(note)
    mesh, times, beats = ready.heart.mesh, ready.times, []
    prepared = time.perf_counter()
    for number in range(1, len(case.beats) + 1):
        one = Simulated(ready, number, lambda now, k=number: progress(now, times.stop, k))
        beats.append(one)
        if one.error is not None:
            say(
                f"Numerical error of the activation times{f' of beat {number}' if one.several else ''}, "
                f"estimated: {one.error.rms:.2g} ms (rms), {one.error.largest:.2g} ms at most."
            )
    warnings = [*ready.warnings, *(warning for one in beats for warning in one.warnings)]
    record = provenance(ready.resolved(times), ready.sources, [*ready.notes, *warnings])
    fields = {name: values for one in beats for name, values in one.times.items()}
    voltages = {name: values for one in beats for name, values in one.frames.items()}
    write_vtkhdf(
        folder / "result.vtkhdf", mesh, times_ms=np.asarray(beats[0].stamps), provenance=record,
        activation=frozenset(fields),
        point_data={"original_node": ready.heart.origin} | voltages | fields,
    )  # fmt: skip
    if mesh.corners > 2 and np.isfinite(beats[0].lat).any():
        save_figure(activation_map(mesh, beats[0].lat), folder / "activation.png")
    first = {key: value for key, value in beats[0].table["waves"][0].items() if key != "onset_ms"}
    summary = {
        "nodes": len(mesh.points), "cells": len(mesh.cells), "steps": times.steps, "step_ms": times.dt,
        **first, "beats": [one.table for one in beats],
        "diffusivity_mm2_per_ms": ready.diffusivity, "plane_wave_speed_mm_per_ms": ready.speed,
        "seconds": {
            "prepare": prepared - begin,
            **{name: sum(one.seconds[name] for one in beats) for name in ("solve", "estimate")},
            "total": time.perf_counter() - begin,
        },
        "numerical_error_ms": beats[0].table["numerical_error_ms"],
        "warnings": warnings, "notes": ready.notes, "notice": DISCLAIMER, "provenance": record,
    }  # fmt: skip
    write_json(folder / "summary.json", summary)
    (folder / "resolved.toml").write_text(record["case"], encoding="utf-8")
    for warning in warnings:
        say(warning)
    return summary
