"""Coverage of intervals: truths drawn from the prior, mapped with noise, fitted, and compared."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from ..anatomy import sheet
from ..cells import MitchellSchaeffer
from ..fem import locate, matern_modes
from ..inference import StudentT, fit, posterior
from ..mapping import MappingData
from ..monodomain import Times, in_sphere, pulse
from ..twin import LogDiffusivity, Theta, Twin, diffusivity_error, field

LEVELS = (0.5, 0.8, 0.95)
PROBES = 12  # number of nodes at which intervals are tested
WILD_MS = 30.0  # outliers are uniform within this distance of the true time
CLOCK = 0.25  # of its prior: offsets of some ms, so that short simulations cover all maps


class Coverage(eqx.Module):
    """The fraction of intervals that covered the true value.

    - `levels`; `share`: fraction of the intervals of each level that covered the true value, over truths and
      nodes.
    - `error`: standard error of the fractions, from the scatter between truths, which are independent, unlike
      the nodes of one truth.
    - `score`: (truths, nodes), (truth - estimate)/standard deviation of log D.
    """

    levels: tuple[float, ...] = eqx.field(static=True)
    share: Float[np.ndarray, " levels"]
    error: Float[np.ndarray, " levels"]
    score: Float[np.ndarray, "truths places"]


class Trial(eqx.Module):
    """A sheet to be fitted, the finer (or same) sheet on which truths are simulated, and the measured
    points."""

    twin: Twin
    truth: Twin
    points: Float[np.ndarray, "points dim"]
    sigma_ms: float = eqx.field(static=True)


def small_sheet(edge: float = 1.0, truth_edge: float = 1.0, points: int = 80, sigma_ms: float = 1.0) -> Trial:
    """20 x 20 mm with three pacing sites and a Matern field of log D (standard deviation 0.3, 10 mm).

    Points are at random places. Where `truth_edge` is another than `edge`, the truth is the same function of
    place, on its own mesh.
    """
    cells, times = MitchellSchaeffer(), Times(150.0, 0.25)
    mesh = sheet(20.0, 20.0, edge, fibre_angle=0.5, distortion=0.1)
    basis = field(matern_modes(mesh, correlation_length=10.0, count=24), sd=0.3, level_sd=0.3)

    def twin_on(mesh, basis) -> Twin:
        sites = [[0.0, 0.0], [20.0, 0.0], [10.0, 20.0]]
        return Twin(
            mesh, cells=cells, times=times,
            tissue_map=LogDiffusivity(basis, reference=0.25, floor=0.02, ceiling=1.2, ratio=3.0),
            beats=tuple(pulse(in_sphere(mesh, s, 2.0), len(mesh.points)) for s in sites),
            estimate_mesh_error=truth_edge != edge,
        )  # fmt: skip

    fine = mesh if truth_edge == edge else sheet(20.0, 20.0, truth_edge, fibre_angle=0.5, distortion=0.1)
    there = basis if fine is mesh else locate(mesh, fine.points)(basis.T).T
    where = np.random.default_rng(0).uniform(0.0, 20.0, (points, 2))
    return Trial(twin_on(mesh, basis), twin_on(fine, there), where, sigma_ms)


def drawn(trial: Trial, outliers: float, random: np.random.Generator) -> tuple[Theta, MappingData]:
    """A theta from the prior, and its maps, with noise from the likelihood and a fraction of outliers."""
    twin, maps = trial.truth, len(trial.truth.beats)
    theta = jax.tree.map(
        lambda leaf: jnp.asarray(random.standard_normal(leaf.shape), leaf.dtype), twin.mean()
    )
    # a truth on the same mesh has no discretisation error
    maps_of = theta["maps"] | {"offset": CLOCK * theta["maps"]["offset"]}
    none = {name: jnp.zeros_like(leaf) for name, leaf in maps_of.items() if name == "mesh_error"}
    theta = theta | {"maps": maps_of | none}
    place = locate(twin.mesh, trial.points)
    lat = np.stack([np.asarray(place(twin.predict(theta, k))) for k in range(maps)])
    noise = trial.sigma_ms * random.standard_t(StudentT().degrees, lat.shape)
    wild = random.random(lat.shape) < outliers
    noise = np.where(wild, random.uniform(-WILD_MS, WILD_MS, lat.shape), noise)
    return theta, MappingData(
        np.tile(trial.points, (maps, 1)), np.minimum(lat + noise, twin.times.stop - 1.0).ravel(),
        map_index=np.repeat(np.arange(maps), len(trial.points)),
        names=tuple(f"map {k + 1}" for k in range(maps)),
    )  # fmt: skip


def coverage(
    trial: Trial,
    *,
    truths: int = 200,
    outliers: float = 0.0,
    seed: int = 0,
    report: Callable[[int, Any], Any] = lambda done, scores: None,
) -> Coverage:
    """Simulation-based calibration of the intervals of log D (Talts et al. 2018, doi
    10.48550/arXiv.1804.06788).

    If prior, likelihood and posterior are consistent, intervals cover the true value at their nominal rate.
    """
    twin, random = trial.twin, np.random.default_rng(seed)
    probes = np.random.default_rng(1).choice(len(twin.mesh.points), PROBES, replace=False)
    positions = twin.mesh.points[probes]
    at_truth = locate(trial.truth.mesh, positions)
    scores = []
    for done in range(1, truths + 1):
        theta, data = drawn(trial, outliers, random)
        found = fit(twin, data.with_sigma(trial.sigma_ms))
        waves = found.waves()
        log_d, slope = _log_d(twin, found.theta, jnp.asarray(probes))
        of_mesh = diffusivity_error(twin, waves)[probes]
        uncertain = posterior(found, waves=waves)
        sd = np.hypot(uncertain.sd_of(np.asarray(slope)), of_mesh)
        true = np.asarray(at_truth(jnp.log(trial.truth.tissue_map.diffusivity(theta["tissue"]))))
        scores.append((true - np.asarray(log_d)) / sd)
        report(done, scores)
    score = np.stack(scores)
    edges = jax.scipy.stats.norm.ppf(0.5 + 0.5 * jnp.asarray(LEVELS))
    held = (np.abs(score)[None] <= np.asarray(edges)[:, None, None]).mean(axis=2)
    return Coverage(LEVELS, held.mean(axis=1), held.std(axis=1) / np.sqrt(truths), score)


@eqx.filter_jit
def _log_d(twin: Twin, theta: Theta, nodes):
    """log D at nodes, and its derivative with respect to the flattened theta."""
    flat, back = ravel_pytree(theta)

    def at(flat):
        return jnp.log(twin.tissue_map.diffusivity(back(flat)["tissue"]))[nodes]

    return at(flat), jax.jacfwd(at)(flat)
