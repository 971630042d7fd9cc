"""`jaxtwin fit`: conductivity (and scar) from measured maps."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..case import Case, prepare
from ..inference import EIKONAL_ROUNDS, Assessment, fit, write_twin
from .fitted import Fitted
from .folder import DISCLAIMER, provenance, write_json
from .simulate import Say

TWIN = "twin.h5"  # the fitted twin, in the folder of a run


def run_fit(
    case: Case, folder: Path, checkpoint: Path, say: Say, progress: Callable[[int, int, Assessment], None]
) -> dict[str, Any]:  # fmt: skip
    """Fits the maps of a case and writes the results into `folder`; returns the summary.

    `progress(iteration, iterations, assessment)`. With the optimiser trust_region the state is kept in the
    file `checkpoint`, from which the fit resumes if there is one.
    """
    begin, settings = time.perf_counter(), case.fit
    ready = prepare(case)
    for note in ready.notes:
        say(note)
    twin, train, evidence = ready.twin, ready.train, ready.evidence
    prepared = time.perf_counter()
    if checkpoint.exists():
        say(f"Resuming from {checkpoint}.")
    found = fit(
        twin, train, evidence=evidence, iterations=settings.iterations, tolerance=settings.tolerance,
        optimiser=settings.optimiser,
        checkpoint=checkpoint if settings.optimiser == "trust_region" else None,
        report=lambda i, a: progress(i, settings.iterations + EIKONAL_ROUNDS, a),
    )  # fmt: skip
    done = time.perf_counter()
    fitted = Fitted.of(ready, found)
    judged = time.perf_counter()
    summary = fitted.summary()
    record = provenance(ready.resolved(twin.times), ready.sources, [*ready.notes, *fitted.warnings])
    fitted.save_fields(folder / "result.vtkhdf", record)
    fitted.save_figures(folder)
    write_twin(folder / TWIN, found, fitted.posterior)
    summary |= {
        "seconds": {
            "prepare": prepared - begin, "fit": done - prepared, "uncertainty": judged - done,
            "total": time.perf_counter() - begin,
        },
        "notice": DISCLAIMER, "provenance": record,
    }  # fmt: skip
    write_json(folder / "summary.json", summary)
    (folder / "resolved.toml").write_text(record["case"], encoding="utf-8")
    for warning in fitted.warnings:
        say(warning)
    return summary
