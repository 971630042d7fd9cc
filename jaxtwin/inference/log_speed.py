"""The logarithm of the wave speed along the slowness of a front, and its derivative with respect to theta."""

import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from .._compiled import compiled
from .._processors import processors
from ..signals import wave_speed
from ..twin import Theta, Twin

COLUMNS = 64  # of a derivative at once, so that memory does not grow with the number of parameters


def tissue_part(theta: Theta) -> Theta:
    """The part of theta on which the wave speed depends."""
    return {"tissue": theta["tissue"], "cells": theta["cells"]}


def tissue_places(theta: Theta) -> Theta:
    """The indices of each parameter of tissue and cells in the flattened theta."""
    flat, back = ravel_pytree(theta)
    numbered = tissue_part(back(jnp.arange(flat.size, dtype=flat.dtype)))
    return jax.tree.map(lambda place: np.asarray(place, int), numbered)


def tissue_indices(theta: Theta) -> Int[np.ndarray, " some"]:
    """The indices of all parameters of tissue and cells in the flattened theta."""
    return np.concatenate([np.ravel(places) for places in jax.tree.leaves(tissue_places(theta))])


def log_speed(part: Theta, twin: Twin, cell, direction) -> Float[Array, " nodes"]:
    """q = log(speed of the cells) + log(s.D s)/2 at the nodes, with s the slowness of the front and D that of
    the cell through which it came."""
    fields = twin.tissue_map.fields(part["tissue"])
    return speed_of_fields(fields, part["cells"], twin, cell, direction)


def speed_of_fields(fields, cells: Theta, twin: Twin, cell, direction) -> Float[Array, " nodes"]:
    """The log speed from the fields of the tissue at the nodes and the parameters of the cells."""
    return _at_corners(fields, twin.space.cells[cell], twin, cell, direction) + _of_cells(cells, twin)


def _at_corners(fields, corners, twin: Twin, cell, direction) -> Float[Array, " nodes"]:
    rate = jnp.einsum("nd,nde,ne->n", direction, twin.tensor(fields, corners, cell), direction)
    steep = rate > 0.0
    return 0.5 * jnp.log(jnp.where(steep, rate, 1.0))


def _of_cells(cells: Theta, twin: Twin) -> Float[Array, "..."]:
    return jnp.log(wave_speed(twin.cells(cells), jnp.ones((), twin.space.mass.dtype)))


@eqx.filter_jit
def speed_tensor(twin: Twin, theta: Theta):
    """D of the cells of the mesh (mm2/ms) and one speed at D = 1; if parameters of the cell model are fields,
    their effect on the speed is included in D."""
    diffusivity = twin.diffusivity(theta)
    speed = wave_speed(twin.cells(theta["cells"]), jnp.ones((), diffusivity.dtype))
    if speed.ndim == 0:
        return diffusivity, speed
    return diffusivity * twin.space.to_cells(speed)[:, None, None] ** 2, jnp.ones((), diffusivity.dtype)


class SpeedSlope(eqx.Module):
    """The derivative of the log speed at the nodes with respect to tissue and cells, as two factors: the log
    speed at a node depends on the fields at the corners of one cell, and the fields depend on theta through
    their bases. Their product would have as many entries as nodes times parameters.

    - `corners`: (nodes, corners), of the cell through which the front reached each node. `of_corners`: for
      each field, the derivatives with respect to its values at these corners.
    - `bases`: (nodes, terms), of the fields, a few columns each. `of_cells`: (nodes, parameters), the
      derivatives with respect to the cell parameters.
    - `places`: indices of the parameters in the flattened theta.
    """

    corners: Int[np.ndarray, "nodes corners"]
    of_corners: dict[str, Float[np.ndarray, "nodes corners"]]
    bases: dict[str, list[Float[np.ndarray, "nodes _"]]]
    of_cells: Float[np.ndarray, "nodes parameters"]
    places: dict[str, Any]

    @property
    def dtype(self) -> np.dtype:
        """Precision of the bases."""
        return np.result_type(*(part for parts in self.bases.values() for part in parts))

    def blocks(self) -> Iterator["Block"]:
        """The parameters in blocks of a few."""
        for name, parts in self.bases.items():
            for k, columns in enumerate(parts):
                places = self.places["tissue"][name][k * COLUMNS :][: columns.shape[1]]
                yield Block(name, places, self.corners, self.of_corners[name], columns)
        if self.of_cells.shape[1]:
            own = np.arange(len(self.corners))[:, None]
            places = np.concatenate([np.ravel(p) for p in jax.tree.leaves(self.places["cells"])])
            yield Block(None, places, own, np.ones(own.shape), self.of_cells)

    def each(self, work: Callable[["Block"], Any]) -> list[tuple["Block", Any]]:
        """Each block and what `work` returns for it; the blocks run in parallel on all cores."""
        blocks = list(self.blocks())
        return list(zip(blocks, _pool().map(work, blocks), strict=True))

    def transposed(self, weights: Float[np.ndarray, " nodes"], size: int) -> Float[np.ndarray, " parameters"]:
        """The gradient of the weighted sum of log speeds in the flattened theta, of length `size`."""
        total = np.zeros(size)
        for block in self.blocks():
            at = (block.weights * weights[:, None]).ravel()
            total[block.places] += np.bincount(block.corners.ravel(), at, len(block.basis)) @ block.basis
        return total


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(processors())


