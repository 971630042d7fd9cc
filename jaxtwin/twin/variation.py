"""The scales of a Matern field: how much it varies, and over which length."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..fem import MaternModes, spectrum

SMOOTHNESS = 1.0


class Variation(eqx.Module):
    """Standard deviation and correlation length of a Matern field, and what others would make of its modes.

    - `sd`, in the unit of the field; `length_mm`. `eigenvalues`: (modes,), of the Laplacian, 1/mm2. `dim`: of
      the cells.
    """

    sd: float = eqx.field(static=True)
    length_mm: float = eqx.field(static=True)
    eigenvalues: Float[np.ndarray, " modes"]
    dim: int = eqx.field(static=True)

    @staticmethod
    def of(modes: MaternModes, sd: float) -> "Variation":
        """The scales of `field(modes, sd)`."""
        return Variation(float(sd), modes.correlation_length, modes.eigenvalues, modes.dim)

    def weights(self, sd: float, length_mm: float) -> Float[np.ndarray, " modes"]:
        """Standard deviations of the modes at other scales, as multiples of those that they have."""
        return sd / self.sd * np.sqrt(self._spectrum(length_mm) / self._spectrum(self.length_mm))

    def _spectrum(self, length_mm: float) -> Float[np.ndarray, " modes"]:
        power = spectrum(np.asarray(self.eigenvalues, np.float64), length_mm, SMOOTHNESS, self.dim)
        return power / power.sum()
