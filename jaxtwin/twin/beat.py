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
    def excited(self) -> Float[Array, " nodes"]:
        """Strength of the pulse that is shown, 1/ms; 0 at nodes that it does not excite."""
        return self.stimulus.strength[self.pulse]

    @property
    def onset(self) -> Float[Array, " nodes"]:
        """Onset of the pulse that is shown, ms; without a meaning at nodes that it does not excite."""
        return self.stimulus.onset[self.pulse]

    def sources(self) -> Int[np.ndarray, " some"]:
        """The nodes that the pulse excites."""
        return np.flatnonzero(np.asarray(self.excited) > 0)


def beat(mesh: Mesh, stimulus: Stimulus, dtype, pulse: int = -1) -> Beat:
    """The beat of a stimulus on a mesh. `pulse`: the one whose wave is shown, the last where not given."""
    pulse = range(stimulus.strength.shape[0])[pulse]
    excited = np.asarray(stimulus.strength[pulse]) > 0
    distance, _ = KDTree(mesh.points[excited]).query(mesh.points)
    around = np.flatnonzero(~excited & (distance <= LEAVING))
    onset = float(np.asarray(stimulus.onset[pulse])[excited].mean())
    return Beat(stimulus, Departure(jnp.asarray(around), jnp.asarray(onset, dtype)), pulse)
