"""One beat of a map: the pulse that starts its wave, and the time at which the wave leaves its source."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.spatial import KDTree

from ..anatomy import Mesh
from ..monodomain import Stimulus

LEAVING = 5.0  # mm from a source, at which its wave has formed
ROUND = 256  # nodes of a departure are padded to a multiple of it


class Departure(eqx.Module):
    """When a wave leaves its source: the nodes just outside the excited area, and its mean onset, ms. The
    number of nodes of the mesh pads them, so that the beats of a mesh share compiled programs.

    The capture latency depends on local tissue and is confounded with the unknown time offset of the map.
    Times are therefore counted from the moment when the wave has left its source.
    """

    nodes: Int[Array, " around"]
    onset: Float[Array, ""]

    def latency(self, activation: Float[Array, " nodes"]) -> Float[Array, ""]:
        """Value to subtract from activation times, ms, so that the wave leaves at the mean onset."""
        around = activation.at[self.nodes].get(mode="fill", fill_value=jnp.nan)
        left = jnp.isfinite(around)
        mean = jnp.sum(jnp.where(left, around, 0.0)) / jnp.maximum(left.sum(dtype=around.dtype), 1.0)
        return jnp.where(left.any(), mean - self.onset, 0.0)

    def reached(self, activation: Float[np.ndarray, " nodes"]) -> Int[np.ndarray, " some"]:
        """Those of its nodes that are activated."""
        around = np.asarray(self.nodes)
        around = around[around < len(activation)]
        return around[np.isfinite(activation[around])]


class Beat(eqx.Module):
    """The beat whose wave a map shows.

    - `stimulus`: all pulses, starting from rest. `pulse`: number, from 0, of the pulse whose wave is shown.
    - `departure`: when that wave leaves its source.
    """

    stimulus: Stimulus
    departure: Departure
    pulse: int = eqx.field(static=True)

    @property
    def onset(self) -> Float[Array, ""]:
        """Onset of the mapped pulse, ms."""
        return self.stimulus.onset[self.pulse]

    def starts(self) -> tuple[Int[np.ndarray, " starts"], Float[np.ndarray, " starts"]]:
        """The nodes that the mapped pulse excites, and its onset at each, ms."""
        return self.stimulus.starts(self.pulse)


def beat(mesh: Mesh, stimulus: Stimulus, dtype, pulse: int = -1) -> Beat:
    """Returns the beat of a stimulus on a mesh.

    **Arguments:** `dtype`: of the solver. `pulse`: number of the pulse whose wave the map shows; the last one
    if omitted.
    """
    pulse = range(stimulus.pulses)[pulse]
    nodes, onset = stimulus.starts(pulse)
    excited = np.zeros(len(mesh.points), bool)
    excited[nodes] = True
    distance, _ = KDTree(mesh.points[excited]).query(mesh.points)
    around = np.flatnonzero(~excited & (distance <= LEAVING))
    around = np.pad(around, (0, -len(around) % ROUND), constant_values=len(mesh.points))
    return Beat(stimulus, Departure(jnp.asarray(around), jnp.asarray(onset.mean(), dtype)), pulse)
