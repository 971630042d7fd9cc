"""The interface of a kind of measurement."""

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
    """A kind of measurement: the measured values at the points of a map, their prediction by the model, and
    the likelihood.

    Evidence without a recorder is linearised point by point: its prediction at a point may depend on theta
    and on the arrival at that point, not on the arrivals at others. With a recorder it may depend on
    anything; exact gradients of the simulation follow it, the model along rays does not.

    Nuisance parameters of the measurement itself (noise scale, gain) are in `theta["evidence"][name]`.
    """

    name: eqx.AbstractClassVar[str]

    @abstractmethod
    def nuisance(self, dtype) -> dict[str, Values]:
        """The prior mean of the nuisance parameters, each a priori standard normal."""

    @abstractmethod
    def recorder(self, twin: Twin, placed: PlacedMap) -> AbstractRecorder | None:
        """What a solve must record for it in addition to activation times; None if those suffice."""

    @abstractmethod
    def measured(self, twin: Twin, data: MappingData, rows: Int[np.ndarray, " points"]) -> Any:
        """The measured values at the points of a map, as arrays for the device; row -1: padding."""

    @abstractmethod
    def predict(
        self, theta: Theta, twin: Twin, placed: PlacedMap, arrival: Float[Array, " points"], record: Any
    ) -> Values:
        """The predictions of the model at the points. `arrival`: activation since the wave left its source,
        ms, NaN where not activated; `record`: of the `recorder`, or None."""

    @abstractmethod
    def loss(self, theta: Theta, placed: PlacedMap, predicted: Values) -> Float[Array, ""]:
        """The negative log likelihood."""

    @abstractmethod
    def information(
        self, theta: Theta, placed: PlacedMap, predicted: Values
    ) -> tuple[Values, dict[str, Values]]:
        """Fisher information of each predicted value, and of each nuisance parameter on which the prediction
        does not depend (empty if there is none)."""
