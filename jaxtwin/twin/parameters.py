"""Theta: the parameters of a twin, each a priori standard normal unless a prior is given."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._results import InputError
from .._types import Parameter
from ..cells import AbstractIonicModel, parameter_names

Theta = dict[str, Any]
"""`{"tissue": {...}, "cells": {...}, "maps": {...}, "evidence": {...}}`, each entry a group of arrays.

- `tissue`: coefficients of the diffusivity, scar, anisotropy; what a twin keeps from one session to the next.
- `cells`: one number for each estimated parameter of the cell model.
- `maps`: nuisance parameters of the maps: time offset, discrepancy, discretisation error.
- `evidence`: nuisance parameters of the measurements, such as the scale of their noise; see
  `jaxtwin.inference.AbstractEvidence`. A forward model does not need them.
"""

OFFSET_SD = 20.0  # ms, prior standard deviation of the time offset of a map
FASTEST = 2.0  # standard deviations: range of cell parameters for which the time step is stable


def offset_ms(theta: Theta) -> Float[Array, " maps"]:
    """Offset of each map's time reference from its stimulus, (maps,), ms, assuming no capture latency."""
    return OFFSET_SD * theta["maps"]["offset"]


class CellParameters(eqx.Module):
    """The cell model as a function of the estimated logarithms of some of its parameters.

    - `model`: the cell model at the prior mean.
    - `sd`: names of the estimated parameters and the prior standard deviations of their logarithms.

    Raises `InputError` for a name that the model does not have.
    """

    model: AbstractIonicModel
    sd: tuple[tuple[str, float], ...] = eqx.field(static=True)

    def __init__(self, model: AbstractIonicModel, sd: dict[str, float] | None = None):
        self.model, self.sd = model, tuple((sd or {}).items())
        known = parameter_names(model)
        for name, _ in self.sd:
            if name not in known:
                raise InputError(
                    f"'{name}' as a parameter to estimate",
                    f"one of {type(model).__name__}: {', '.join(known)}", "Correct the name",
                )  # fmt: skip

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the estimated parameters."""
        return tuple(name for name, _ in self.sd)

    def mean(self, dtype) -> dict[str, Float[Array, ""]]:
        """The prior mean."""
        return {name: jnp.zeros((), dtype) for name in self.names}

    def __call__(self, values: dict[str, Float[Array, ""]]) -> AbstractIonicModel:
        """The cell model with p = p_0 exp(sd value) for each estimated parameter p."""
        return scaled(self.model, {name: sd * values[name] for name, sd in self.sd})

    def fastest(self, dtype) -> AbstractIonicModel:
        """The cell model with its estimated time constants as short as is likely, for the stability of a
        step."""
        return self({name: jnp.full((), -FASTEST, dtype) for name in self.names})


def scaled(model: AbstractIonicModel, logs: dict[str, Parameter]) -> AbstractIonicModel:
    """The cell model with each of these parameters multiplied by exp of its value."""
    for name, log in logs.items():
        value = getattr(model, name) * jnp.exp(log)
        model = eqx.tree_at(lambda m, name=name: getattr(m, name), model, value)
    return model
