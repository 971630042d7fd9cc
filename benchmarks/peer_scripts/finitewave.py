"""Problem P with Finitewave: finite differences and explicit Euler, compiled by Numba.

Runs in an environment of its own; takes one JSON of the job, prints one JSON line. Activation times are taken
inside the compiled loop over nodes (an "observer"), which is faster than the package's tracker.
"""

import json
import os
import sys

from measure import measure, report

os.environ["NUMBA_NUM_THREADS"] = "1"
sys.path.pop(0)  # this folder, where this very file hides the package

import finitewave as fw
import numpy as np


def main() -> None:
    job = json.loads(sys.argv[1])
    edge, dt = job["edge"], job["dt"]
    side = round(40.0 / edge) + 1
    tissue = fw.CardiacTissue((side + 2, side + 2))  # the outermost rows are a frame outside the tissue
    at = (np.arange(side + 2) - 1) * edge
    near = (at > -edge / 2) & (at <= 2.0 + 1e-9)
    # it ends after the first step that starts at the end or later
    stimulus = fw.StimCurrentMatrix(0.0, 0.5, 2.0 - 1.5 * dt, np.outer(near, near))
    model = fw.MitchellSchaeffer()
    model.npfloat = job.get("dtype", "float64")
    model.dt, model.dr, model.prog_bar = dt, edge, False
    model.cardiac_tissue, model.stim_sequence = tissue, fw.StimSequence()
    model.stim_sequence.add_stim(stimulus)
    model.lat = np.full(tissue.mesh.shape, -1.0)  # no NaN: its kernels are compiled with fastmath
    here, after = "u[i_, j_]", "u_new[i_, j_]"
    expression = (
        f"if {here} < 0.5 and {after} >= 0.5 and lat[i_, j_] < 0.0: "
        f"lat[i_, j_] = dt * (step + (0.5 - {here}) / ({after} - {here}))"
    )
    if job.get("tracker"):
        tracker = fw.ActivationTimeTracker()
        tracker.threshold = 0.5
        model.tracker_sequence = fw.TrackerSequence()
        model.tracker_sequence.add_tracker(tracker)
    else:
        model.observers = [{"name": "lat", "expr": expression}]
    model.tau_out, model.D_model = 6.0, 0.3
    model.initialize()

    def run():
        for field, value in ((model.u, 0.0), (model.u_new, 0.0), (model.h, 1.0), (model.lat, -1.0)):
            field[:] = value
        model.t, model.step, model.t_max, stimulus.passed = 0.0, 0, job["stop"], False
        if job.get("tracker"):
            tracker.initialize(model)
        model.run(initialize=False, num_of_threads=1)
        return tracker.output if job.get("tracker") else model.lat

    lat, seconds = measure(run, job["repeats"])
    where = tuple(np.rint(np.asarray(job["at"]).T / edge).astype(int) + 1)
    report(nodes=side**2, **seconds, lat_ms=lat[where].tolist())


if __name__ == "__main__":
    main()
