"""A fit beside its data: its fields, its errors and its figures, as a run of `fit` writes them."""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._units import conductivity_from_diffusivity
from ..assurance import PARTS, fit_doubts, judge, likely_causes, verdict
from ..case import Prepared
from ..inference import Fit, Laplace, Spread, left_out, posterior, predict, spread
from ..signals import wave_speed
from ..twin import Theta, Twin, Wave, offset_ms
from ..view import (
    activation_map,
    conductivity_map,
    convergence,
    fit_summary,
    information_map,
    residual_map,
    save_figure,
    scar_map,
    write_vtkhdf,
)
from .simulate import describe

ACROSS = "speed_across_mm_per_ms"


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fit and its posterior, and what follows from them; each part is computed when it is first asked for.

    `waves`: of the maps. `fields`: posterior uncertainty at the nodes.
    """

    ready: Prepared
    found: Fit
    waves: tuple[Wave, ...]
    posterior: Laplace
    fields: Spread

    @classmethod
    def of(cls, ready: Prepared, found: Fit) -> "Fitted":
        """With the posterior and its fields."""
        waves = found.waves()
        uncertain = posterior(found, rank=ready.case.fit.uncertainty_directions, waves=waves)
        return cls(ready, found, waves, uncertain, spread(found, uncertain, waves=waves))

    @cached_property
    def noise_ms(self) -> float:
        """The estimated noise of LATs."""
        return self.found.noise() * self.ready.case.map.sigma_ms

    @cached_property
    def activation_ms(self) -> np.ndarray:
        """(maps, nodes), what the maps show, in their time references."""
        twin, theta = self.found.twin, self.found.theta
        return np.stack([np.asarray(twin.predict(theta, k, wave)) for k, wave in enumerate(self.waves)])

    @cached_property
    def activation_sd_ms(self) -> np.ndarray:
        """(maps, nodes), standard deviation of these."""
        each = enumerate(self.waves)
        return np.stack(
            [predict(self.found.twin, self.posterior, k, wave=wave).std(axis=0) for k, wave in each]
        )

    @cached_property
    def predicted_ms(self) -> np.ndarray:
        """(points,), at the points of the data."""
        data, place = self.ready.data, self.ready.place
        at_points = np.stack([np.asarray(place(jnp.asarray(lat))) for lat in self.activation_ms])
        return at_points[data.map_index, np.arange(len(data.lat_ms))]

    @cached_property
    def parts(self) -> dict[str, np.ndarray]:
        """The points that were fitted and those that were held out, as masks."""
        sets = self.ready.held_out
        return {
            "fit": sets.fit & self.ready.data.valid, "held_out_points": sets.points,
            "held_out_patch": sets.patch,
        }  # fmt: skip

    @cached_property
    def scores(self) -> dict[str, dict[str, float]]:
        """The errors of the fit on its parts."""
        lat = self.ready.data.lat_ms
        return {
            name: judge.errors(self.predicted_ms[mask], lat[mask])
            for name, mask in self.parts.items()
            if mask.any()
        }

    @cached_property
    def baselines(self) -> dict[str, dict]:
        """The errors of simple methods."""
        return judge.baselines(self.ready.heart.mesh, self.ready.data, self.parts, self.interpolations)

    @cached_property
    def interpolations(self) -> list:
        """Of the fitted points of each map; see `judge.interpolations`."""
        return judge.interpolations(self.ready.heart.mesh, self.ready.data, self.parts)

    @cached_property
    def combined(self) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """Times and share of physics of the twin combined with interpolation, (maps, nodes), and its
        figures."""
        fitted = self.ready.held_out.fit
        errors = np.full((2, len(fitted)), np.nan)
        errors[:, fitted] = left_out(self.found, waves=self.waves)
        return judge.combined(
            self.ready.heart.mesh, self.ready.data, self.parts, self.activation_ms, self.activation_sd_ms,
            (errors[0], errors[1]), self.noise_ms * self.found.problem.arrival.errors.sd, self.interpolations,
        )  # fmt: skip

    @cached_property
    def intervals(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Half-width of the 90 % interval of a new measurement, (maps, nodes), ms; how often such intervals
        held."""
        return judge.intervals(
            self.ready.heart.mesh, self.found.problem.arrival.errors, self.activation_sd_ms, self.noise_ms,
            self.predicted_ms, self.ready.data, self.ready.place, self.parts,
        )  # fmt: skip

    @cached_property
    def diffusivity(self) -> np.ndarray:
        """(nodes,), mm2/ms, along the fibres."""
        return np.asarray(self.found.twin.tissue_map.diffusivity(self.found.theta["tissue"]))

    @cached_property
    def speed(self) -> np.ndarray:
        """(nodes,), mm/ms, of a plane wave along the fibres."""
        return np.asarray(wave_speed(self.ready.cells, self.diffusivity))

    @cached_property
    def scar(self) -> np.ndarray | None:
        """(nodes,), scar fraction; None where it is not estimated."""
        if not self.ready.case.fit.scar:
            return None
        return np.asarray(self.found.twin.tissue_map.scar(self.found.theta["tissue"]))

    @cached_property
    def conduction(self) -> dict[str, np.ndarray]:
        """Fields of the cells: direction and speed of conduction, where fibres are estimated."""
        return principal(self.found.twin, self.found.theta) if self.ready.case.fit.fibres else {}

    @cached_property
    def next_sites(self) -> list[dict[str, Any]] | None:
        """Where to pace next."""
        case = self.ready.case
        if not case.fit.next_sites:
            return None
        return judge.next_sites(
            self.found, self.posterior, np.asarray(self.fields.scar), case.fit.next_sites, case.map.sigma_ms
        )

    @cached_property
    def _mesh_error(self) -> tuple[list[dict[str, float]] | None, list[str]]:
        """The discretisation error of each wave, None if it is not estimated, and warnings of it."""
        warnings: list[str] = []
        errors = [wave.error for wave in self.waves if wave.error is not None]
        return [describe(error, self.noise_ms, warnings) for error in errors] or None, warnings

    @cached_property
    def verdict(self) -> list[str]:
        """What is said first of a fit that cannot be right."""
        ready = self.ready
        doubts = fit_doubts(self.scores, self.baselines, self.found.noise(), ready.case.map.sigma_ms)
        if not doubts:
            return []
        causes = likely_causes(
            ready.heart.mesh, ready.data, ready.beats, self.predicted_ms - ready.data.lat_ms,
            self.parts["fit"],
            paced=not ready.case.beats[0].of_map,
        )  # fmt: skip
        return verdict(doubts, causes)

    @cached_property
    def warnings(self) -> list[str]:
        """What a user should know, the worst first."""
        return [
            *self.verdict, *self.ready.warnings, *self._mesh_error[1],
            *(
                f"{name}: {score['not_reached']} of {score['points']} points are not reached by the fitted "
                "wave."
                for name, score in self.scores.items() if score["not_reached"]
            ),
        ]  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """Its numbers."""
        found, twin, ready = self.found, self.found.twin, self.ready
        mass, scar, speeds = np.asarray(twin.space.mass), self.scar, self.conduction.get(ACROSS)
        return {
            "twin": self.scores, "combined": self.combined[2], "baselines": self.baselines,
            "validated": judge.validated(self.scores, self.baselines),
            "combined_is_better": judge.better_combined(self.combined[2], self.scores, self.baselines),
            "physics_alone": judge.physics_alone(
                found, self.predicted_ms, ready.place, ready.data, self.parts
            ),
            "noise_scale_ms": self.noise_ms, "numerical_error_ms": self._mesh_error[0],
            "offset_ms": np.asarray(offset_ms(found.theta)).tolist(),
            "prior": judge.prior(found),
            "diffusivity_mm2_per_ms": judge.percentiles(self.diffusivity),
            "conductivity_S_per_m": judge.percentiles(conductivity_from_diffusivity(self.diffusivity)),
            "speed_mm_per_ms": judge.percentiles(self.speed),
            "uncertainty": judge.uncertainty(self.posterior, self.fields, mass),
            "intervals": self.intervals[1], "next_sites": self.next_sites,
            ACROSS: None if speeds is None else judge.percentiles(speeds),
            "voltage_levels_mV": judge.voltage_levels(found),
            "scar_fraction": None if scar is None else float(np.average(scar > 0.5, weights=mass)),
            "iterations": len(found.history) - 1, "ended": found.reason, "loss": found.loss,
            "nodes": len(mass), "steps": twin.times.steps,
            "stages": twin.stepped_for(found.theta).stepper.stages,
            "warnings": self.warnings, "notes": ready.notes,
        }  # fmt: skip

    def times(self) -> dict[str, np.ndarray]:
        """Arrays of the nodes in ms: of the first map, and numbered of further ones."""
        rows = {
            "activation": self.activation_ms, "activation_sd": self.activation_sd_ms,
            "activation_90_percent": self.intervals[0], "activation_combined": self.combined[0],
        }  # fmt: skip
        return {
            f"{name}{f'_map_{k}' if k > 1 else ''}_ms": row
            for name, of_maps in rows.items()
            for k, row in enumerate(of_maps, start=1)
        }

    def point_data(self) -> dict[str, np.ndarray]:
        """All arrays of the nodes."""
        fields = self.fields
        shares = {
            f"share_of_physics{f'_map_{k}' if k > 1 else ''}": row
            for k, row in enumerate(self.combined[1], start=1)
        }
        values = self.times() | shares | {
            "diffusivity_mm2_per_ms": self.diffusivity,
            "conductivity_S_per_m": conductivity_from_diffusivity(self.diffusivity),
            "speed_mm_per_ms": self.speed, "original_node": self.ready.heart.origin,
            "log_conductivity_sd": np.asarray(fields.log_sd), "information": np.asarray(fields.information),
            "conductivity_p5_S_per_m": conductivity_from_diffusivity(np.asarray(fields.low)),
            "conductivity_p95_S_per_m": conductivity_from_diffusivity(np.asarray(fields.high)),
        }  # fmt: skip
        if self.scar is not None:
            values |= {"scar_probability": np.asarray(fields.scar), "scar": self.scar}
        return values

    def save_fields(self, path: Path, provenance: dict[str, Any]) -> None:
        """Writes all arrays to a file, with NaN in `times` as "not activated"."""
        write_vtkhdf(
            path, self.ready.heart.mesh, times_ms=np.asarray([0.0]), provenance=provenance,
            point_data=self.point_data(), cell_data=self.conduction, activation=frozenset(self.times()),
        )  # fmt: skip

    def figures(self) -> dict[str, Callable[[], Any]]:
        """What draws each figure, by the name of its file; of a cable there is none."""
        mesh, data, sets = self.ready.heart.mesh, self.ready.data, self.ready.held_out
        if mesh.corners == 2:
            return {}
        held_out = sets.points | sets.patch
        used = data.valid & (sets.fit | held_out)
        first = used & (data.map_index == 0)
        sites = None if self.next_sites is None else np.asarray([s["position_mm"] for s in self.next_sites])
        history = {n: np.asarray([row[n] for row in self.found.history]) for n in ("loss", "rmse_ms")}
        drawn: dict[str, Callable[[], Any]] = {
            "activation": lambda: activation_map(
                mesh, self.activation_ms[0], points=data.positions[first], values=data.lat_ms[first]
            ),
            "conductivity": lambda: conductivity_map(mesh, self.diffusivity),
            "information": lambda: information_map(mesh, np.asarray(self.fields.information), points=sites),
            "residuals": lambda: residual_map(
                mesh, data.positions[used], (self.predicted_ms - data.lat_ms)[used]
            ),
            "fit": lambda: fit_summary(
                data.lat_ms[used],
                self.predicted_ms[used],
                parts={PARTS[name]: mask[used] for name, mask in self.parts.items()},
            ),
            "convergence": lambda: convergence(history),
        }
        if (scar := self.scar) is not None:
            drawn["scar"] = lambda: scar_map(mesh, scar)
        return drawn

    def save_figures(self, folder: Path) -> None:
        """Draws the figures into a folder."""
        for name, draw in self.figures().items():
            save_figure(draw(), folder / f"{name}.png")


def principal(twin: Twin, theta: Theta) -> dict[str, np.ndarray]:
    """In each cell the direction of fastest conduction, and the speed at right angles to it in the tissue."""
    values, vectors = np.linalg.eigh(np.asarray(twin.diffusivity(theta), np.float64))
    across = np.asarray(wave_speed(twin.cells.model, jnp.asarray(values[:, -2])), np.float64)
    return {"conduction_direction": vectors[:, :, -1], ACROSS: across}
