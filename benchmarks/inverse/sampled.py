"""The Laplace approximation of the posterior against draws from the posterior itself."""

from typing import Any

TRUTHS, DRAWS, WARMUP = 4, 250, 60


def sampled() -> dict[str, Any]:
    """Standard deviations, means and intervals of log D by `posterior` and by `sample`, for truths from the
    prior on a small coarse sheet, mapped with noise on the same mesh."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import jaxtwin as jt
    from jaxtwin.inference.evidence.arrival import log_noise
    from jaxtwin.verify.coverage import LEVELS, PROBES, drawn, small_sheet

    trial, random = small_sheet(edge=2.0, truth_edge=2.0, points=50), np.random.default_rng(0)
    twin = trial.twin
    probes = np.random.default_rng(1).choice(len(twin.mesh.points), PROBES, replace=False)

    @jax.jit
    def log_d(theta):
        return jnp.log(twin.tissue_map.diffusivity(theta["tissue"]))[probes]

    found = {name: [] for name in ("ratio", "shift", "laplace", "draws", "noise", "noise_ratio")}
    effective, gradients, divergences = [], [], 0
    tails = 0.5 - 0.5 * np.asarray(LEVELS)
    for seed in range(TRUTHS):
        theta, data = drawn(trial, 0.0, random)
        fit = jt.fit(twin, data.with_sigma(trial.sigma_ms))
        posterior = jt.posterior(fit)
        draws = jt.sample(fit, posterior, draws=DRAWS, warmup=WARMUP, seed=seed)
        rows, mode, true = np.asarray(jax.vmap(log_d)(draws.theta)), log_d(fit.theta), log_d(theta)
        slopes = jax.tree.leaves(jax.jacfwd(log_d)(fit.theta))
        slope = np.concatenate([np.asarray(part).reshape(PROBES, -1) for part in slopes], axis=1)
        sd = posterior.sd_of(slope)
        edges = np.asarray(jax.scipy.stats.norm.ppf(jnp.asarray(1.0 - tails)))[:, None]
        low, high = np.quantile(rows, tails, axis=0), np.quantile(rows, 1.0 - tails, axis=0)
        noise, noise_mode, variance = map(log_noise, (draws.theta, fit.theta, posterior.variance()))
        noise, noise_sd = np.asarray(noise), float(variance) ** 0.5
        found["ratio"].append(sd / rows.std(axis=0))
        found["shift"].append((rows.mean(axis=0) - mode) / sd)
        found["laplace"].append(np.abs(true - mode) < edges * sd)
        found["draws"].append((low < true) & (true < high))
        found["noise"].append((noise.mean() - float(noise_mode)) / noise_sd)
        found["noise_ratio"].append(noise_sd / noise.std())
        effective += [float(np.min(leaf)) for leaf in jax.tree.leaves(draws.effective)]
        gradients.append(float(draws.gradients.mean()))
        divergences += draws.divergences
    ratio, shift = (np.stack(found[name]).astype(float) for name in ("ratio", "shift"))
    names = [f"{level:.0%}" for level in LEVELS]

    def share(held) -> dict[str, float]:
        return dict(zip(names, np.stack(held).mean(axis=(0, 2)).tolist(), strict=True))

    return {
        "truths": TRUTHS, "draws": DRAWS, "places": PROBES,
        "sd_ratio": {"mean": float(ratio.mean()), "min": float(ratio.min()), "max": float(ratio.max())},
        "sd_ratio_by_truth": ratio.mean(axis=1).tolist(),
        "shift": {"rms": float(np.sqrt(np.mean(shift**2))), "largest": float(np.abs(shift).max())},
        "share_laplace": share(found["laplace"]), "share_draws": share(found["draws"]),
        "noise": {"sd_ratio": float(np.mean(found["noise_ratio"])), "shift": float(np.mean(found["noise"]))},
        "least_effective": min(effective), "gradients_per_draw": float(np.mean(gradients)),
        "divergences": divergences,
    }  # fmt: skip
