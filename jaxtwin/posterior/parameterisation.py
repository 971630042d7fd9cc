"""theta -> conductivity: what the data are asked for."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import InputError
from ..anatomy import Mesh
from .matern import MaternModes

Theta = dict[str, Float[Array, "..."]]


class AbstractParameterisation(eqx.Module):
    """theta (a few unconstrained arrays, a priori independent standard normal) -> diffusivity.

    Whitened: the prior is exp(-|theta|^2/2) whatever is estimated, and a unit step means the same
    everywhere, which is what an optimiser likes.
    """

    ceiling: eqx.AbstractVar[float]

    @abstractmethod
    def mean(self) -> Theta:
        """The middle of the prior: all zero."""

    @abstractmethod
    def diffusivity(self, theta: Theta) -> Float[Array, " nodes"]:
        """D along the fibres at the nodes, mm2/ms; never above `ceiling`."""


def soft_clip(x: Float[Array, "..."], low: float, high: float) -> Float[Array, "..."]:
    """x, bent smoothly at both ends so that it stays between them."""
    return low + (jax.nn.softplus(4.0 * (x - low)) - jax.nn.softplus(4.0 * (x - high))) / 4.0


class LogConductivity(AbstractParameterisation):
    """log D = log D_0 + B z - depth sigmoid(scar), with z and the scar's own numbers in theta.

    The columns of the basis B (nodes, terms) carry their prior standard deviations: one constant column
    makes one number, indicators make regions, Matern modes make a field. The scar is a bounded field that
    lowers D by up to exp(-depth), 0 to 1 in between: an area, not a gradient.

    `reference`: D_0, mm2/ms. `floor`, `ceiling`: bounds of D, mm2/ms. The floor stands above the
    conductivity at which a wave blocks on the mesh, where the derivative vanishes; the ceiling is what
    the number of stages of the time step is chosen for.
    """

    basis: Float[Array, "nodes terms"]
    reference: float = eqx.field(static=True, kw_only=True)
    floor: float = eqx.field(static=True, kw_only=True)
    ceiling: float = eqx.field(static=True, kw_only=True)
    scar_basis: Float[Array, "nodes scar_terms"] | None = None
    scar_depth: float = eqx.field(static=True, default=3.0)
    scar_bias: float = eqx.field(static=True, default=-3.0)

    def __check_init__(self):
        if not 0 < self.floor < self.reference < self.ceiling:
            raise InputError(
                f"a floor, reference and ceiling of D of {self.floor:g}, {self.reference:g}, "
                f"{self.ceiling:g} mm2/ms",
                "0 < floor < reference < ceiling",
                "Check the conductivity and its bounds; all must be positive",
            )

    def mean(self) -> Theta:
        theta = {"conductivity": jnp.zeros(self.basis.shape[1], self.basis.dtype)}
        if self.scar_basis is not None:
            theta["scar"] = jnp.zeros(self.scar_basis.shape[1], self.scar_basis.dtype)
        return theta

    def scar(self, theta: Theta) -> Float[Array, " nodes"]:
        """The scar field, 0 (none) to 1."""
        if self.scar_basis is None:
            return jnp.zeros(self.basis.shape[0], self.basis.dtype)
        return jax.nn.sigmoid(self.scar_bias + self.scar_basis @ theta["scar"])

    def diffusivity(self, theta: Theta) -> Float[Array, " nodes"]:
        log_d = float(np.log(self.reference)) + self.basis @ theta["conductivity"]
        log_d = log_d - self.scar_depth * self.scar(theta)
        return jnp.exp(soft_clip(log_d, float(np.log(self.floor)), float(np.log(self.ceiling))))


def uniform(nodes: int, sd: float = 1.0) -> Float[Array, "nodes 1"]:
    """The basis of one number for the whole heart; `sd` of log D."""
    return jnp.full((nodes, 1), sd, float)


def per_region(mesh: Mesh, sd: float = 1.0) -> Float[Array, "nodes regions"]:
    """The basis of one number per region tag (ascending); a node on a border takes the mean of its cells."""
    tags, index = np.unique(mesh.regions, return_inverse=True)
    share = np.zeros((len(mesh.points), len(tags)))
    np.add.at(share, (mesh.cells.ravel(), np.repeat(index, mesh.corners)), 1.0)
    return jnp.asarray(sd * share / share.sum(axis=1, keepdims=True), float)


def field(modes: MaternModes, sd: float = 0.5, level_sd: float = 1.0) -> Float[Array, "nodes terms"]:
    """The basis of a Matern field: a free level, `level_sd`, and variation around it, `sd`, both of log D."""
    level = jnp.full((modes.modes.shape[0], 1), level_sd, modes.modes.dtype)
    return jnp.concatenate([level, sd * modes.modes], axis=1)
