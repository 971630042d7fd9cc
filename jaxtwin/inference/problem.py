"""The estimation problem: a twin, the prior of its parameters, and the evidence."""

from collections.abc import Sequence
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import InputError
from ..mapping import MappingData
from ..twin import AbstractTissueMap, PlacedMap, Theta, Twin, place_maps
from .evidence import AbstractEvidence, Arrival, Voltage
from .prior import Prior


class Problem(eqx.Module):
    """The estimation problem of a fit, without the maps. The first evidence is `Arrival`: rays follow the
    wave."""

    twin: Twin
    prior: Prior
    evidence: tuple[AbstractEvidence, ...]

    @property
    def arrival(self) -> Arrival:
        """The evidence of the activation times."""
        first = self.evidence[0]
        assert isinstance(first, Arrival)
        return first

    @property
    def dtype(self):
        """Precision of the solver."""
        return self.twin.space.mass.dtype

    def counted(self, lost: float, level: float) -> "Problem":
        """The problem with this fraction of the points used up by parameters, see `Arrival`."""
        evidence = (self.arrival.counted(lost, level, self.dtype), *self.evidence[1:])
        return eqx.tree_at(lambda p: p.evidence, self, evidence)

    def stepped_for(self, white: Theta) -> "Problem":
        """The problem whose twin takes no more stages in a step than required there, see
        `Twin.stepped_for`."""
        return self.with_twin(self.twin.stepped_for(self.prior.at(white)))

    def with_twin(self, twin: Twin) -> "Problem":
        """The problem with another twin of the same parameters."""
        return eqx.tree_at(lambda p: p.twin, self, twin)

    def with_prior(self, prior: Prior) -> "Problem":
        """The problem with another prior of the same parameters."""
        return eqx.tree_at(lambda p: p.prior, self, prior)

    def with_tissue_map(self, tissue_map: AbstractTissueMap) -> "Problem":
        """The problem with another tissue map of the same parameters."""
        return self.with_twin(eqx.tree_at(lambda t: t.tissue_map, self.twin, tissue_map))


def prior_mean(twin: Twin, evidence: Sequence[AbstractEvidence]) -> Theta:
    """Prior mean of the parameters of a twin and of its evidence."""
    real = twin.space.mass.dtype
    return twin.mean() | {"evidence": {one.name: one.nuisance(real) for one in evidence}}


def complete(evidence: Sequence[AbstractEvidence], twin: Twin) -> tuple[AbstractEvidence, ...]:
    """The evidence with `Arrival` first; it is added if missing.

    **Raises:** `InputError` for two of the same name, and for voltages in a twin without scar.
    """
    arrivals = [one for one in evidence if isinstance(one, Arrival)] or [Arrival()]
    every = (*arrivals, *(one for one in evidence if not isinstance(one, Arrival)))
    names = [one.name for one in every]
    if len(set(names)) < len(names):
        raise InputError(f"evidence of the names {', '.join(names)}", "each name once", "Rename one of them")
    if any(isinstance(one, Voltage) for one in every) and "scar" not in twin.tissue_map.bases:
        raise InputError(
            "voltages as evidence for scar in a twin without scar", "a tissue map with a scar basis",
            "Give `scar_basis`, or leave the voltages out",
        )  # fmt: skip
    return every


def placed_evidence(
    twin: Twin, data: MappingData, evidence: Sequence[AbstractEvidence]
) -> tuple[PlacedMap, ...]:
    """The maps placed on the mesh, with the measurements of each evidence; see `place_maps`."""
    placed, rows = place_maps(twin, data)
    return tuple(
        replace(one, measured={e.name: e.measured(twin, data, row) for e in evidence})
        for one, row in zip(placed, rows, strict=True)
    )


def zeros(theta: Theta) -> Theta:
    """Zero for every parameter."""
    return jax.tree.map(jnp.zeros_like, theta)


def median_offset(placed: PlacedMap, arrival: Float[Array, " points"]) -> float:
    """Time offset of a map, ms, given predicted arrival times: the median difference over the points with a
    LAT; 0 if none is activated."""
    gap = np.asarray(placed.lat_ms, np.float64) - np.asarray(arrival, np.float64)
    gap = gap[np.asarray(placed.timed) & np.isfinite(gap)]
    return float(np.median(gap)) if len(gap) else 0.0
