"""Array types shared by all packages.

`HostFloat`, `HostInt` are numpy arrays: geometry stays on the host in float64, whatever precision the
solver runs in. `Float`, `Int` of `jaxtyping` with `Array` are JAX arrays.
"""

import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar

HostArray = np.ndarray

__all__ = ["Array", "Bool", "Float", "HostArray", "Int", "PyTree", "Scalar"]
