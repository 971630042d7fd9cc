"""Problem P with TorchCor: its own Mitchell-Schaeffer cell, consistent mass, Crank-Nicolson and CG.

Runs in an environment of its own; takes one JSON of the job, prints one JSON line. `solve` is TorchCor's own
loop with a snapshot of each millisecond, as in its examples, from which its own function interpolates the
activation times; reading and assembling are not timed.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from measure import measure, nearest, report

sys.path.pop(0)  # this folder, where this very file hides the package

import numpy as np
import torch
from torchcor.ionic import MitchellSchaeffer
from torchcor.simulator import Monodomain

CHI, CM = 140.0, 0.01  # TorchCor's defaults, /mm and uF/mm2: D = sigma / (CHI CM)


def write(folder: Path, points, cells, stimulated) -> None:
    """The mesh in openCARP's format, in um, and the list of stimulated nodes."""
    rows = [f"{1000 * x:.6f} {1000 * y:.6f} 0" for x, y in points]
    (folder / "sheet.pts").write_text("\n".join([str(len(rows)), *rows]) + "\n")
    rows = [f"Tr {a} {b} {c} 1" for a, b, c in cells]
    (folder / "sheet.elem").write_text("\n".join([str(len(rows)), *rows]) + "\n")
    (folder / "sheet.lon").write_text("\n".join(["1", *["1 0 0"] * len(cells)]) + "\n")
    nodes = [str(n) for n in np.flatnonzero(stimulated)]
    (folder / "corner.vtx").write_text("\n".join([str(len(nodes)), "extra", *nodes]) + "\n")


def main() -> None:
    job = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    mesh = np.load(job["mesh"])
    points, dtype = mesh["points"], getattr(torch, job.get("dtype", "float64"))
    cell = MitchellSchaeffer(dt=job["dt"], dtype=dtype)
    cell.tau_out = 6.0  # its default is 5
    simulator = Monodomain([cell], T=job["stop"], dt=job["dt"], dtype=dtype, device=torch.device("cpu"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, points, mesh["cells"], (points <= 2.0).all(axis=1))
        simulator.load_mesh(folder)
        # its clock adds up steps and starts at dt: half a step keeps round-off from losing the last one
        simulator.add_stimulus(folder / "corner.vtx", 0.0, 2.0 + job["dt"] / 2, 0.5)
    simulator.add_conductivity(None, il=0.3 * CHI * CM, it=0.3 * CHI * CM)
    begin = time.perf_counter()
    simulator.assemble()
    assembly = time.perf_counter() - begin
    simulator.assemble = lambda: None  # `solve` would assemble again

    snapshot = job.get("snapshot", 1.0)

    def run():
        with torch.no_grad():
            u = simulator.solve(
                1e-5, 1e-5, 100, snapshot_interval=snapshot, verbose=False, result_path=tempfile.gettempdir()
            )
            return simulator.compute_activation_map(u, snapshot, threshold=0.5, interpolate=True)

    lat, seconds = measure(run, job["repeats"])
    at = nearest(points, job["at"])
    report(nodes=len(points), **seconds, assembly_s=assembly, lat_ms=lat[at].tolist())


if __name__ == "__main__":
    main()
