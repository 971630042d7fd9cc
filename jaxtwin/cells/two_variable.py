"""Cells of two variables, a scaled voltage and one gate, whose front has a speed in closed form."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import InputError
from .._types import Parameter
from .model import AbstractIonicModel, known, parameter_names


def positive_root(x: Parameter) -> Float[Array, "..."]:
    """sqrt(x), and 0 with a derivative of 0 where x is not positive."""
    x = jnp.asarray(x)
    inside = x > 0.0
    return jnp.where(inside, jnp.sqrt(jnp.where(inside, x, 1.0)), 0.0)


class AbstractTwoVariableModel(AbstractIonicModel):
    """A cell with a voltage u, scaled to rest at 0 and peak near 1, and one gate, open (1) at rest.

    Times in ms, all above 0; scalars or fields over the nodes. V = V_min + (V_max - V_min) u in mV.
    """

    threshold: ClassVar[float] = 0.5
    recovery: ClassVar[float] = 0.1
    bounds: ClassVar[tuple[float, float]] = (-5.0, 5.0)
    strength: ClassVar[float] = 0.5

    tau_in: eqx.AbstractVar[Parameter]
    tau_out: eqx.AbstractVar[Parameter]
    tau_open: eqx.AbstractVar[Parameter]
    tau_close: eqx.AbstractVar[Parameter]
    v_min: eqx.AbstractVar[float]
    v_max: eqx.AbstractVar[float]

    def __check_init__(self):
        """Raises `InputError` for times that are not positive and for cells that no stimulus can excite."""
        for name in parameter_names(self):
            value, is_time = known(getattr(self, name)), name.startswith("tau")
            if value is not None and not (np.isfinite(value).all() and ((value > 0).all() or not is_time)):
                raise InputError(
                    f"{type(self).__name__} with {name} = {_shown(value)}",
                    "a finite time above 0 ms" if is_time else "a finite number", "Correct the parameter",
                )  # fmt: skip
        symbol, size, limit = self.excitability()
        value = known(size)
        if value is not None and not (value < limit).any():
            raise InputError(
                f"{type(self).__name__} cells that no stimulus can excite: {symbol} = {_shown(value)}",
                f"{symbol} below {limit:.4g}, where a wave into resting tissue has a speed",
                "Correct the parameters",
            )

    @abstractmethod
    def excitability(self) -> tuple[str, Parameter, float]:
        """What decides whether a wave enters resting tissue: its symbol, value and upper limit."""

    @abstractmethod
    def speed(self, diffusivity: Parameter, h: Parameter = 1.0) -> Float[Array, "..."]:
        """Speed of a plane wave into tissue whose gate stands at `h`, mm/ms; 0 where the tissue blocks."""

    def closed_form_speed(self, diffusivity):
        return self.speed(diffusivity)

    def diffusivity(self, speed: Parameter) -> Float[Array, "..."]:
        """The diffusivity, mm2/ms, at which a plane wave has this speed, mm/ms: CV grows with sqrt(D).

        Raises `InputError` where the cells do not conduct.
        """
        found = jnp.asarray(speed / self.speed(1.0 + 0.0 * speed)) ** 2
        value = known(found)
        if value is not None and not np.isfinite(value).all():
            raise InputError(
                f"a speed for {type(self).__name__} cells that do not conduct",
                "cells along which a wave travels",
                "Make them more excitable, or leave out the nodes at which they are not",
            )  # fmt: skip
        return found

    def resting(self) -> tuple[float, float]:
        return 0.0, 1.0

    def stiffness(self):
        return jnp.max(jnp.asarray(1.0 / self.tau_in + 1.0 / self.tau_out))

    def millivolts(self, u):
        return self.v_min + (self.v_max - self.v_min) * u


def _shown(value: np.ndarray) -> str:
    return f"{float(value):g}" if value.ndim == 0 else f"values from {value.min():g} to {value.max():g}"
