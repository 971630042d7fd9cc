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
SHARED = 0.8  # fraction of that variance that all maps share
MODES = 9
SHORT_MS = 5.0  # fraction of a run, below which the relative error is not used


class MeshError(eqx.Module):
    """The unknown factor that multiplies the estimated discretisation error of each map: a level and a smooth
    field.

    The estimate gives the magnitude of the error. On a sheet with an edge length of 1 mm the true error was
    -0.4 to 1.0 times the estimate, depending on whether the wave runs along or across the diagonals of the
    cells; such a factor halved the remaining error. The same mesh and tissue cause similar errors, so most of
    the factor is shared by all maps.

    - `basis`: (nodes, terms). Its coefficients in theta are (maps + 1, terms), the last row shared by all
      maps.
    """

    basis: Float[Array, "nodes error_terms"]

    def __init__(self, mesh: Mesh, dtype):
        length = 0.5 * float(np.ptp(mesh.points, axis=0).max())
        count = min(MODES, len(mesh.points) // 3)
        smooth = matern_modes(mesh, correlation_length=length, count=count)
        self.basis = field(smooth, VARIATION, LEVEL).astype(dtype)

    def numbers(self, theta: Theta, map_index: Int[Array, ""] | int | None) -> Float[Array, " error_terms"]:
        """Coefficients of the basis for map `map_index`, or their expectation for an unmapped stimulus
        (None)."""
        shared = SHARED**0.5 * theta["maps"]["mesh_error"][-1]
        if map_index is None:
            return shared
        return shared + (1.0 - SHARED) ** 0.5 * theta["maps"]["mesh_error"][map_index]

    def fields(self, wave: Wave) -> Float[Array, "nodes error_terms"]:
        """The basis times the estimated error of a wave: fields of times, ms."""
        assert wave.error is not None
        return jnp.nan_to_num(jnp.asarray(wave.error.of_nodes, self.basis.dtype))[:, None] * self.basis

    def of_times(self, theta: Theta, map_index: int | None, wave: Wave) -> Float[Array, " nodes"]:
        """Estimated discretisation error of the times of a wave at theta, ms."""
        return self.fields(wave) @ self.numbers(theta, map_index)

    def of_diffusivity(self, waves: tuple[Wave, ...]) -> Float[np.ndarray, " nodes"]:
        """Standard deviation of log D at the nodes that the discretisation error implies.

        Speed is proportional to the square root of D, so it is twice the relative error of the time since the
        wave started, averaged over the maps. The fitted factor is not subtracted: an error common to all maps
        cannot be distinguished from a change of the tissue.
        """
        shares = []
        for wave in waves:
            assert wave.error is not None
            lat = np.asarray(wave.activation, np.float64)
            # unknown where not activated; the mean ignores it
            run = np.maximum(lat - np.min(lat, where=np.isfinite(lat), initial=np.inf), SHORT_MS)
            shares.append(2.0 * wave.error.of_nodes / run)
        reached = np.isfinite(shares)
        return np.where(reached, shares, 0.0).sum(axis=0) / np.maximum(reached.sum(axis=0), 1)
