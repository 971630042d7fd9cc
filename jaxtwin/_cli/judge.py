"""How good a fit is and how sure: errors beside those of simple methods, intervals, what to map next."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from .._results import InputError
from ..anatomy import Mesh, farthest_points
from ..fem import Interpolation
from ..mapping import MappingData
from ..monodomain import pulse
from ..posterior import (
    Laplace,
    Spread,
    StudentT,
    gaussian_process,
    isotropic_speed,
    radial_basis,
    recalibrate,
)
from ..posterior.conformal import FEWEST
from ..posterior.laplace import identifiability
from ..twin import OFFSET_SD, Twin

LEVEL, NORMAL = 0.9, 1.6449  # of intervals, and what half of one is in standard deviations
CANDIDATES = 32  # sites that are tried


def errors(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    """Root-mean-square and median absolute error, ms, over the points that the prediction reaches."""
    gap = predicted - measured
    reached = np.isfinite(gap)
    gap = gap[reached]
    if not len(gap):
        return {"points": len(reached), "not_reached": len(reached)}
    return {
        "points": len(reached), "not_reached": int((~reached).sum()),
        "rmse_ms": float(np.sqrt(np.mean(gap**2))), "median_abs_ms": float(np.median(np.abs(gap))),
    }  # fmt: skip


def beside_physics(twin: Twin, theta, predicted, place, data, parts) -> dict[str, Any] | None:
    """Errors without the discrepancy, and its size, where there is one."""
    if twin.discrepancy is None:
        return None
    fields = np.stack([np.asarray(twin.discrepancy_ms(theta, k)) for k in range(data.maps)])
    more = np.stack([np.asarray(place(jnp.asarray(row))) for row in fields])
    alone = predicted - more[data.map_index, np.arange(len(data.lat_ms))]
    wanted = {name: mask for name, mask in parts.items() if mask.any()}
    return {name: errors(alone[mask], data.lat_ms[mask]) for name, mask in wanted.items()} | {
        "discrepancy_rms_ms": float(np.sqrt(np.average(fields**2, axis=1, weights=twin.space.mass).mean()))
    }


def validated(twin: dict[str, dict], rivals: dict[str, dict]) -> str:
    """ "validated" only where the twin is closer than every rival on all that was held out."""
    kept = [name for name in twin if name.startswith("held_out")]
    if not kept or not rivals:
        return "not tested: nothing was held out, or there are several maps"
    lost = [
        f"{rival} on {name}" for name in kept for rival, scores in rivals.items()
        if not twin[name].get("rmse_ms", np.inf) < scores[name].get("rmse_ms", np.inf)
    ]  # fmt: skip
    return "not validated: as close or closer is " + ", ".join(lost) if lost else "validated"


def uncertainty(posterior: Laplace, sure: Spread, mass: np.ndarray) -> dict[str, Any]:
    """What the summary says of it: shares are of the surface (or of the volume)."""
    variance, labels = posterior.variance(), identifiability(1.0 - np.asarray(sure.information))
    return {
        "method": "Gaussian at the fitted conductivity; not recalibrated",
        "log_conductivity_sd": percentiles(np.asarray(sure.log_sd)),
        "conductivity": {
            name: float(np.average(labels == name, weights=mass)) for name in ("identified", "weak", "not")
        },
        "offset_sd_ms": (OFFSET_SD * np.sqrt(np.asarray(variance["offset"]))).tolist(),
        "gain": np.asarray(posterior.gain, np.float64).tolist(),
    }  # fmt: skip


def voltage_levels(twin: Twin, theta) -> dict[str, float] | None:
    """The voltages of healthy tissue and of scar that were found, mV, where voltages counted."""
    if twin.voltage is None:
        return None
    ends = twin.voltage.expected(jnp.asarray([0.0, 1.0], theta["voltage"].dtype), theta["voltage"])
    return dict(zip(("healthy", "scar"), np.exp(np.asarray(ends, np.float64)).tolist(), strict=True))


def percentiles(values: np.ndarray) -> dict[str, float]:
    """5th, 50th and 95th percentile over the nodes."""
    return dict(
        zip(("p5", "p50", "p95"), np.percentile(values, [5, 50, 95]).astype(float).tolist(), strict=True)
    )


def baselines(mesh, data: MappingData, parts) -> dict[str, dict]:
    """What simple methods make of the same points: one speed from one source, and two interpolations."""
    if data.maps > 1:
        return {}
    train = data.subset(parts["fit"])
    speed = isotropic_speed(mesh, train)
    wanted = {name: mask for name, mask in parts.items() if mask.any()}
    everywhere = gaussian_process(mesh, train.positions, train.lat_ms, data.positions)
    return {
        "isotropic_speed": {"speed_mm_per_ms": speed.speed}
        | {n: errors(speed(data.positions[m]), data.lat_ms[m]) for n, m in wanted.items()},
        "radial_basis": {
            n: errors(radial_basis(train.positions, train.lat_ms, data.positions[m]), data.lat_ms[m])
            for n, m in wanted.items()
        },
        "gaussian_process": {n: errors(everywhere[m], data.lat_ms[m]) for n, m in wanted.items()},
    }


def intervals(
    mesh: Mesh,
    likelihood: StudentT,
    sd: Float[np.ndarray, "maps nodes"],
    noise_ms: float,
    predicted: Float[np.ndarray, " points"],
    data: MappingData,
    place: Interpolation,
    parts: dict[str, Bool[np.ndarray, " points"]],
) -> tuple[Float[np.ndarray, "maps nodes"], dict[str, Any]]:
    """Half of the 90 % interval of a new measurement at each node, ms, and how often such intervals held.

    `sd`: of the predictions. Recalibrated by the points that were held out between those of the fit, by the
    regions of the mesh, where there are enough; the share that is then held is that of one half of them with
    factors from the other.
    """
    nu = likelihood.degrees
    noise = noise_ms * (nu / (nu - 2.0)) ** 0.5
    at_points = np.stack([np.asarray(place(jnp.asarray(row))) for row in sd])
    total = np.hypot(at_points[data.map_index, np.arange(len(data.lat_ms))], noise)
    of_node = np.zeros(len(mesh.points), int)
    of_node[mesh.cells] = mesh.regions[:, None]
    corner = np.asarray(place.weights).argmax(axis=1)[:, None]
    region = of_node[np.take_along_axis(np.asarray(place.nodes), corner, axis=1)[:, 0]]
    gap = predicted - data.lat_ms
    usable = {name: mask & np.isfinite(gap) & np.isfinite(total) for name, mask in parts.items()}
    found: dict[str, Any] = {"level": LEVEL, "prediction_sd_ms": percentiles(sd[np.isfinite(sd)])}
    for name, mask in usable.items():
        if name != "fit" and mask.any():
            held = np.abs(gap[mask]) <= NORMAL * total[mask]
            found[name] = {"points": int(mask.sum()), "held": float(held.mean())}
    factor = np.full(len(mesh.points), NORMAL)
    kept = np.flatnonzero(usable["held_out_points"])
    if len(kept) >= FEWEST:
        every = recalibrate(gap[kept], total[kept], region[kept], level=LEVEL)
        factor = every.of(of_node)
        halves = np.random.default_rng(0).permutation(kept)
        halves = halves[::2], halves[1::2]
        held = [
            np.abs(gap[new]) <= recalibrate(gap[old], total[old], region[old], level=LEVEL).of(region[new])
            * total[new]
            for old, new in (halves, halves[::-1])
        ]  # fmt: skip
        found["held_out_points"] |= {
            "factor": every.factor / NORMAL,
            "factor_of_region": {str(r): own / NORMAL for r, own in every.regions.items()},
            "held_recalibrated": float(np.concatenate(held).mean()),
        }
        mask = usable["held_out_patch"]
        if mask.any():
            within = np.abs(gap[mask]) <= every.of(region[mask]) * total[mask]
            found["held_out_patch"]["held_recalibrated"] = float(within.mean())
    return factor[None] * np.hypot(sd, noise), found


def next_sites(
    twin: Twin, posterior: Laplace, data: MappingData, scar: Float[np.ndarray, " nodes"], count: int,
    sigma_ms: float,
) -> list[dict[str, Any]]:  # fmt: skip
    """Where to pace next, of sites spread over the tissue that is no scar, for a map of the same points."""
    mesh = twin.mesh
    healthy = np.flatnonzero(scar < 0.5)
    if not len(healthy):
        raise InputError("a heart that is scar everywhere", "tissue to pace", "Check the fit of the scar")
    nodes = healthy[farthest_points(mesh.points[healthy], max(CANDIDATES, count))]
    radius = 2.0 * float(np.median(np.linalg.norm(np.diff(mesh.points[mesh.cells[:, :2]], axis=1), axis=2)))
    near = [np.flatnonzero(np.linalg.norm(mesh.points - mesh.points[n], axis=1) <= radius) for n in nodes]
    stimuli = tuple(pulse(jnp.asarray(n), len(mesh.points)) for n in near)
    positions = data.positions[data.valid & (data.map_index == 0)]
    best = twin.next_sites(posterior, stimuli, positions, count=min(count, len(nodes)), sigma_ms=sigma_ms)
    return [
        {"position_mm": mesh.points[nodes[k]].tolist(), "node": int(nodes[k]), "expected_nats": nats}
        for k, nats in best
    ]
