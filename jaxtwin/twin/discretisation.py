"""The discretisation error of the mesh as an unknown of the fit."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..anatomy import Mesh
from ..fem import matern_modes
from .parameters import Theta
from .tissue_map import field
from .wave import Wave

LEVEL, VARIATION = 0.6, 0.5  # prior standard deviations of the factor, see `MeshError`
SHARED = 0.8  # of that variance, what all maps have alike
MODES = 9
SHORT_MS = 5.0  # of a run, below which its relative error is not taken


class MeshError(eqx.Module):
    """The unknown factor with which each map has the estimated error of the mesh: a level and a smooth field.

    The estimate is a size. On a sheet with edges of 1 mm the true error was -0.4 to 1.0 times it, as the
    wave runs along or across the diagonals of the cells, and what such a factor leaves was half as large.
    One mesh and one tissue make errors that are much alike: most of the factor is shared by all maps.

    - `basis`: (nodes, terms). Its numbers in theta are (maps + 1, terms), the last what all maps share.
    """

    basis: Float[Array, "nodes error_terms"]

    def __init__(self, mesh: Mesh, dtype):
        length = 0.5 * float(np.ptp(mesh.points, axis=0).max())
        count = min(MODES, len(mesh.points) // 3)
        smooth = matern_modes(mesh, correlation_length=length, count=count)
        self.basis = field(smooth, VARIATION, LEVEL).astype(dtype)

    def numbers(self, theta: Theta, map_index: Int[Array, ""] | int | None) -> Float[Array, " error_terms"]:
        """What stands before the basis in map `map_index`, or should (None) in one that was not measured."""
        shared = SHARED**0.5 * theta["maps"]["mesh_error"][-1]
        if map_index is None:
            return shared
        return shared + (1.0 - SHARED) ** 0.5 * theta["maps"]["mesh_error"][map_index]

    def fields(self, wave: Wave) -> Float[Array, "nodes error_terms"]:
        """The basis times the estimated error of a wave: fields of times, ms."""
        assert wave.error is not None
        return jnp.nan_to_num(jnp.asarray(wave.error.of_nodes, self.basis.dtype))[:, None] * self.basis

    def of_times(self, theta: Theta, map_index: int | None, wave: Wave) -> Float[Array, " nodes"]:
        """What the mesh does to the times of a wave by theta, ms."""
        return self.fields(wave) @ self.numbers(theta, map_index)

    def of_diffusivity(self, waves: tuple[Wave, ...]) -> Float[np.ndarray, " nodes"]:
        """Standard deviation of log D that the edges of the mesh leave at the nodes.

        Speed goes with the root of D, so that it is twice the relative error of the time for which a wave has
        run, in the mean over the maps. What the factor finds is not taken off: an error that all maps have
        alike cannot be told from tissue.
        """
        shares = []
        for wave in waves:
            assert wave.error is not None
            lat = np.asarray(wave.activation, np.float64)
            # where no wave comes nothing is known, which the mean leaves out
            run = np.maximum(lat - np.min(lat, where=np.isfinite(lat), initial=np.inf), SHORT_MS)
            shares.append(2.0 * wave.error.of_nodes / run)
        reached = np.isfinite(shares)
        return np.where(reached, shares, 0.0).sum(axis=0) / np.maximum(reached.sum(axis=0), 1)
