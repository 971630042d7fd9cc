"""Remeshing of real and of damaged surfaces, and what a wave and the modes do on them."""

import time
from typing import Any

import numpy as np

from .path import DATA, _need

EDGE_MM = 1.0
SPEED = 0.7  # mm/ms
MODES = 100  # on each surface; four times as many on the largest
REAL = {
    "eam_map": "openep_mesh_2_dense.vtk", "atrium_dtmri": "Labelled.pts", "atrium_ct": "LA_1.pts",
    "atrium_scar": "LA_model.vtk", "biventricle": "heart.pts",
}  # fmt: skip


def surfaces() -> dict[str, Any]:
    """Five real surfaces and three planted ones, imported at edges of 1 mm: quality, edges, distance from the
    surface before, and a wave over all of it with the defaults of a case."""
    from jaxtwin.anatomy import Surface, read_mesh
    from jaxtwin.anatomy.topology import boundary_facets

    found, meshes = {}, {}
    for folder, name in REAL.items():
        mesh = read_mesh(_need(DATA / folder) / name).mesh
        outer = mesh.corners == 4
        cells = boundary_facets(mesh.cells) if outer else mesh.cells
        fibres, regions = (None, None) if outer else (mesh.fibres, mesh.regions)
        surface = Surface(mesh.points, cells, fibres=fibres, regions=regions)
        found[folder], meshes[folder] = _measured(surface)
    for name, (points, cells) in planted().items():
        found[name], meshes[name] = _measured(Surface(points, cells))
    largest = max(meshes.values(), key=lambda mesh: len(mesh.points))
    return {
        "activated": sum(one["activated"] == 1.0 for one in found.values()),
        "least_quality": min(one["least_quality"] for one in found.values()),
        "least_share": min(one["share"] for one in found.values()),
        "largest_deviation_mm": max(one["deviation_99_mm"] for one in found.values()),
        "slowest_s": max(one["seconds"] for one in found.values()),
        "largest": {"nodes": len(largest.points), **_modes(largest, 4 * MODES)}, "each": found,
    }  # fmt: skip


