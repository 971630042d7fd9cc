"""What a kind of measurement must offer to a fit."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from ...mapping import MappingData
from ...monodomain import AbstractRecorder
from ...twin import PlacedMap, Theta, Twin

Values = Float[Array, "..."]


class AbstractEvidence(eqx.Module):
    """A kind of measurement: what it measures at the points of a map, what the model predicts there, and how
    probable the measured is given the predicted.

    Nuisance parameters of the measurement itself (noise scale, gain) stand in `theta["evidence"][name]`.
    """

    name: eqx.AbstractClassVar[str]

    @abstractmethod
    def nuisance(self, dtype) -> dict[str, Values]:
        """The prior mean of the nuisance parameters, each a priori standard normal."""

    @abstractmethod
    def recorder(self, twin: Twin, placed: PlacedMap) -> AbstractRecorder | None:
        """What a solve records for it beside activation times; None where those suffice."""

    @abstractmethod
    def measured(self, twin: Twin, data: MappingData, rows: Int[np.ndarray, " points"]) -> Any:
        """What was measured at the points of a map as arrays for the device; row -1: no point."""

    @abstractmethod
    def predict(
        self, theta: Theta, twin: Twin, placed: PlacedMap, arrival: Float[Array, " points"], record: Any
    ) -> Values:
        """What the model says at the points. `arrival`: activation since the wave left its source, ms, NaN
        where no wave comes; `record`: of the `recorder`, or None."""

    @abstractmethod
    def loss(self, theta: Theta, placed: PlacedMap, predicted: Values) -> Float[Array, ""]:
        """The negative logarithm of the likelihood."""

    @abstractmethod
    def information(
        self, theta: Theta, placed: PlacedMap, predicted: Values
    ) -> tuple[Values, dict[str, Values]]:
        """The Fisher information of each predicted value, and of each nuisance parameter that the prediction
        does not depend on (empty where there is none)."""
