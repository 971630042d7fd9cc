"""How good a fit is and how sure: errors beside those of simple methods, intervals, what to map next."""

from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from .._results import InputError
from ..anatomy import Mesh, farthest_points
from ..fem import Interpolation
from ..inference import (
    DISCREPANCY,
    TISSUE,
    Fit,
    Laplace,
    Spread,
    StudentT,
    Voltage,
    design_next,
    identifiability,
)
from ..mapping import MappingData
from ..monodomain import pulse
from ..twin import OFFSET_SD
from .baselines import GaussianProcess, RadialBasis, isotropic_speed
from .blend import CANDIDATES, PHYSICS, Blend, carried_by
from .conformal import FEWEST, recalibrate
from .doubts import PARTS, method

LEVEL, NORMAL = 0.9, 1.6449  # of intervals, and the half-width of one in standard deviations
CLEARLY = 0.98  # of the error of another method, below which one is better
SITES = 32  # sites that are tried
RIVALS = "isotropic_speed", "radial_basis", "gaussian_process"
AT_NODES = 50  # neighbours of radial basis functions at a node: enough for a picture of many nodes
FEWEST_TO_INTERPOLATE = 5  # valid points of a map to fit


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


def physics_alone(fit: Fit, predicted, place, data, parts) -> dict[str, Any] | None:
    """Errors without the discrepancy, and its size, where there is one."""
    twin = fit.twin
    if twin.discrepancy is None:
        return None
    fields = np.stack([np.asarray(twin.discrepancy_ms(fit.theta, k)) for k in range(data.maps)])
    more = np.stack([np.asarray(place(jnp.asarray(row))) for row in fields])
    alone = predicted - more[data.map_index, np.arange(len(data.lat_ms))]
    wanted = {name: mask for name, mask in parts.items() if mask.any()}
    return {name: errors(alone[mask], data.lat_ms[mask]) for name, mask in wanted.items()} | {
        "discrepancy_rms_ms": float(np.sqrt(np.average(fields**2, axis=1, weights=twin.space.mass).mean()))
    }


def validated(twin: dict[str, dict], rivals: dict[str, dict]) -> str:
    """ "validated" only where the twin is closer than every rival on all that was held out."""
    kept = [name for name in twin if name.startswith("held_out")]
    if not kept:
        return "not tested: nothing was held out"
    said = []
    for name in kept:
        closer = [
            method(rival) for rival, scores in rivals.items()
            if not twin[name].get("rmse_ms", np.inf) < scores[name].get("rmse_ms", np.inf)
        ]  # fmt: skip
        if closer:
            *others, last = closer
            who = f"{', '.join(others)} and {last} are" if others else f"{last} is"
            said.append(f"on {PARTS[name]}, {who} as close or closer")
    return f"not validated: {'; '.join(said)}" if said else "validated"


def uncertainty(posterior: Laplace, fields: Spread, mass: np.ndarray) -> dict[str, Any]:
    """The uncertainty in numbers: fractions are of the surface (or of the volume)."""
    variance, labels = posterior.variance(), identifiability(1.0 - np.asarray(fields.information))
    return {
        "method": "Gaussian at the fitted conductivity; not recalibrated",
        "log_conductivity_sd": percentiles(np.asarray(fields.log_sd)),
        "conductivity": {
            name: float(np.average(labels == name, weights=mass)) for name in ("identified", "weak", "not")
        },
        "offset_sd_ms": (OFFSET_SD * np.sqrt(np.asarray(variance["maps"]["offset"]))).tolist(),
        "gain": np.asarray(posterior.gain, np.float64).tolist(),
    }  # fmt: skip


def voltage_levels(fit: Fit) -> dict[str, float] | None:
    """The estimated voltages of healthy tissue and of scar, mV, where voltages are evidence."""
    for one in fit.problem.evidence:
        if isinstance(one, Voltage):
            levels = fit.theta["evidence"][one.name]["levels"]
            ends = np.exp(np.asarray(one.expected(jnp.asarray([0.0, 1.0], levels.dtype), levels), np.float64))
            return dict(zip(("healthy", "scar"), ends.tolist(), strict=True))
    return None


