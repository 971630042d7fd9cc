"""Taylor test of a gradient: the remainder of the linear model must be of second order in the step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..anatomy import sheet
from ..cells import AbstractIonicModel
from ..fem import Space
from ..monodomain import Checkpointed, RungeKuttaChebyshev, Times, Tissue, diffusion_tensor, pulse, simulate
from ..signals import ActivationTimes
from .order import Order

STEPS = tuple(float(10.0 ** (-k / 2)) for k in range(3, 9))
"""Lengths of the step along the direction: 0.03 down to 0.0001."""


@eqx.filter_jit
def _misfit(theta, space: Space, fibres, start, model: type[AbstractIonicModel], targets):
    """Half the mean square of (activation times - `targets`), plus the same for the gates at the end."""
    positive = jax.tree.map(jnp.exp, theta)
    ionic = model(**{name: positive[name] for name in ("tau_in", "tau_out", "tau_open", "tau_close")})
    stimulus = eqx.tree_at(lambda s: s.strength, start, start.strength * positive["strength"])
    tensor = diffusion_tensor(fibres, positive["diffusivity"], positive["ratio"])
    solution = simulate(
        Tissue(space, ionic, tensor, stimulus), Times(40.0, 0.1), stepper=RungeKuttaChebyshev(4),
        recorders=(ActivationTimes(),), adjoint=Checkpointed(),
    )  # fmt: skip
    times = jnp.nan_to_num(solution.records[0], nan=40.0)
    return 0.5 * jnp.mean((times - targets) ** 2) + 0.5 * jnp.mean((solution.state.gates - 0.5) ** 2)


def taylor_remainders(model: type[AbstractIonicModel]) -> Order:
    """|J(theta + s d) - J(theta) - s grad J . d| over the length s, for a misfit J of times and gates.

    theta: the logarithms of D in each cell, of the ratio along over across, of the four times of the cell and
    of the strength of the stimulus; d changes all of them at once, in a random direction. An order of 2 says
    that the gradient by reverse mode is that of the solve, over all step lengths and not for one; a wrong
    gradient gives 1. In 40 ms the wave crosses the sheet and the tissue repolarises behind it.
    """
    mesh = sheet(4.0, 4.0, 0.5, fibre_angle=0.5, distortion=0.2)
    rng = np.random.default_rng(3)
    centre = {
        "diffusivity": np.log(0.3) + 0.1 * rng.standard_normal(len(mesh.cells)), "ratio": np.log(2.0),
        "tau_in": np.log(0.3), "tau_out": np.log(5.0), "tau_open": np.log(30.0), "tau_close": np.log(12.0),
        "strength": 0.0,
    }  # fmt: skip
    theta = {name: jnp.asarray(value) for name, value in centre.items()}
    along = {name: jnp.asarray(rng.standard_normal(np.shape(value))) for name, value in centre.items()}
    near = np.linalg.norm(mesh.points, axis=1)
    start = pulse(near <= 1.0, len(near))
    space, fibres, targets = Space(mesh), jnp.asarray(mesh.fibres), jnp.asarray(2.0 * near)

    def value(s: float):
        moved = {name: theta[name] + s * along[name] for name in theta}
        return float(_misfit(moved, space, fibres, start, model, targets))

    here, gradient = eqx.filter_value_and_grad(_misfit)(theta, space, fibres, start, model, targets)
    slope = sum(float(jnp.sum(gradient[name] * along[name])) for name in theta)
    return Order(STEPS, tuple(abs(value(s) - float(here) - s * slope) for s in STEPS))