def planted() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A synthetic atrium with needles and caps of relative height 1e-5, with 40 holes, and with fins and a
    wall pushed through the one opposite."""
    from jaxtwin.anatomy import atrial_shell

    shell = atrial_shell(1.5)
    points, cells = shell.points, shell.cells
    split = np.arange(0, len(cells), 12)
    needle, cap = np.array([1.0 - 2e-5, 1e-5, 1e-5]), np.array([0.5 - 5e-6, 0.5 - 5e-6, 1e-5])
    weights = np.where((np.arange(len(split)) % 2)[:, None] == 0, needle, cap)
    middle = np.einsum("kc,kcd->kd", weights, points[cells[split]])
    number = len(points) + np.arange(len(split))
    a, b, c = cells[split].T
    parts = [np.stack(each, axis=1) for each in ((a, b, number), (b, c, number), (c, a, number))]
    needles = np.concatenate([points, middle]), np.concatenate([np.delete(cells, split, axis=0), *parts])

    rim = np.unique(np.concatenate([ring.nodes for ring in _rings(shell)]))
    gap = np.linalg.norm(points[:, None] - points[rim], axis=2).min(axis=1)
    chosen: list[int] = []
    for node in np.random.default_rng(0).permutation(np.flatnonzero(gap > 4.0)).tolist():
        if len(chosen) < 40 and all(np.linalg.norm(points[node] - points[one]) > 5.0 for one in chosen):
            chosen.append(node)
    holes = points, cells[~np.isin(cells, chosen).any(axis=1)]

    edges = shell.edges[:: len(shell.edges) // 30][:30]
    tips = points[edges].mean(axis=1) * 1.2
    number = len(points) + np.arange(len(tips))
    fins = [np.column_stack([edges, number]), np.column_stack([edges[:, 0], number, np.roll(number, 1)])]
    push = np.exp(-(points[:, 1] ** 2 + points[:, 2] ** 2) / 60.0) * (points[:, 0] > 0)
    pushed = points - 1.3 * np.ptp(points[:, 0]) * push[:, None] * np.array([1.0, 0.0, 0.0])
    through = np.concatenate([pushed, tips]), np.concatenate([cells, *fins])
    return {"needles": needles, "holes": holes, "fins": through}


def _rings(mesh):
    from jaxtwin.anatomy import openings

    return openings(mesh)


def _measured(surface):
    from jaxtwin.anatomy import edge_share, quality, stiffness_bound
    from jaxtwin.anatomy.closest import closest
    from jaxtwin.anatomy.holes import Closed
    from jaxtwin.anatomy.remesh import Remeshed
    from jaxtwin.chamber import chamber

    begin = time.perf_counter()
    heart = chamber(surface, edge_mm=EDGE_MM)
    seconds = time.perf_counter() - begin
    kinds = [type(step) for step in heart.steps]
    before = heart.steps[kinds.index(Remeshed) - 1].mesh if Remeshed in kinds else surface.mesh()
    closed = heart.steps[kinds.index(Closed)]
    apart = closest(heart.mesh, before.points).distance
    return {
        "nodes_before": len(surface.points), "nodes": len(heart.mesh.points), "seconds": seconds,
        "least_quality_before": float(quality(surface.mesh()).min()),
        "least_quality": float(quality(heart.mesh).min()), "share": edge_share(heart.mesh, EDGE_MM),
        "deviation_99_mm": float(np.percentile(apart, 99)), "deviation_mm": float(apart.max()),
        "stiffness_before": float(stiffness_bound(surface.mesh()).max()),
        "stiffness": float(stiffness_bound(heart.mesh).max()),
        "holes_closed": len(closed.perimeters_mm), "openings": len(heart.rings), "lines": list(heart.lines),
        **_wave(heart.mesh), **_modes(heart.mesh, MODES),
    }, heart.mesh  # fmt: skip


def _wave(mesh) -> dict[str, float]:
    """Fraction of the nodes that a wave from one place activates, isotropic, with the defaults of a case."""
    import jaxtwin as jt
    from jaxtwin.case import MeshCase

    mesh, cells, table = jt.reorder(mesh).mesh, jt.MitchellSchaeffer(), MeshCase()
    space = jt.Space(mesh, mass_scaling=table.mass_scaling, consistent_mass=table.consistent_mass)
    diffusivity = float(jt.diffusivity_for(cells, SPEED))
    paced = jt.pulse(jt.in_sphere(mesh, mesh.points[mesh.points[:, 2].argmax()], 4.0), len(mesh.points))
    arrival, _ = jt.eikonal(
        mesh,
        np.broadcast_to(diffusivity * np.eye(3), (len(mesh.cells), 3, 3)),
        float(jt.wave_speed(cells, 1.0)),
        *paced.starts(),
    )
    times = jt.Times(float(1.3 * arrival.max() + 30.0), 0.2)
    tensor = jt.diffusion_tensor(mesh.fibres, np.full(len(mesh.cells), diffusivity), 1.0)
    begin = time.perf_counter()
    solved = jt.simulate(jt.Tissue(space, cells, tensor, paced), times, recorders=(jt.ActivationTimes(),))
    reached = np.asarray(solved.records[0])
    return {
        "activated": float(np.isfinite(reached).mean()), "last_ms": float(np.nanmax(reached)),
        "wave_s": time.perf_counter() - begin,
    }  # fmt: skip


def _modes(mesh, count: int) -> dict[str, float]:
    import jaxtwin as jt

    begin = time.perf_counter()
    found = jt.matern_modes(mesh, correlation_length=10.0, count=count)
    finite = bool(np.isfinite(np.asarray(found.modes)).all())
    return {"modes": count, "modes_s": time.perf_counter() - begin, "modes_finite": float(finite)}
