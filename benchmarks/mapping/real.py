"""Real files: an export of CARTO 3, a map, three atria."""

import tempfile
from pathlib import Path
from typing import Any

MESHES = {
    "eam_map": "openep_mesh_2_dense.vtk", "atrium_dtmri": "Labelled.pts", "atrium_ct": "LA_1.pts",
    "atrium_scar": "LA_model.vtk",
}  # fmt: skip
EDGES = {
    "eam_map": 1.5,
    "atrium_dtmri": 0.5,
    "atrium_ct": 1.0,
    "atrium_scar": 1.0,
}  # mm, target of refinement


def carto() -> dict[str, Any]:
    """A real bench study: what is read of it, and its voltages against the waveforms."""
    import numpy as np

    from jaxtwin.mapping import read_mapping

    from ..path import DATA

    study = read_mapping(DATA / "carto_export")
    points = sum(len(one.points) for one in study.maps)
    gaps, invalid = [], 0
    for one in study.maps:
        invalid += sum(why == "no LAT" for why in one.points.reason)
        for signals in one.signals:
            for trace, row in enumerate(signals.rows):
                first, last = (one.points.reference_ms[row] + one.points.woi_ms[row]).astype(int)
                inside = signals.mv(trace)[first : last + 1]
                for names, volts in (
                    (one.points.bipolar_channel, one.points.bipolar_mv),
                    (one.points.unipolar_channel, one.points.unipolar_mv),
                ):
                    found = np.ptp(inside[:, signals.channels.index(names[row])])
                    gaps.append(abs(round(float(found), 3) - volts[row]))  # three digits are exported
    return {
        "maps": len(study.maps), "points": points, "invalid_lats": invalid, "voltages": len(gaps),
        "largest_voltage_difference_mv": max(gaps),
    }  # fmt: skip


def round_trips() -> dict[str, Any]:
    """Imported, checked, refined, exported to openCARP and read back: the largest difference of anything."""
    import numpy as np

    from jaxtwin import read_mesh
    from jaxtwin._cli.export import export
    from jaxtwin._cli.study import assessed, import_study
    from jaxtwin.chamber import chamber
    from jaxtwin.mapping import read_study

    from ..path import DATA

    found = {}
    for folder, name in MESHES.items():
        with tempfile.TemporaryDirectory() as made:
            study = import_study(DATA / folder / name, Path(made) / "study.h5")
            stored = read_study(Path(made) / "study.h5")
            problems = assessed(stored)["problems"]
            export(Path(made) / "study.h5", Path(made) / "heart.pts", edge_mm=EDGES[folder])
            back = read_mesh(Path(made) / "heart.pts", "um").mesh
            surface = stored.maps[0].surface
            mesh = chamber(surface, edge_mm=EDGES[folder]).mesh
            read = study.maps[0].surface
            same = all(
                np.array_equal(getattr(surface, part), getattr(read, part))
                for part in ("points", "triangles", "regions", "fibres")
            )
            # float32 has 24 bits of the largest coordinate
            scale = np.abs(mesh.points).max()
            found[folder] = {
                "nodes": len(surface.points), "refined_nodes": len(mesh.points), "problems": len(problems),
                "longest_edge_mm": float(mesh.edge_lengths.max()),
                "stored_as_read": bool(same),
                "fibres": surface.fibres is not None,
                "cells_equal": bool(np.array_equal(mesh.cells, back.cells)),
                "largest_difference": float(np.abs(back.points - mesh.points).max() / scale)
                if back.points.shape == mesh.points.shape else 1.0,
                "fibre_difference": float(np.abs(back.fibres - mesh.fibres).max())
                if back.fibres.shape == mesh.fibres.shape else 1.0,
            }  # fmt: skip
    whole = [one["stored_as_read"] and one["cells_equal"] for one in found.values()]
    gaps = [max(one["largest_difference"], one["fibre_difference"]) for one in found.values()]
    return {"files": len(found), "whole": sum(whole), "largest_difference": max(gaps), "each": found}
