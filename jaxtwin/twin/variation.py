"""The scales of a Matern field: how much it varies, and over which length."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..fem import MaternModes, spectrum

SMOOTHNESS = 1.0


class Variation(eqx.Module):
    """Standard deviation and correlation length of a Matern field that the maps of a fit may change.

    - `sd`, `length_mm`: as they are. `begin`: both as they were given, the medians of their priors.
    - `eigenvalues`: (modes,), of the Laplacian, 1/mm2. `dim`: of the cells.
    """

    sd: Float[Array, ""]
    length_mm: Float[Array, ""]
    begin: Float[Array, "2"]
    eigenvalues: Float[np.ndarray, " modes"]
    dim: int = eqx.field(static=True)

    @staticmethod
    def of(modes: MaternModes, sd: float) -> "Variation":
        """The scales of `field(modes, sd)`."""
        length, real = modes.correlation_length, modes.modes.dtype
        begin = jnp.asarray([sd, length], real)
        return Variation(begin[0], begin[1], begin, modes.eigenvalues, modes.dim)

    def changed(self, sd: float, length_mm: float) -> "Variation":
        """The same field with other scales."""
        real = self.begin.dtype
        return Variation(
            jnp.asarray(sd, real), jnp.asarray(length_mm, real), self.begin, self.eigenvalues, self.dim
        )

    def weights(self, sd: float, length_mm: float) -> Float[np.ndarray, " modes"]:
        """Standard deviations of the modes, as multiples of those they have now."""
        before = self._spectrum(float(self.length_mm))
        return sd / float(self.sd) * np.sqrt(self._spectrum(length_mm) / before)

    def _spectrum(self, length_mm: float) -> Float[np.ndarray, " modes"]:
        power = spectrum(np.asarray(self.eigenvalues, np.float64), length_mm, SMOOTHNESS, self.dim)
        return power / power.sum()
