"""From a CARTO study with three paced maps and a hidden scar to a fit, by two commands.

Fibres of the tissue come from a mesh in the same place, as from an atlas laid over the patient, with other
edges than those of the truth; without them conduction is taken as isotropic, where the truth is not.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

POINTS, NOISE = 300, 2.0  # for each map; ms
EDGE = 1.5  # mm, of the mesh that is fitted; that of the truth is half of it, that of the export twice
SAMPLES, REFERENCE = 600, 300


def export(folder: Path, seed: int = 0):
    """Writes the study; returns the centre of the scar."""
    import numpy as np

    import jaxtwin as jt
    from jaxtwin._cli.demo import pacing_sites, scar_site, truth

    from ..exports.carto import CHANNELS, GAIN, CartoMap, voltages, write_study

    surface = jt.atrial_shell(2.0 * EDGE)
    centre, sites = scar_site(surface.points), pacing_sites(surface.points)
    fine, lat = truth(EDGE / 2, jt.Times(180.0, 0.1), centre, sites)
    random = np.random.default_rng(seed)
    time = np.arange(SAMPLES) - REFERENCE
    maps = []
    for k in range(3):
        rows = random.choice(len(fine.points), POINTS, replace=False)
        measured = np.round(lat[k, rows] + NOISE * random.standard_normal(POINTS))
        measured[random.choice(POINTS, 5, replace=False)] = np.nan  # five that the system could not annotate
        x = (time[None] - np.nan_to_num(measured)[:, None]) / 2.5
        unipolar = -2.0 * x * np.exp(0.5 - 0.5 * x**2) * np.isfinite(measured)[:, None]
        raw = np.zeros((POINTS, SAMPLES, len(CHANNELS)))
        raw[:, :, 0], raw[:, :, 2] = unipolar, np.gradient(unipolar, axis=1)
        raw = np.round((raw + 0.01 * random.standard_normal(raw.shape)) / GAIN).astype(int)
        places = fine.points[rows] + random.normal(0.0, 0.3, (POINTS, 3))
        window = (-20, 220)
        maps.append(CartoMap(
            f"{k + 1}-paced", surface.points, surface.cells, places, measured,
            voltages(raw, 2, REFERENCE, window), voltages(raw, 0, REFERENCE, window), raw,
            reference=REFERENCE, woi=window,
        ))  # fmt: skip
    write_study(folder, maps)
    return centre


def two_commands(fibres: bool = True) -> dict[str, Any]:
    """`jaxtwin import STUDY --case CASE` and `jaxtwin fit CASE`, each in a process of its own."""
    import numpy as np

    import jaxtwin as jt
    from jaxtwin._cli.demo import dice, hidden_scar
    from jaxtwin.fem import lumped_mass
    from jaxtwin.view import read_vtkhdf

    from ..path import jaxtwin

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        centre = export(folder / "export")
        jt.write_mesh(folder / "atlas.vtu", jt.atrial_shell(1.7))
        imported = jaxtwin(
            folder, "import", str(folder / "export"), "--case", str(folder / "case"), "--edge", str(EDGE),
            *(("--fibres", str(folder / "atlas.vtu")) if fibres else ()),
        )  # fmt: skip
        fitted = jaxtwin(folder, "fit", str(folder / "case"))
        result = read_vtkhdf(folder / "case" / "result" / "result.vtkhdf")
        summary = json.loads((folder / "case" / "result" / "summary.json").read_text())
    mass, fields = lumped_mass(result.mesh), result.point_data
    share = hidden_scar(result.mesh.points, centre)
    true, found = share > 0.5, fields["scar"] > 0.5
    middle = np.average(result.mesh.points[found], axis=0, weights=mass[found]) if found.any() else np.inf
    away = np.linalg.norm(middle - np.average(result.mesh.points[true], axis=0, weights=mass[true]))
    held_out = summary["twin"]["held_out_points"]["rmse_ms"]
    return {
        "commands": 2, "scar_dice": dice(found, true, mass), "scar_centre_distance_mm": float(away),
        "held_out_rmse_ms": held_out, "held_out_over_noise": held_out / NOISE,
        "validated": summary["validated"] == "validated", "import_s": imported, "fit_s": fitted,
        "nodes": len(result.mesh.points), "noise_scale_ms": summary["noise_scale_ms"],
    }  # fmt: skip
