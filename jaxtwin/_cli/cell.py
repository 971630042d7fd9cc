"""`jaxtwin cell`: a single cell, paced to a steady beat."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._files import atomic_write
from .._results import InputError, SolveError, nearest
from ..cells import (
    DRUGS,
    MODELS,
    AbstractIonicModel,
    Paced,
    Restitution,
    action_potentials,
    pace,
    restitution,
    variants,
    with_drugs,
)
from ..view import restitution_curve, save_figure, trace
from .folder import DISCLAIMER, circumstances, write_json

MARK = "cell.png"  # by which the folder of a run is known
FRACTIONS = np.concatenate([np.arange(0.24, 0.5, 0.02), np.arange(0.5, 1.01, 0.05)])  # of the cycle: S2


def model_of(name: str, variant: str) -> AbstractIonicModel:
    """A model by its name and that of one of its variants; raises `InputError` for others."""
    if name not in MODELS:
        raise InputError(f"the cell model '{name}'", nearest(name, MODELS), "Correct the name")
    kind = MODELS[name]
    if not variant:
        return kind()
    known = variants(kind)
    if variant not in known:
        wanted = nearest(variant, known) if known else "no variant: it has none"
        raise InputError(f"the variant '{variant}' of {name}", wanted, "Correct --variant")
    return known[variant]()


def numbers(given: Sequence[str], option: str, example: str) -> dict[str, float]:
    """NAME=NUMBER as a dictionary; raises `InputError` for anything else."""
    found = {}
    for text in given:
        name, _, value = text.partition("=")
        wanted = f"a name, =, and a number of 0 or more, such as {option} {example}"
        try:
            number = float(value)
        except ValueError as error:
            raise InputError(f"{option} {text}", wanted, "Correct it") from error
        if not 0.0 <= number < np.inf:
            raise InputError(f"{option} {text}", wanted, "Correct it")
        found[name.strip()] = number
    return found


def changed(
    model: AbstractIonicModel, scale: Sequence[str], drugs: Sequence[str]
) -> tuple[AbstractIonicModel, list[str]]:
    """The model with what was asked for, and what it does not have of that."""
    concentrations = numbers(drugs, "--drug", "dofetilide=2")
    found, missing = with_drugs(model.scaled(**numbers(scale, "--scale", "g_Kr=0.5")), concentrations)
    warnings = [f"The model has no separate current for {each}: that block is left out." for each in missing]
    for name, concentration in concentrations.items():
        if concentration > 20.0 * DRUGS[name].peak_nM:
            warnings.append(
                f"{concentration:g} nM {name} is {concentration / DRUGS[name].peak_nM:.0f} times its free "
                "peak concentration in patients."
            )
    return found, warnings


class Beating:
    """A model after pacing: its last two beats, and their numbers."""

    def __init__(self, model: AbstractIonicModel, interval_ms: float, beats: int, step_ms: float):
        self.model = model
        shown = (interval_ms,) * min(beats, 2)
        self.paced: Paced = pace(model, shown, prepacing=beats - len(shown), step_ms=step_ms)
        self.millivolts = np.asarray(model.millivolts(self.paced.u), np.float64)
        if not np.isfinite(self.millivolts).all():
            raise SolveError(f"{type(model).__name__} diverged: shorten --step, or check the parameters.")
        self.found = action_potentials(self.paced)

    def summary(self) -> dict[str, float]:
        """Of the last beat, in mV, mV/ms and ms; alternans: difference of APD90 from the beat before."""
        found, volts = self.found, self.model.millivolts
        scale = float(volts(jnp.asarray(1.0)) - volts(jnp.asarray(0.0)))
        last = {
            "rest_mV": float(volts(found.rest[-1])), "peak_mV": float(volts(found.peak[-1])),
            "upstroke_mV_per_ms": scale * float(found.upstroke[-1]),
            "apd50_ms": float(found.apd50_ms[-1]), "apd90_ms": float(found.apd90_ms[-1]),
        }  # fmt: skip
        apd = np.asarray(found.apd90_ms)
        return last | ({"alternans_ms": float(apd[-1] - apd[-2])} if len(apd) > 1 else {})

    def last_beat(self) -> tuple[np.ndarray, np.ndarray]:
        """Times from its stimulus, ms, and mV."""
        own = np.asarray(self.paced.beat) == len(self.paced.before) - 1
        times = np.asarray(self.paced.times_ms)[own]
        return times - times[0], self.millivolts[own]


def run_cell(
    names: dict[str, AbstractIonicModel], interval_ms: float, beats: int, step_ms: float, premature: bool,
    folder: Path | None, warnings: list[str],
) -> dict[str, Any]:  # fmt: skip
    """Paces each of the models, compares them, and writes summary, traces and figures into a folder."""
    begin = time.perf_counter()
    each = {name: Beating(model, interval_ms, beats, step_ms) for name, model in names.items()}
    warnings = warnings + [
        f"{name}: no action potential in the last beat. Check the parameters, or lengthen "
        "--interval so that the cell recovers."
        for name, one in each.items()
        if not np.isfinite(one.summary()["apd90_ms"])
    ]
    curves: dict[str, Restitution] = {}
    if premature:
        couplings = np.unique(np.round(FRACTIONS * interval_ms, 1))
        couplings = couplings[couplings > 25.0]
        for name, model in names.items():
            curves[name] = restitution(
                model, couplings, interval_ms=interval_ms, beats=1, state=each[name].paced.state,
                step_ms=step_ms,
            )  # fmt: skip
    summary: dict[str, Any] = {
        "model": type(next(iter(names.values()))).__name__, "interval_ms": interval_ms, "beats": beats,
        "step_ms": step_ms, "cells": {name: one.summary() for name, one in each.items()},
        "warnings": warnings,
    }  # fmt: skip
    if curves:
        summary["restitution"] = {
            name: {
                "coupling_ms": np.asarray(c.coupling_ms).tolist(),
                "diastolic_ms": np.asarray(c.diastolic_ms).tolist(),
                "apd90_ms": [None if np.isnan(a) else float(a) for a in np.asarray(c.apd90_ms)],
            }
            for name, c in curves.items()
        }
    summary |= {
        "seconds": round(time.perf_counter() - begin, 1),
        "notice": DISCLAIMER,
        "provenance": circumstances(),
    }
    if folder is not None:
        _write(folder, summary, each, curves)
    return summary


def _write(folder: Path, summary, each: dict[str, Beating], curves: dict[str, Restitution]) -> None:
    traces = {name: one.last_beat() for name, one in each.items()}
    times = next(iter(traces.values()))[0]
    rows = [",".join(["time_ms", *(f"{name}_mV" for name in traces)])]
    rows += [
        f"{t:.4f}," + ",".join(f"{v:.4f}" for v in values)
        for t, *values in zip(times, *(volts for _, volts in traces.values()), strict=True)
    ]
    with atomic_write(folder / "trace.csv") as stream:
        stream.write(("\n".join(rows) + "\n").encode())
    title = f"{summary['model']}, beat {summary['beats']} at {summary['interval_ms']:g} ms"
    figure = trace(times, np.stack([volts for _, volts in traces.values()]), list(traces), title=title)
    save_figure(figure, folder / MARK)
    if curves:
        figure = restitution_curve(
            {n: (np.asarray(c.diastolic_ms), np.asarray(c.apd90_ms)) for n, c in curves.items()}
        )
        save_figure(figure, folder / "restitution.png")
    write_json(folder / "summary.json", summary)
