"""Problems with a known solution."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import nodal
from ..anatomy import Mesh, sheet, slab
from ..cells import ModifiedMitchellSchaeffer
from ..monodomain import AbstractStimulus


class Steady(eqx.Module):
    """u on a mesh, with div(D grad u) known and no flux through the boundary.

    `tensor`: D in each cell, (cells, dim, dim). `u`, `laplacian`: at the nodes.
    """

    mesh: Mesh
    tensor: Float[np.ndarray, "cells dim dim"]
    u: Float[np.ndarray, " nodes"]
    laplacian: Float[np.ndarray, " nodes"]


def on_sheet(edge: float, distortion: float = 0.0) -> Steady:
    """cos(pi x) cos(pi y) on the unit square, D diagonal 1 : 0.25."""
    return _cosines(sheet(1.0, 1.0, edge, distortion=distortion), (1.0, 0.25))


def on_distorted_sheet(edge: float) -> Steady:
    """The same on randomly distorted triangles."""
    return on_sheet(edge, 0.2)


def on_slab(edge: float) -> Steady:
    """cos(pi x) cos(pi y) cos(pi z) on the unit cube, D diagonal 1 : 0.5 : 0.25."""
    return _cosines(slab(1.0, 1.0, 1.0, edge), (1.0, 0.5, 0.25))


def on_sphere(edge: float) -> Steady:
    """The spherical harmonic xy on the unit sphere: its Laplace-Beltrami operator is -6 times itself."""
    mesh = unit_sphere(round(1.0 / edge))
    u = mesh.points[:, 0] * mesh.points[:, 1]
    return Steady(mesh, np.tile(np.eye(3), (len(mesh.cells), 1, 1)), u, -6.0 * u)


STEADY: dict[str, tuple[Callable[[float], Steady], tuple[float, ...]]] = {
    "sheet": (on_sheet, (1 / 10, 1 / 20, 1 / 40)),
    "distorted sheet": (on_distorted_sheet, (1 / 10, 1 / 20, 1 / 40)),
    "sphere": (on_sphere, (1 / 8, 1 / 16, 1 / 32)),
    "slab": (on_slab, (1 / 4, 1 / 8, 1 / 16)),
}
"""Steady problems by name, with the edges to solve them at."""


def _cosines(mesh: Mesh, diagonal: tuple[float, ...]) -> Steady:
    u = np.cos(np.pi * mesh.points).prod(axis=1)
    return Steady(mesh, np.tile(np.diag(diagonal), (len(mesh.cells), 1, 1)), u, -sum(diagonal) * np.pi**2 * u)


def unit_sphere(frequency: int) -> Mesh:
    """A cube of `frequency` squares a side, cut into triangles and pushed out to the sphere."""
    side = np.tan(np.linspace(-np.pi / 4, np.pi / 4, frequency + 1))
    a, b = np.meshgrid(side, side, indexing="ij")
    one = np.ones_like(a)
    faces = [(a, b, one), (b, a, -one), (one, a, b), (-one, b, a), (b, one, a), (a, -one, b)]
    points = np.concatenate([np.stack(f, -1).reshape(-1, 3) for f in faces])
    i = np.arange((frequency + 1) ** 2).reshape(frequency + 1, -1)
    p, q, r, s = i[:-1, :-1].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel(), i[:-1, 1:].ravel()
    cells = np.concatenate([np.stack([p, q, r], 1), np.stack([p, r, s], 1)])
    cells = np.concatenate([cells + k * (frequency + 1) ** 2 for k in range(6)])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    _, first, same = np.unique(np.round(points, 9), axis=0, return_index=True, return_inverse=True)
    points, cells = points[first], same.ravel()[cells]
    tangent = points[cells[:, 1]] - points[cells[:, 0]]
    return Mesh(points, cells, tangent / np.linalg.norm(tangent, axis=1, keepdims=True))


class Manufactured(AbstractStimulus):
    """J that makes u(x, t) = m(x) (0.2 + 0.4 (t/T)^2) an exact solution of the equations discrete in space.

    The discrete operator replaces div(D grad u), so that only the error in time remains. The gate of
    each node follows its own equation; u crosses the threshold once, at a time known in closed form.

    - `shape`: m, and `diffused`: A m, (nodes,). `stop`: T, ms.
    """

    ionic: ModifiedMitchellSchaeffer
    stop: float = eqx.field(static=True)
    shape: Float[Array, " nodes"] = nodal()
    diffused: Float[Array, " nodes"] = nodal()

    def u(self, t: Float[Array, ""]) -> Float[Array, " nodes"]:
        """The exact u at t ms."""
        return self.shape * (0.2 + 0.4 * (t / self.stop) ** 2)

    def gate(self, t: Float[Array, ""]) -> Float[Array, " nodes"]:
        """The exact h: it opens towards 1 until u crosses a, then closes; both are exponentials."""
        cross = self.stop * jnp.sqrt(jnp.maximum((self.ionic.a / self.shape - 0.2) / 0.4, 0.0))
        before = 1.0 - 0.5 * jnp.exp(-jnp.minimum(t, cross) / self.ionic.tau_open)
        return before * jnp.exp(-jnp.maximum(t - cross, 0.0) / self.ionic.tau_close)

    def mean(self, start, stop):
        t = 0.5 * (start + stop)
        factor = 0.2 + 0.4 * (t / self.stop) ** 2
        speed = self.shape * 0.8 * t / self.stop**2
        return speed - factor * self.diffused - self.ionic.reaction(self.u(t), self.gate(t))