def prior(fit: Fit) -> dict[str, float] | None:
    """Standard deviations and correlation lengths of the fields, where they are inferred from the maps."""
    keys = {
        TISSUE: ("sd_log", "correlation_length_mm"),
        DISCREPANCY: ("discrepancy_ms", "discrepancy_length_mm"),
    }
    found = fit.problem.prior.scales
    return {
        key: float(value) for name, pair in found.items() for key, value in zip(keys[name], pair, strict=True)
    } or None


def percentiles(values: np.ndarray) -> dict[str, float]:
    """5th, 50th and 95th percentile over the nodes."""
    return dict(
        zip(("p5", "p50", "p95"), np.percentile(values, [5, 50, 95]).astype(float).tolist(), strict=True)
    )


class Interpolated:
    """Both interpolations of the fitted points of one map, and their values at all of its points."""

    def __init__(self, mesh: Mesh, positions: Float[np.ndarray, "points dim"], train: MappingData):
        self.both = (
            RadialBasis(train.positions, train.lat_ms),
            GaussianProcess(mesh, train.positions, train.lat_ms),
        )
        self._positions = positions

    @cached_property
    def values(self) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
        """Activation times at all points of the map, ms."""
        basis, process = self.both
        return basis(self._positions), process(self._positions)


def interpolations(mesh: Mesh, data: MappingData, parts) -> list[Interpolated | None]:
    """The interpolations of each map, None where it has too few fitted points."""
    found = []
    for k in range(data.maps):
        one = data.of_map(k)
        train = one.subset(parts["fit"][data.map_index == k] & one.valid)
        enough = train.valid.sum() >= max(FEWEST_TO_INTERPOLATE, mesh.dim + 2)
        found.append(Interpolated(mesh, one.positions, train) if enough else None)
    return found


def combined(
    mesh: Mesh,
    data: MappingData,
    parts: dict[str, Bool[np.ndarray, " points"]],
    activation: Float[np.ndarray, "maps nodes"],
    sd: Float[np.ndarray, "maps nodes"],
    left_out: tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]],
    noise_ms: float,
    known: list[Interpolated | None],
) -> tuple[Float[np.ndarray, "maps nodes"], Float[np.ndarray, "maps nodes"], dict[str, Any]]:
    """Activation times at the nodes of the twin combined with interpolation, ms, the share of physics in
    them, and the errors at the points, with the mean weights and what carries the prediction.

    `activation`, `sd`: prediction of the twin and its posterior standard deviation. `left_out`: its errors at
    the points where each is left out, and their variances, NaN elsewhere. `noise_ms`: standard
    deviation of a measurement. `known`: from `interpolations`.
    """
    predicted = np.full(len(data.lat_ms), np.nan)
    nodes, weights = [], []
    for k in range(data.maps):
        rows = np.flatnonzero(data.map_index == k)
        train = parts["fit"][rows] & data.valid[rows]
        positions, lat = data.positions[rows], data.lat_ms[rows]
        errors_of, variance = (each[rows][train] for each in left_out)
        own = known[k]
        one = Blend(
            mesh, positions[train], lat[train], activation[k], sd[k], errors_of, variance, noise_ms,
            known=None if own is None else own.both,
        )  # fmt: skip
        predicted[rows], _ = one(positions, values=None if own is None else own.values)
        times, weight = one(mesh.points, AT_NODES)
        nodes.append(times)
        weights.append(weight)
    shares = np.stack(weights)[..., :PHYSICS].sum(axis=2)
    predicted_at = np.isfinite(np.stack(nodes))
    share = float(np.median(shares[predicted_at])) if predicted_at.any() else 1.0
    wanted = {name: mask for name, mask in parts.items() if mask.any()}
    found: dict[str, Any] = {
        name: errors(predicted[mask], data.lat_ms[mask]) for name, mask in wanted.items()
    }
    mean = np.stack(weights)[predicted_at].sum(axis=0) / max(int(predicted_at.sum()), 1)
    found |= {
        "weights": dict(zip(CANDIDATES, mean.tolist(), strict=True)),
        "share_of_physics": share, "carried_by": carried_by(share),
    }  # fmt: skip
    return np.stack(nodes), shares, found