class _Columns:
    """The bases of fields in blocks of a few columns; the blocks of the last basis of each field are kept,
    since to copy them costs a fifth of what is done with them."""

    def __init__(self):
        self._last: dict[str, tuple[weakref.ref, list[np.ndarray]]] = {}

    def __call__(self, name: str, basis: Float[Array, "nodes terms"]) -> list[Float[np.ndarray, "nodes _"]]:
        known, parts = self._last.get(name, (lambda: None, []))
        if known() is not basis:
            whole = np.asarray(basis)
            firsts = range(0, whole.shape[1], COLUMNS)
            parts = [np.ascontiguousarray(whole[:, first : first + COLUMNS]) for first in firsts]
            self._last[name] = weakref.ref(basis), parts
        return parts


_columns = _Columns()


class Block(eqx.Module):
    """A few parameters of a `SpeedSlope`. `name`: of their field; None for cell parameters."""

    name: str | None
    places: Int[np.ndarray, " some"]
    corners: Int[np.ndarray, "nodes corners"]
    weights: Float[np.ndarray, "nodes corners"]
    basis: Float[np.ndarray, "nodes some"]

    def values(self) -> Float[np.ndarray, "nodes some"]:
        """The derivatives of the log speed with respect to these parameters."""
        return _rows(self.basis, self.corners, self.weights.astype(self.basis.dtype))

    def dots(self, weights: Float[np.ndarray, "nodes some"]) -> Float[np.ndarray, "nodes corners"]:
        """The scalar products of the weights at each node with the rows of the basis at its corners."""
        return _dots(weights, self.basis, self.corners)


def speed_slope(theta: Theta, twin: Twin, cell, direction) -> SpeedSlope:
    """The derivative of `log_speed` at theta."""
    of_corners, of_cells = _slope(theta, twin, cell, direction)
    return SpeedSlope(
        np.asarray(twin.mesh.cells, np.int64)[np.asarray(cell)],
        {name: np.asarray(values, np.float64) for name, values in of_corners.items()},
        {name: _columns(name, basis) for name, basis in twin.tissue_map.bases.items()},
        np.asarray(of_cells, np.float64).T,
        tissue_places(theta),
    )


@eqx.filter_jit
def _slope(theta: Theta, twin: Twin, cell, direction):
    """Derivatives of the log speed at each node: with respect to the fields at the corners of its cell, and
    to the parameters of the cells, (parameters, nodes)."""
    fields = twin.tissue_map.fields(theta["tissue"])
    some, back = ravel_pytree(theta["cells"])
    along = jnp.moveaxis(jax.jacfwd(lambda f: _of_cells(back(f), twin))(some), -1, 0)
    along = along if along.ndim == 2 else along[:, None]
    of_cells = jnp.broadcast_to(along, (some.size, cell.shape[0]))
    return _corner_slopes(fields, twin, cell, direction), of_cells


def _corner_slopes(fields, twin: Twin, cell, direction):
    """(nodes, corners) for each field."""
    corners = twin.space.cells[cell]
    own = jnp.arange(corners.size).reshape(corners.shape)

    def total(at_corners):
        flat = {name: values.ravel() for name, values in at_corners.items()}
        return _at_corners(flat, own, twin, cell, direction).sum()

    return jax.grad(total)({name: values[corners] for name, values in fields.items()})


@eqx.filter_jit
def bent(theta: Theta, twin: Twin, cell, direction, weights) -> Theta:
    """The derivative with respect to the parameters of the tissue of the sum of the derivatives of the log
    speed at the corners of all nodes, with these `weights`."""

    def total(tissue: Theta):
        slopes = _corner_slopes(twin.tissue_map.fields(tissue), twin, cell, direction)
        return sum(jnp.vdot(slopes[name], weights[name]) for name in slopes)

    return jax.grad(total)(theta["tissue"])


@compiled
def _rows(basis, corners, weights):
    """Weighted sums over the corners of rows of the basis."""
    found = np.zeros((len(corners), basis.shape[1]), basis.dtype)
    for node in range(len(corners)):
        for c in range(corners.shape[1]):
            weight, corner = weights[node, c], corners[node, c]
            for k in range(basis.shape[1]):
                found[node, k] += weight * basis[corner, k]
    return found


@compiled
def _dots(weights, basis, corners):
    """Products of each row of weights with the rows of the basis at its corners."""
    found = np.zeros(corners.shape, np.float64)
    for node in range(len(corners)):
        for c in range(corners.shape[1]):
            corner, total = corners[node, c], 0.0
            for k in range(basis.shape[1]):
                total += weights[node, k] * basis[corner, k]
            found[node, c] = total
    return found
