"""What a cell model must offer to the solver."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.core
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._results import InputError, nearest
from .._types import Parameter

STANDARD_STEP_MS = 0.2  # resolves an upstroke of 1 ms


class AbstractIonicModel(eqx.Module):
    """A cell: the membrane variable u, in a unit of the model's own, and any other states, here called gates.

    - `threshold`, `recovery`: u at which a cell counts as activated, and as repolarised.
    - `bounds`: range of u outside which a solution counts as diverged.
    - `strength`: du/dt, 1/ms times the unit of u, of a stimulus of 2 ms that safely excites tissue at rest.
    - `stimulated`: the state that carries the charge of a stimulus into a single cell, and its change per
      unit of u; None where the paper has none.
    - `step_ms`: a time step in tissue that resolves the upstroke, ms.

    Parameters of a cell are its fields. One that may have a value for each node is declared
    `name: Parameter = nodal(default=...)`; an array in any other field is a table that all nodes share.
    """

    threshold: eqx.AbstractClassVar[float]
    recovery: eqx.AbstractClassVar[float]
    bounds: eqx.AbstractClassVar[tuple[float, float]]
    strength: eqx.AbstractClassVar[float]
    stimulated: ClassVar[tuple[str, float] | None] = None
    step_ms: ClassVar[float] = STANDARD_STEP_MS

    @abstractmethod
    def resting(self) -> tuple[Parameter, PyTree]:
        """u and the gates at rest: a PyTree of numbers with the structure that the gates have in a solve."""

    @abstractmethod
    def reaction(self, u: Float[Array, " nodes"], gates: PyTree) -> Float[Array, " nodes"]:
        """The ionic part of du/dt, in the unit of u per ms."""

    @abstractmethod
    def relax(
        self, gates: PyTree, before: Float[Array, " nodes"], after: Float[Array, " nodes"], dt: Parameter
    ) -> PyTree:
        """The gates after dt ms in which u runs linearly from `before` to `after`; of second order in dt."""

    @abstractmethod
    def stiffness(self) -> Parameter:
        """A bound of |d reaction/du| over an action potential, 1/ms; the stepper adds it to the spectrum."""

    @abstractmethod
    def closed_form_speed(self, diffusivity: Parameter) -> Float[Array, "..."] | None:
        """Speed of a plane wave into resting tissue, mm/ms, or None where no closed form is known."""

    @abstractmethod
    def millivolts(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """Membrane voltage in mV."""

    def scaled(self, **factors: Parameter) -> "AbstractIonicModel":
        """The model with some parameters multiplied, such as `scaled(g_Kr=0.5)`; numbers or fields over the
        nodes. Raises `InputError` for a name that the model does not have."""
        names = parameter_names(self)
        for name in factors:
            if name not in names:
                raise InputError(
                    f"'{name}' as a parameter of {type(self).__name__}",
                    nearest(name, names),
                    "Correct the name",
                )
        return dataclasses.replace(self, **{n: factor * getattr(self, n) for n, factor in factors.items()})


def parameter_names(ionic: AbstractIonicModel) -> tuple[str, ...]:
    """The fields of a cell model that are numbers or arrays: what one may fit, sweep or batch."""
    return tuple(
        field.name
        for field in dataclasses.fields(ionic)
        if not field.metadata.get("static", False)
        and isinstance(getattr(ionic, field.name), float | int | jax.Array | np.ndarray)
    )


def variants(kind: Callable[..., AbstractIonicModel]) -> dict[str, Callable[[], AbstractIonicModel]]:
    """The variants of a cell model, by name: its class methods that need no argument."""
    return {name: getattr(kind, name) for name, own in vars(kind).items() if isinstance(own, classmethod)}


def known(value: Any) -> np.ndarray | None:
    """The value in NumPy, or None inside a traced function, where there is none."""
    return None if isinstance(value, jax.core.Tracer) else np.asarray(value)
