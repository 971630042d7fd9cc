"""Types shared by all packages."""

import numpy as np
from jaxtyping import Array, Float

Parameter = float | Float[Array, "..."] | Float[np.ndarray, "..."]
"""A number one may fit, sweep or batch: a Python number, a scalar, or a field."""