def better_combined(
    combined: dict[str, Any], twin: dict[str, dict], rivals: dict[str, dict]
) -> str | None:  # fmt: skip
    """A sentence on the held-out points where the combination is clearly closer than the twin and every
    rival."""
    parts = [
        name for name, own in twin.items()
        if name.startswith("held_out")
        and all(
            combined[name].get("rmse_ms", np.inf) < CLEARLY * each.get("rmse_ms", np.inf)
            for each in (own, *(scores[name] for scores in rivals.values()))
        )
    ]  # fmt: skip
    if not parts:
        return None
    where = " and ".join(PARTS[name] for name in parts)
    return f"the twin combined with interpolation is closer than either on {where}"


def baselines(mesh, data: MappingData, parts, known=None) -> dict[str, dict]:
    """What simple methods make of the same points, each map by itself: one speed from one source, and two
    interpolations. `known`: from `interpolations`, where they are there already."""
    known = interpolations(mesh, data, parts) if known is None else known
    found = {name: np.full(len(data.lat_ms), np.nan) for name in RIVALS}
    speeds = []
    for k in range(data.maps):
        rows = np.flatnonzero(data.map_index == k)
        one = data.of_map(k)
        train = one.subset(parts["fit"][rows])
        own = known[k]
        if own is None:
            continue
        speed = isotropic_speed(mesh, train)
        speeds.append(speed.speed)
        found["isotropic_speed"][rows] = speed(one.positions)
        found["radial_basis"][rows], found["gaussian_process"][rows] = own.values
    wanted = {name: mask for name, mask in parts.items() if mask.any()}
    scores: dict[str, dict] = {
        rival: {name: errors(values[mask], data.lat_ms[mask]) for name, mask in wanted.items()}
        for rival, values in found.items()
    }
    scores["isotropic_speed"] |= {"speed_mm_per_ms": speeds[0] if len(speeds) == 1 else speeds}
    return scores


def intervals(
    mesh: Mesh,
    errors_of: StudentT,
    sd: Float[np.ndarray, "maps nodes"],
    noise_ms: float,
    predicted: Float[np.ndarray, " points"],
    data: MappingData,
    place: Interpolation,
    parts: dict[str, Bool[np.ndarray, " points"]],
) -> tuple[Float[np.ndarray, "maps nodes"], dict[str, Any]]:
    """Half-width of the 90 % interval of a new measurement at each node, ms, NaN where not activated, and how
    often such intervals held.

    `sd`: of the predictions. Recalibrated by the points that were held out between those of the fit, by the
    regions of the mesh, where there are enough; the share that is then held is that of one half of them with
    factors from the other.
    """
    noise = noise_ms * errors_of.sd
    at_points = np.stack([np.asarray(place(jnp.asarray(row))) for row in sd])
    total = np.hypot(at_points[data.map_index, np.arange(len(data.lat_ms))], noise)
    of_node = np.zeros(len(mesh.points), int)
    of_node[mesh.cells] = mesh.regions[:, None]
    region = of_node[place.nearest()]
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
    fit: Fit, posterior: Laplace, scar: Float[np.ndarray, " nodes"], count: int, sigma_ms: float
) -> list[dict[str, Any]]:
    """Where to pace next, of sites spread over the tissue that is not scar, for a map of the same points."""
    mesh, data = fit.twin.mesh, fit.data
    healthy = np.flatnonzero(scar < 0.5)
    if not len(healthy):
        raise InputError("a heart that is scar everywhere", "tissue to pace", "Check the fit of the scar")
    nodes = healthy[farthest_points(mesh.points[healthy], max(SITES, count))]
    radius = 2.0 * float(np.median(np.linalg.norm(np.diff(mesh.points[mesh.cells[:, :2]], axis=1), axis=2)))
    near = [np.flatnonzero(np.linalg.norm(mesh.points - mesh.points[n], axis=1) <= radius) for n in nodes]
    stimuli = tuple(pulse(jnp.asarray(n), len(mesh.points)) for n in near)
    positions = data.positions[data.valid & (data.map_index == 0)]
    best = design_next(
        fit.problem, posterior, stimuli, positions, count=min(count, len(nodes)), sigma_ms=sigma_ms
    )
    return [
        {"position_mm": mesh.points[nodes[k]].tolist(), "node": int(nodes[k]), "expected_nats": nats}
        for k, nats in best
    ]
