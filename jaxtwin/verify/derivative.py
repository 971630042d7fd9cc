"""Derivatives of a solve: against central differences, forward against reverse mode, hand-written against
autodiff.

In each case waves run and gates cross their threshold inside the window.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..anatomy import Mesh, atrial_shell, sheet, slab
from ..cells import AbstractIonicModel, MitchellSchaeffer
from ..fem import Space
from ..monodomain import (
    AbstractAdjoint,
    AbstractRecorder,
    Checkpointed,
    ForwardMode,
    RungeKuttaChebyshev,
    Times,
    Tissue,
    diffusion_tensor,
    pulse,
    simulate,
)
from ..signals import ActivationTimes, VoltageTrace

# a short refractory time, so that activation and repolarisation both fall into 40 ms
TIMES_OF_CELL = {"tau_in": 0.3, "tau_out": 5.0, "tau_open": 30.0, "tau_close": 12.0}
DERIVATIVE_MESHES: dict[str, Callable[[], Mesh]] = {
    "sheet": lambda: sheet(4.0, 4.0, 0.5, fibre_angle=0.5, distortion=0.2),
    "surface": lambda: atrial_shell(4.0),
    "slab": lambda: slab(3.0, 2.0, 1.0, 0.5),
}
STEPPER = RungeKuttaChebyshev(3)


def _recorders() -> dict[str, AbstractRecorder]:
    return {
        "activation": ActivationTimes(),
        "two activations": ActivationTimes(count=2),
        "repolarisation": ActivationTimes(threshold=0.3, upward=False),
        "trace": VoltageTrace(jnp.asarray([3, 17])),
    }


def _parameters(mesh: Mesh) -> dict[str, Float[Array, "..."]]:
    rng = np.random.default_rng(0)
    scale = 4.0 if mesh.corners == 3 and mesh.dim == 3 else 0.3
    log_d = jnp.asarray(np.log(scale) + 0.1 * rng.standard_normal(len(mesh.cells)))
    scalars = TIMES_OF_CELL | {"ratio": 2.0, "strength": 1.0, "onset": 0.0}
    return {k: jnp.asarray(v) for k, v in scalars.items()} | {"log_d": log_d}


def _observe(
    theta, mesh: Mesh, space: Space, model: type[AbstractIonicModel], recorders, adjoint: AbstractAdjoint
) -> Float[Array, " recorders"]:
    """A smooth scalar of each record of one solve; theta is everything one may fit."""
    ionic = model(**{k: theta[k] for k in TIMES_OF_CELL})
    near = np.linalg.norm(mesh.points - mesh.points.min(axis=0)[None], axis=1)
    start = pulse(near <= np.sort(near)[4], len(mesh.points), onset=1.03, duration=2.0)
    start = eqx.tree_at(
        lambda s: (s.strength, s.onset),
        start,
        (start.strength * theta["strength"], start.onset + theta["onset"]),
    )
    tensor = diffusion_tensor(mesh.fibres, jnp.exp(theta["log_d"]), theta["ratio"])
    solution = simulate(
        Tissue(space, ionic, tensor, start), Times(40.0, 0.1),
        stepper=STEPPER, recorders=recorders, adjoint=adjoint,
    )  # fmt: skip

    def scalar(record):
        weights = jnp.cos(jnp.arange(record.size, dtype=record.dtype)).reshape(record.shape)
        return jnp.nansum(weights * record) / jnp.sum(jnp.isfinite(record), dtype=record.dtype)

    return jnp.stack([scalar(r) for r in solution.records]) + jnp.mean(solution.state.gates)


def derivative_errors(model: type[AbstractIonicModel]) -> dict[str, dict[str, dict[str, float]]]:
    """Reverse mode against central differences and forward mode: parameter -> recorder -> relative errors.

    Each parameter is varied along a random direction. Errors are |a - b| / (|b| + 1e-3).
    """
    mesh, recorders = DERIVATIVE_MESHES["sheet"](), _recorders()
    space, theta = Space(mesh), _parameters(mesh)

    def value(theta, adjoint):
        return _observe(theta, mesh, space, model, tuple(recorders.values()), adjoint)

    solve = jax.jit(lambda t: value(t, Checkpointed()))
    jacobian = jax.jit(jax.jacrev(lambda t: value(t, Checkpointed())))(theta)
    forward = jax.jit(lambda t, d: jax.jvp(lambda t: value(t, ForwardMode()), (t,), (d,))[1])
    rng = np.random.default_rng(1)
    table = {}
    for name in theta:
        direction = {k: jnp.zeros_like(v) for k, v in theta.items()}
        direction[name] = jnp.asarray(rng.standard_normal(theta[name].shape))
        # short enough that crossings rarely pass a step boundary, where the derivative has a kink
        size = 1e-6 * float(jnp.max(jnp.abs(theta[name]) + 0.1)) / float(jnp.max(jnp.abs(direction[name])))
        ahead, behind = (
            np.asarray(solve(jax.tree.map(lambda t, d, s=s: t + s * d, theta, direction)))
            for s in (size, -size)
        )
        difference = (ahead - behind) / (2 * size)
        reverse = np.asarray(jnp.tensordot(jacobian[name], direction[name], axes=direction[name].ndim))
        along = np.asarray(forward(theta, direction))
        table[name] = {
            recorder: {
                "difference": float(abs(reverse[k] - difference[k]) / (abs(difference[k]) + 1e-3)),
                "forward": float(abs(reverse[k] - along[k]) / (abs(along[k]) + 1e-3)),
                "size": float(abs(reverse[k])),
            }
            for k, recorder in enumerate(recorders)
        }
    return table


def transpose_error(mesh_name: str, memory: float, consistent_mass: float = 0.0) -> dict[str, float]:
    """The hand-written transpose against plain autodiff, per parameter, relative to its largest entry.

    `memory`, bytes: with 1e9 the trajectory is stored, with 6e5 it is computed again in blocks.
    `consistent_mass`: see `Space`.
    """
    mesh = DERIVATIVE_MESHES[mesh_name]()
    space, theta = Space(mesh, consistent_mass=consistent_mass), _parameters(mesh)

    def gradient(adjoint):
        return jax.jit(
            jax.grad(lambda t: _observe(t, mesh, space, MitchellSchaeffer, (ActivationTimes(),), adjoint)[0])
        )(theta)

    by_hand, plain = gradient(Checkpointed(memory)), gradient(ForwardMode())
    return {
        name: float(jnp.abs(by_hand[name] - plain[name]).max() / jnp.abs(plain[name]).max()) for name in theta
    }
