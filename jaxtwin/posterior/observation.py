"""A map on the device: where its points are, on which clock, and how times there change with theta."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.spatial import KDTree

from ..anatomy import Mesh
from ..fem import Interpolation
from ..monodomain import Stimulus
from .parameterisation import Theta

LEAVING = 5.0  # mm from a source, within which its wave has formed


class Clock(eqx.Module):
    """Where a wave leaves its source: nodes just outside of those it excites, and its mean onset, ms.

    How long a stimulus takes to start a wave hangs on tissue at the site that no point can tell from the
    unknown offset of the map. So times count from when the wave has left.
    """

    nodes: Int[Array, " around"]
    onset: Float[Array, ""]

    def since(self, activation: Float[Array, " nodes"]) -> Float[Array, ""]:
        """What to take from activation times, ms, for the wave to leave at the mean onset."""
        around = activation[self.nodes]
        left = jnp.isfinite(around)
        mean = jnp.sum(jnp.where(left, around, 0.0)) / jnp.maximum(left.sum(dtype=around.dtype), 1.0)
        return jnp.where(left.any(), mean - self.onset, 0.0)


def clock(mesh: Mesh, stimulus: Stimulus, beat: int, dtype) -> Clock:
    """The clock of one map, whose `beat` starts with the pulse of that number."""
    starts, onset = stimulus.starts(beat)
    excited = np.isin(np.arange(len(mesh.points)), starts)
    distance, _ = KDTree(mesh.points[excited]).query(mesh.points)
    around = np.flatnonzero(~excited & (distance <= LEAVING))
    return Clock(jnp.asarray(around), jnp.asarray(onset.mean(), dtype))


class Observation(eqx.Module):
    """One map on the device: where the points are, what was measured, and which points count.

    - `index`: of the map. `stimulus`: what starts its wave. `beat`: the number of the pulse that does.
    - `basis`: (points, terms), of the discrepancy, or None. `mesh_error`: (points, terms),
      what the mesh may have done to the times, or None.
    - `log_mv`: (points,), logarithm of the voltage, NaN where unknown, or None where voltages do not count.
    - `lost`: the share of the points that the estimated numbers have used up, when the logarithm of the scale
      of the noise was `level`.
    """

    index: Int[Array, ""]
    stimulus: Stimulus
    beat: int = eqx.field(static=True)
    place: Interpolation
    clock: Clock
    lat_ms: Float[Array, " points"]
    sigma_ms: Float[Array, " points"]
    silent: Bool[Array, " points"]
    weight: Float[Array, " points"]
    basis: Float[Array, "points terms"] | None
    mesh_error: Float[Array, "points error_terms"] | None
    log_mv: Float[Array, " points"] | None
    lost: Float[Array, ""]
    level: Float[Array, ""]

    def weighed(self, mesh_error, lost: float, level: float) -> "Observation":
        """With what only a fit can tell."""
        real = self.lat_ms.dtype
        error = None if mesh_error is None else jnp.asarray(mesh_error, real)
        return eqx.tree_at(
            lambda o: (o.mesh_error, o.lost, o.level), self,
            (error, jnp.asarray(lost, real), jnp.asarray(level, real)),
            is_leaf=lambda leaf: leaf is None,
        )  # fmt: skip

    @property
    def dense(self) -> Bool[Array, " points"]:
        """Points with a time to compare."""
        return (self.weight > 0) & ~self.silent


class Course(eqx.Module):
    """The activation at some points as a function of theta, near one theta.

    - `predicted`: (points,), simulated there, ms; 0 where not `reached`.
    - `matrix`: (pieces, length), minus the delays on the rays to the points, at the `nodes` of the same
      shape, in pieces each of which is part of one `row`, a point; or, where these are None, the exact
      Jacobian (points, numbers).
    - `theta`: there. `cell`, `slope`: of the rays, see `Rays`. `pace`: their q at theta.
    """

    predicted: Float[Array, " points"]
    reached: Bool[Array, " points"]
    matrix: Float[Array, "rows columns"]
    nodes: Int[Array, "rows columns"] | None
    row: Int[Array, " rows"] | None
    theta: Theta
    cell: Int[Array, " nodes"] | None
    slope: Float[Array, "nodes dim"] | None
    pace: Float[Array, " nodes"] | None
