"""Problem C: D and the time constants of the cell from premature beats, and their Cramer-Rao bound."""

from typing import Any

EDGE = 0.5  # mm, of the strip that is fitted; the truth has half of it
SIZE = (16.0, 5.0)  # mm
INTERVALS = (290.0, 310.0, 340.0, 400.0)  # ms from the first stimulus to the premature one
POINTS = 60
SD = 0.25  # a priori, of the logarithm of each
NAMES = ("tau_in", "tau_out", "tau_open", "tau_close")
SEEDS = range(5)


def strip(edge: float, reference: float = 0.25):
    """A twin of D and four time constants, one regular beat and one premature beat for each interval."""
    import jaxtwin as jt

    mesh = jt.sheet(*SIZE, edge, fibre_angle=0.4)
    nodes = len(mesh.points)
    site = jt.in_sphere(mesh, [0.0, 0.0], 2.0)
    first = jt.pulse(site, nodes)
    premature = tuple(jt.train(first, [0.0, interval]) for interval in INTERVALS)
    return jt.Twin(
        mesh, cells=jt.MitchellSchaeffer(), cell_sd=dict.fromkeys(NAMES, SD),
        tissue_map=jt.LogDiffusivity(
            jt.uniform(nodes, SD), reference=reference, floor=0.02, ceiling=1.5, ratio=3.0
        ),
        beats=(first, *premature), times=jt.Times(500.0, 0.25), estimate_mesh_error=False,
    )  # fmt: skip


def numbers(theta):
    """Of D and of the cells, in the order of the names."""
    import numpy as np

    return np.asarray([theta["tissue"]["diffusivity"][0], *(theta["cells"][name] for name in NAMES)])


def one(seed: int, noise_ms: float) -> dict[str, Any]:
    """One truth from the prior: the error of each logarithm, its bound and its posterior."""
    import warnings

    import jax.numpy as jnp
    import numpy as np

    import jaxtwin as jt
    from jaxtwin.fem import locate
    from jaxtwin.inference import IdentifiabilityWarning

    random = np.random.default_rng(seed)
    # where the premature wave blocks there is nothing to fit: such truths are not drawn
    fine = strip(EDGE / 2)
    while True:
        z = random.standard_normal(5)
        own = jnp.asarray(z, fine.space.mass.dtype)
        cells = dict(zip(NAMES, own[1:], strict=True))
        truth = fine.mean() | {"tissue": {"diffusivity": own[:1]}, "cells": cells}
        lat = np.stack([np.asarray(fine.predict(truth, k)) for k in range(1 + len(INTERVALS))])
        if np.isfinite(lat).all():
            break
    points = random.uniform([0.0, 0.0], SIZE, (POINTS, 2))
    place = locate(fine.mesh, points)
    clean = np.stack([np.asarray(place(jnp.asarray(row))) for row in lat])
    maps = len(clean)
    data = jt.MappingData(
        np.tile(points, (maps, 1)), (clean + noise_ms * random.standard_normal(clean.shape)).ravel(),
        map_index=np.repeat(np.arange(maps), POINTS), names=tuple(f"beat {k + 1}" for k in range(maps)),
    )  # fmt: skip
    twin, data = strip(EDGE), data.with_sigma(noise_ms or 0.05)
    gaussian = (jt.Arrival(jt.StudentT(degrees=1000.0)),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentifiabilityWarning)
        found = jt.fit(twin, data, evidence=gaussian, iterations=15, eikonal_rounds=0)
    bound = jt.cramer_rao(twin, data, truth)
    estimate, variance = (numbers(of) for of in (found.theta, jt.posterior(found).variance()))
    rows = zip(("D", *NAMES), SD * (estimate - z), z, bound.values(), SD * np.sqrt(variance), strict=True)
    return {
        "seed": seed, "noise_ms": noise_ms, "iterations": len(found.history) - 1, "ended": found.reason,
        "rmse_fit_ms": found.rmse_ms,
        "parameters": {
            name: {
                "error": float(np.expm1(off)), "guess_error": float(np.expm1(-SD * drawn)),
                "cramer_rao": float(least), "posterior_sd": float(s),
            }
            for name, off, drawn, least, s in rows
        },
    }  # fmt: skip


def restitution(noise_ms: float) -> dict[str, Any]:
    """Five truths: mean absolute relative errors of five parameters, and their bounds.

    `guess`: the prior mean, on which the maps must improve.
    """
    import numpy as np

    runs = [one(seed, noise_ms) for seed in SEEDS]

    def of(key: str) -> dict[str, list[float]]:
        return {n: [abs(run["parameters"][n][key]) for run in runs] for n in ("D", *NAMES)}

    def mean(values: dict[str, list[float]]) -> dict[str, float]:
        return {n: float(np.mean(each)) for n, each in values.items()}

    error, guess, least, sd = map(of, ("error", "guess_error", "cramer_rao", "posterior_sd"))
    score = [np.divide(error[n], sd[n]) for n in error]
    return {
        "mean_error": float(np.mean(list(error.values()))),
        "mean_error_over_guess": float(np.sum(list(error.values())) / np.sum(list(guess.values()))),
        "mean_error_of": mean(error), "mean_guess_error_of": mean(guess), "mean_sd_of": mean(sd),
        "median_cramer_rao_of": {n: float(np.median(each)) for n, each in least.items()},
        "score_rms": float(np.sqrt(np.mean(np.square(score)))), "runs": runs,
    }  # fmt: skip
