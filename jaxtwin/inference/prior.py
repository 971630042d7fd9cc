"""The prior of theta, and the coordinates in which it is standard normal."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._results import InputError
from ..twin import Theta


class Prior(eqx.Module):
    """Gaussian prior N(mean, root root^T) of the parameters: theta = mean + root z with z standard normal.

    Optimisers, curvatures and posteriors work in z ("white"), where a unit step has the same meaning in every
    direction. With `root` None, z is theta - mean.

    - `mean`: the prior mean of theta. `root`: (parameters, parameters), or the diagonal of such a matrix,
      (parameters,), in the order of `ravel_pytree`.
    - `scales`: standard deviation and correlation length (mm) of the fields whose scales a fit infers, by
      name; `root` then contains them.
    """

    mean: Theta
    root: Float[Array, "parameters parameters"] | Float[Array, " parameters"] | None = None
    scales: dict[str, Float[Array, "2"]] = eqx.field(default_factory=dict)

    def __check_init__(self):
        size = ravel_pytree(self.mean)[0].size
        if self.root is not None and self.root.shape not in ((size,), (size, size)):
            raise InputError(
                f"a prior root of shape {self.root.shape} for {size} parameters", f"shape ({size}, {size})",
                "Make it for the same twin and evidence",
            )  # fmt: skip

    def at(self, white: Theta) -> Theta:
        """theta = mean + root z."""
        return jax.tree.map(jnp.add, self.mean, self.push(white))

    def white(self, theta: Theta) -> Theta:
        """z of theta: the inverse of `at`."""
        moved = jax.tree.map(jnp.subtract, theta, self.mean)
        if self.root is None:
            return moved
        flat, back = ravel_pytree(moved)
        return back(flat / self.root if self.root.ndim == 1 else jnp.linalg.solve(self.root, flat))

    def energy(self, white: Theta) -> Float[Array, ""]:
        """|z|^2/2, the negative log prior density up to a constant."""
        return 0.5 * sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(white)), start=jnp.zeros(()))

    def push(self, white: Theta) -> Theta:
        """The change of theta, root v, for a change v of z."""
        if self.root is None:
            return white
        flat, back = ravel_pytree(white)
        return back(self.root * flat if self.root.ndim == 1 else self.root @ flat)

    def pull(self, gradient: Theta) -> Theta:
        """The gradient with respect to z, root^T g, from a gradient g with respect to theta."""
        if self.root is None:
            return gradient
        flat, back = ravel_pytree(gradient)
        return back(self.root * flat if self.root.ndim == 1 else self.root.T @ flat)

    def from_theta(
        self, derivative: Float[np.ndarray, "rows parameters"]
    ) -> Float[np.ndarray, "rows parameters"]:
        """Derivatives with respect to z, from rows of derivatives with respect to theta."""
        if self.root is None:
            return derivative
        root = np.asarray(self.root, np.float64)
        return derivative * root if root.ndim == 1 else derivative @ root

    def to_theta(
        self, derivative: Float[np.ndarray, "rows parameters"]
    ) -> Float[np.ndarray, "rows parameters"]:
        """The transpose of `from_theta`."""
        if self.root is None:
            return derivative
        root = np.asarray(self.root, np.float64)
        return derivative * root if root.ndim == 1 else derivative @ root.T
