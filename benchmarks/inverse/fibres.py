"""Problem F: fibre directions and conduction velocities from arrival times alone, neither known."""

from typing import Any

EDGE = 0.8  # mm, of the sheet that is fitted; the truth has half of it
SIZE = 40.0  # mm
SITES = ([0.0, 0.0], [40.0, 0.0], [0.0, 40.0], [40.0, 40.0])
POINTS = 100  # for each site
KINDS = ("uniform", "sharp", "gradual")
SEEDS = range(3)
DEGREES, ACROSS, ALONG = 30.0, 0.1, 0.2  # within which a place counts as found: degrees, mm/ms, mm/ms


def tissue(points, kind: str, seed: int):
    """The truth: angle of the fibres, and speeds along and across them, mm/ms, at points."""
    import numpy as np

    random = np.random.default_rng(seed)
    first, other = random.uniform(0.0, np.pi), random.uniform(np.pi / 6, np.pi / 2)
    along, across = random.uniform([0.6, 0.3], [0.9, 0.45], (2, 2)).T
    middle = points - 0.5 * SIZE
    tilt = random.uniform(0.0, np.pi)
    place = (middle @ [np.cos(tilt), np.sin(tilt)]) / SIZE
    if kind == "uniform":
        share = np.zeros(len(points))
    elif kind == "sharp":
        share = (place > 0.0).astype(float)
    else:
        share = np.clip(place + 0.5, 0.0, 1.0)
    return (first + share * other, *((1.0 - share) * v[0] + share * v[1] for v in (along, across)))


def true_maps(kind: str, seed: int):
    """The truth on its own, finer mesh: (mesh, activation times (sites, nodes))."""
    import jax.numpy as jnp
    import numpy as np

    import jaxtwin as jt

    mesh = jt.sheet(SIZE, SIZE, EDGE / 2, distortion=0.15, seed=7)
    cells, space = jt.MitchellSchaeffer(), jt.Space(mesh)
    angle, along, across = tissue(mesh.points[mesh.cells].mean(axis=1), kind, seed)
    fibres = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ratio = jnp.asarray((along / across) ** 2, space.mass.dtype)
    tensor = jt.diffusion_tensor(fibres, cells.diffusivity(jnp.asarray(along, space.mass.dtype)), ratio)
    rows = []
    for site in SITES:
        stimulus = jt.pulse(jt.in_sphere(mesh, site, 2.0), len(mesh.points))
        solution = jt.simulate(
            jt.Tissue(space, cells, tensor, stimulus), jt.Times(180.0, 0.2), recorders=(jt.ActivationTimes(),)
        )
        rows.append(np.asarray(solution.records[0]))
    return mesh, np.stack(rows)


def blank_twin():
    """A twin that knows neither fibres nor speeds: fields of all three components of the tensor."""
    import jaxtwin as jt

    mesh = jt.sheet(SIZE, SIZE, EDGE, distortion=0.15, seed=3)
    modes = jt.matern_modes(mesh, correlation_length=15.0, count=100)
    # a priori log(D_l/D_t) is 2.2 in the mean over directions, speeds 3 to 1
    tensor = jt.field(modes, sd=1.0, level_sd=1.6)
    tissue_map = jt.LogDiffusivity(
        jt.field(modes, sd=0.3, level_sd=0.5), reference=0.15, floor=0.01, ceiling=1.5,
        ratio_basis=tensor, angle_basis=0.5 * tensor,
    )  # fmt: skip
    beats = tuple(jt.pulse(jt.in_sphere(mesh, site, 2.0), len(mesh.points)) for site in SITES)
    return jt.Twin(
        mesh, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, beats=beats, times=jt.Times(200.0, 0.25)
    )


def one(kind: str, seed: int, noise_ms: float) -> dict[str, Any]:
    """One truth, its maps, one fit, and the fraction of the sheet on which it is right."""
    import time

    import jax.numpy as jnp
    import numpy as np

    import jaxtwin as jt
    from jaxtwin.fem import locate

    fine, lat = true_maps(kind, seed)
    random = np.random.default_rng(50 + seed)
    points = random.uniform(0.0, SIZE, (POINTS, 2))
    place = locate(fine, points)
    measured = np.stack([np.asarray(place(jnp.asarray(row))) for row in lat])
    measured = measured + noise_ms * random.standard_normal(measured.shape)
    data = jt.MappingData(
        np.tile(points, (len(SITES), 1)), measured.ravel(),
        map_index=np.repeat(np.arange(len(SITES)), POINTS),
        names=tuple(f"site {k + 1}" for k in range(len(SITES))),
    )  # fmt: skip
    twin = blank_twin()
    begin = time.perf_counter()
    found = jt.fit(twin, data.with_sigma(noise_ms or 0.2), iterations=4)
    seconds = time.perf_counter() - begin
    tensor = np.asarray(twin.diffusivity(found.theta), np.float64)
    values, vectors = np.linalg.eigh(tensor)
    direction = np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1])
    across, along = np.asarray(twin.cells.model.speed(jnp.asarray(values.T)))
    mesh = twin.mesh
    angle, true_along, true_across = tissue(mesh.points[mesh.cells].mean(axis=1), kind, seed)
    gap = np.degrees(np.abs((direction - angle + np.pi / 2) % np.pi - np.pi / 2))
    shares = {
        "angle": gap < DEGREES, "across": np.abs(across - true_across) < ACROSS,
        "along": np.abs(along - true_along) < ALONG,
    }  # fmt: skip
    return {
        "kind": kind, "seed": seed, "noise_ms": noise_ms, "seconds": seconds, "ended": found.reason,
        "rmse_fit_ms": found.rmse_ms, "median_angle_error_degrees": float(np.median(gap)),
        **{name: float(np.average(hit, weights=mesh.measures)) for name, hit in shares.items()},
    }  # fmt: skip


def fibres(noise_ms: float) -> dict[str, Any]:
    """Three kinds of tissue, three truths of each: mean fractions of the sheet within the bounds."""
    runs = [one(kind, seed, noise_ms) for kind in KINDS for seed in SEEDS]
    shares = ("angle", "across", "along")
    return {name: sum(run[name] for run in runs) / len(runs) for name in shares} | {"runs": runs}
