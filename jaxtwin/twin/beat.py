"""One beat of a map: what starts its wave, and the time reference that the wave itself gives."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.spatial import KDTree

from ..anatomy import Mesh
from ..monodomain import Stimulus

LEAVING = 5.0  # mm from a source, within which its wave has formed


class Departure(eqx.Module):
    """When a wave leaves its source: nodes just outside of those it excites, and its mean onset, ms.

    The capture latency depends on tissue at the site and is confounded with the unknown time offset of the
    map. So times count from the moment when the wave has left.
    """

    nodes: Int[Array, " around"]
    onset: Float[Array, ""]

    def latency(self, activation: Float[Array, " nodes"]) -> Float[Array, ""]:
        """What to subtract from activation times, ms, for the wave to leave at the mean onset."""
        around = activation[self.nodes]
        left = jnp.isfinite(around)
        mean = jnp.sum(jnp.where(left, around, 0.0)) / jnp.maximum(left.sum(dtype=around.dtype), 1.0)
        return jnp.where(left.any(), mean - self.onset, 0.0)


class Beat(eqx.Module):
    """What starts the wave that a map shows.

    - `stimulus`: all pulses from rest on. `pulse`: the number, from 0, of the one whose wave is shown.
    - `departure`: when that wave leaves its source.
    """

    stimulus: Stimulus
    departure: Departure
    pulse: int = eqx.field(static=True)

    @property
    def onset(self) -> Float[Array, ""]:
        """Onset of the pulse that is shown, ms."""
        return self.stimulus.onset[self.pulse]

    def starts(self) -> tuple[Int[np.ndarray, " starts"], Float[np.ndarray, " starts"]]:
        """The nodes that the pulse excites, and when it begins at each, ms."""
        return self.stimulus.starts(self.pulse)


def beat(mesh: Mesh, stimulus: Stimulus, dtype, pulse: int = -1) -> Beat:
    """The beat of a stimulus on a mesh. `pulse`: the one whose wave is shown, the last where not given."""
    pulse = range(stimulus.pulses)[pulse]
    nodes, onset = stimulus.starts(pulse)
    excited = np.zeros(len(mesh.points), bool)
    excited[nodes] = True
    distance, _ = KDTree(mesh.points[excited]).query(mesh.points)
    around = np.flatnonzero(~excited & (distance <= LEAVING))
    return Beat(stimulus, Departure(jnp.asarray(around), jnp.asarray(onset.mean(), dtype)), pulse)
