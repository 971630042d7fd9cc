"""Cells with ion channels and concentrations, in the units of their papers."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Array, Float

from .rush_larsen import AbstractRushLarsenModel, States


class AbstractDetailedModel(AbstractRushLarsenModel):
    """A cell with ion channels: V in mV, currents in A/F, gates from 0 to 1, concentrations in mM, times in
    ms. It states what its paper states: `currents`, `gates`, and the `rates` of concentrations.

    - `steepest`: the largest |d reaction/dV| over a paced action potential, 1/ms, with a margin.
    """

    threshold: ClassVar[float] = -40.0
    recovery: ClassVar[float] = -70.0
    bounds: ClassVar[tuple[float, float]] = (-200.0, 200.0)
    strength: ClassVar[float] = 26.0
    step_ms: ClassVar[float] = 0.02
    steepest: ClassVar[float]

    @abstractmethod
    def initial(self) -> Mapping[str, float]:
        """V and all other states of the cell at rest, as published."""

    @abstractmethod
    def currents(self, v: Float[Array, "..."], y: States) -> States:
        """All currents, A/F; outward is positive."""

    def resting(self):
        states = dict(self.initial())
        return states.pop("V"), states

    def reaction(self, u, gates):
        return -sum(self.currents(u, gates).values())

    def stiffness(self):
        return self.steepest

    def closed_form_speed(self, diffusivity):
        return None

    def millivolts(self, u):
        return u
