"""The simulated waves of all maps of a twin."""

import numpy as np
from jaxtyping import Array, Float

from .cores import of_each
from .parameters import Theta
from .twin import Twin
from .wave import Wave


def simulated_waves(
    twin: Twin, theta: Theta, activation: tuple[Float[Array, " nodes"], ...] = ()
) -> tuple[Wave, ...]:
    """The waves of all maps at theta, with their discretisation error. `activation`: their activation times
    at the nodes, ms, if already computed."""
    each = [(k, activation[k] if activation else None) for k in range(len(twin.beats))]
    stepped = twin.stepped_for(theta)
    return tuple(of_each(lambda one: stepped.wave(theta, *one), each))


def diffusivity_error(twin: Twin, waves: tuple[Wave, ...]) -> Float[np.ndarray, " nodes"]:
    """Standard deviation of log D at the nodes due to the discretisation error of the `waves`; see
    `MeshError.of_diffusivity`. 0 without waves or without an estimated mesh error."""
    if twin.mesh_error is None or not waves:
        return np.zeros(twin.space.nodes)
    return twin.mesh_error.of_diffusivity(waves)
