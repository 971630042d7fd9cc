"""Local activation times as evidence."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...mapping import MappingData
from ...twin import PlacedMap, Theta, Twin, additive_terms
from .abstract import AbstractEvidence
from .student_t import StudentT


class Arrival(AbstractEvidence):
    """LATs as evidence: the arrival of the wave, plus time offset, discrepancy and discretisation error of
    the map.

    - `errors`: their distribution, `StudentT()` by default. Nuisance parameter `noise`: logarithm of its
      scale over the `sigma_ms` of the points.
    - `lost`: fraction of the points used up by the estimated parameters, and `level`, the `noise` at which it
      was computed; 0 before a fit.

    **Example:** `jt.fit(twin, data, evidence=(jt.Arrival(jt.StudentT(degrees=3.0)),))`
    """

    errors: StudentT = StudentT()
    lost: Float[Array, ""] | float = 0.0
    level: Float[Array, ""] | float = 0.0
    name: ClassVar[str] = "arrival"

    def nuisance(self, dtype) -> dict[str, Float[Array, ""]]:
        return {"noise": jnp.zeros((), dtype)}

    def recorder(self, twin: Twin, placed: PlacedMap) -> None:
        return None

    def measured(self, twin: Twin, data: MappingData, rows) -> None:
        return None  # every placed map contains its LATs

    def predict(self, theta: Theta, twin: Twin, placed: PlacedMap, arrival, record: Any):
        return arrival + additive_terms(theta, twin, placed)

    def loss(self, theta: Theta, placed: PlacedMap, predicted) -> Float[Array, ""]:
        return self.errors(
            predicted, placed.lat_ms, placed.sigma_ms, placed.silent, placed.weight, log_noise(theta),
            placed.until_ms, self.lost,
        )  # fmt: skip

    def information(self, theta: Theta, placed: PlacedMap, predicted):
        """Fisher information; points used up by other parameters carry none about the noise."""
        of_times, of_noise = self.errors.information(
            predicted, placed.sigma_ms, placed.silent, placed.weight, log_noise(theta), placed.until_ms
        )
        return of_times, {"noise": (1.0 - self.lost) * of_noise}

    def counted(self, lost: float, level: float, dtype) -> "Arrival":
        """The evidence with quantities only known during a fit; see the fields."""
        return eqx.tree_at(
            lambda a: (a.lost, a.level), self, (jnp.asarray(lost, dtype), jnp.asarray(level, dtype))
        )


def log_noise(theta: Theta) -> Float[Array, ""]:
    """Logarithm of the scale of the noise of the LATs, over the `sigma_ms` of the points."""
    return theta["evidence"][Arrival.name]["noise"]
