"""Cheap local models of arrival times around one theta: linear along the rays of its wave."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from ..monodomain import ForwardMode, Rays, eikonal, rays
from ..signals import wave_speed
from ..twin import PlacedMap, Theta, Twin
from .map_loss import information, nuisance_information
from .problem import Problem

PIECE = 128  # entries
COLUMNS = 16  # of a derivative at once
FARTHEST = 3.0  # change of the log speed beyond which the linearisation fails
EXACT = 16  # parameters up to which the full Jacobian is cheap


class AbstractArrivalModel(eqx.Module):
    """Arrival times at the points of a map as a function of theta, near one theta.

    - `arrival`: (points,), at that theta, ms since the wave left its source; 0 where not `reached`.
    - `white`: that theta, in the coordinates of the prior.
    """

    arrival: eqx.AbstractVar[Float[Array, " points"]]
    reached: eqx.AbstractVar[Bool[Array, " points"]]
    white: eqx.AbstractVar[Theta]

    @abstractmethod
    def __call__(self, white: Theta, problem: Problem) -> Float[Array, " points"]:
        """Arrival times at other parameters; NaN where not activated."""

    @abstractmethod
    def slope(self, white: Theta, problem: Problem) -> Float[np.ndarray, "points parameters"]:
        """Derivative of the arrival times with respect to theta."""


class JacobianArrival(AbstractArrivalModel):
    """Linear in theta by the exact `jacobian` (points, parameters) of the simulation, for few parameters."""

    arrival: Float[Array, " points"]
    reached: Bool[Array, " points"]
    white: Theta
    jacobian: Float[Array, "points parameters"]

    def __call__(self, white: Theta, problem: Problem) -> Float[Array, " points"]:
        moved = problem.prior.push(jax.tree.map(jnp.subtract, white, self.white))
        there = self.arrival + self.jacobian @ ravel_pytree(moved)[0]
        return jnp.where(self.reached, there, jnp.nan)

    def slope(self, white: Theta, problem: Problem) -> Float[np.ndarray, "points parameters"]:
        return np.asarray(self.jacobian, np.float64)


class RayArrival(AbstractArrivalModel):
    """Arrival times along the rays of one wave: the sum over nodes of delays that scale with the inverse of
    the speed.

    - `delays`: (pieces, length), ms, on the rays to the points, at the `nodes` of the same shape; each piece
      is part of one `row`, a point.
    - `cell`, `direction`: the cell through which the front reached each node and its slowness, see `Rays`.
    - `log_speed`: at `white`.
    """

    arrival: Float[Array, " points"]
    reached: Bool[Array, " points"]
    white: Theta
    delays: Float[Array, "pieces length"]
    nodes: Int[Array, "pieces length"]
    row: Int[Array, " pieces"]
    cell: Int[Array, " nodes"]
    direction: Float[Array, "nodes dim"]
    log_speed: Float[Array, " nodes"]

    def __call__(self, white: Theta, problem: Problem) -> Float[Array, " points"]:
        theta = problem.prior.at(white)
        faster = log_speed(tissue_part(theta), problem.twin, self.cell, self.direction) - self.log_speed
        slower = jnp.clip(-faster, -FARTHEST, FARTHEST)
        of_pieces = jnp.sum(self.delays * jnp.expm1(slower)[self.nodes], axis=1)
        there = self.arrival.at[self.row].add(of_pieces, indices_are_sorted=True)
        return jnp.where(self.reached, there, jnp.nan)

    def slope(self, white: Theta, problem: Problem, faster: Any = None):
        """`faster`: the `speed_slope`, if already computed."""
        theta = problem.prior.at(white)
        faster = self.speed_slope(theta, problem.twin) if faster is None else faster
        slope = np.zeros((len(self.arrival), ravel_pytree(theta)[0].size))
        slope[:, tissue_indices(theta)] = -(self.matrix(problem.twin.space.nodes) @ faster.T)
        return slope

    def matrix(self, nodes: int) -> sp.csr_array:
        """The delays as a matrix, (points, nodes), ms."""
        row = np.repeat(np.asarray(self.row), PIECE)
        entries = np.ravel(self.delays).astype(np.float64)
        return sp.coo_array(
            (entries, (row, np.ravel(self.nodes))), shape=(len(self.arrival), nodes)
        ).tocsr()  # fmt: skip

    def speed_slope(self, theta: Theta, twin: Twin) -> Float[np.ndarray, "parameters nodes"]:
        """Derivative of the log speed at the nodes with respect to the parameters of tissue and cells."""
        return np.asarray(_speed_slope(theta, twin, self.cell, self.direction), np.float64)


def simulated_model(
    problem: Problem, white: Theta, placed: PlacedMap, activation: Float[Array, " nodes"]
) -> AbstractArrivalModel:
    """The arrival model of a simulated `activation`."""
    if ravel_pytree(white)[0].size <= EXACT:
        there = placed.arrival(activation)
        jacobian = jnp.nan_to_num(_jacobian(problem.prior.at(white), problem.twin, placed))
        return JacobianArrival(jnp.nan_to_num(there), jnp.isfinite(there), white, jacobian)
    twin = problem.twin
    paths = rays(
        twin.mesh, np.asarray(_diffusivity(twin, problem.prior.at(white))), np.asarray(activation),
        placed.beat.starts()[0], np.asarray(twin.space.gradients),
    )  # fmt: skip
    return _along(problem, white, placed, activation, paths)


def eikonal_model(
    problem: Problem, white: Theta, placed: PlacedMap, added: Float[Array, " points"] | float = 0.0
) -> RayArrival:
    """The arrival model of the eikonal wave, with `added` ms at the points."""
    twin, theta = problem.twin, problem.prior.at(white)
    starts, onset = placed.beat.starts()
    diffusivity, speed = _speed_tensor(twin, theta)
    arrival, paths = eikonal(
        twin.mesh, np.asarray(diffusivity), float(speed), starts, onset, np.asarray(twin.space.gradients)
    )
    activation = jnp.asarray(arrival, problem.dtype)
    model = _along(problem, white, placed, activation, paths)
    return eqx.tree_at(lambda m: m.arrival, model, model.arrival + added)


def _along(problem: Problem, white: Theta, placed: PlacedMap, activation, paths: Rays) -> RayArrival:
    place, twin = placed.place, problem.twin
    there = placed.arrival(activation)
    count = place.nodes.shape[0]
    ends = np.arange(count + 1) * place.nodes.shape[1]
    weights, nodes = np.asarray(place.weights, np.float64), np.asarray(place.nodes)
    at = sp.csr_array((weights.ravel(), nodes.ravel(), ends), shape=(count, twin.space.nodes))
    around = np.asarray(placed.beat.departure.nodes)
    around = around[np.isfinite(np.asarray(activation)[around])]
    leaving = sp.csr_array((np.full(len(around), 1.0), around, [0, len(around)]), shape=(1, twin.space.nodes))
    each = sp.csr_array(np.ones((count, 1)) / max(len(around), 1))
    entries, columns, row = _in_pieces(sp.csr_array(paths.pull(at) - each @ paths.pull(leaving)))
    cell, direction = jnp.asarray(paths.cell), jnp.asarray(paths.slope, problem.dtype)
    speed = log_speed(tissue_part(problem.prior.at(white)), twin, cell, direction)
    return RayArrival(
        jnp.nan_to_num(there), jnp.isfinite(there), white, -jnp.asarray(entries, problem.dtype),
        jnp.asarray(columns), jnp.asarray(row), cell, direction, speed,
    )  # fmt: skip


def _in_pieces(matrix: sp.csr_array):
    """Entries of a sparse matrix and their columns, in pieces of rows, (pieces, PIECE), and the row of each
    piece: the longest row then costs no more than its entries. The number of pieces is a power of 2, so that
    few programs are compiled; padding is zero."""
    length = np.diff(matrix.indptr)
    pieces = -(-length // PIECE)
    count = 1 << int(max(pieces.sum(), 1) - 1).bit_length()
    entries, columns = np.zeros((count, PIECE)), np.zeros((count, PIECE), np.int32)
    within = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], length)
    piece = np.repeat(np.cumsum(pieces) - pieces, length) + within // PIECE
    entries[piece, within % PIECE], columns[piece, within % PIECE] = matrix.data, matrix.indices
    row = np.full(count, len(length) - 1, np.int32)
    row[: pieces.sum()] = np.repeat(np.arange(len(length)), pieces)
    return entries, columns, row


class Linearised(eqx.Module):
    """The predictions of all evidence for one map at one theta, and their derivatives in the coordinates of
    the prior; None for evidence with a record of its own, which arrival times do not determine."""

    values: tuple[Any, ...]
    slopes: tuple[Float[np.ndarray, "values parameters"] | None, ...]


def linearised(
    white: Theta, problem: Problem, model: AbstractArrivalModel, placed: PlacedMap, slope: Any = None
) -> Linearised:
    """The predictions along an arrival model. `slope`: of its arrival times, if already computed."""
    slope = model.slope(white, problem) if slope is None else slope
    values, by_arrival, by_theta = _pointwise(white, problem, model, placed)
    slopes = [
        None if along is None
        else problem.prior.from_theta(
            np.asarray(along, np.float64)[:, None] * slope + np.asarray(more, np.float64)
        )
        for along, more in zip(by_arrival, by_theta, strict=True)
    ]  # fmt: skip
    return Linearised(values, tuple(slopes))


@eqx.filter_jit
def _pointwise(white: Theta, problem: Problem, model: AbstractArrivalModel, placed: PlacedMap):
    """For each evidence the prediction, its derivative with respect to the arrival at its own point, and with
    respect to theta."""
    theta = problem.prior.at(white)
    flat, back = ravel_pytree(theta)
    there, twin = model(white, problem), problem.twin
    # a non-activated point still has a derivative with respect to the additive terms
    still = jnp.nan_to_num(there)
    values, by_arrival, by_theta = [], [], []
    for one in problem.evidence:
        if one.recorder(twin, placed) is not None:
            for made in (values, by_arrival, by_theta):
                made.append(None)
            continue

        def of(theta, arrival, one=one):
            return one.predict(theta, twin, placed, arrival, None)

        value, along = jax.jvp(lambda a, of=of: of(theta, a), (there,), (jnp.ones_like(there),))
        values.append(value)
        by_arrival.append(jnp.where(model.reached, along, 0.0))
        by_theta.append(jax.jacfwd(lambda f, of=of: of(back(f), still))(flat))
    return tuple(values), tuple(by_arrival), tuple(by_theta)


def curvature(
    problem: Problem,
    white: Theta,
    placed: tuple[PlacedMap, ...],
    models: Sequence[AbstractArrivalModel],
    known: Sequence[Linearised] = (),
) -> Float[np.ndarray, "parameters parameters"]:
    """J^T W J as a matrix, with J from arrival models; `known`: their `linearised`, if already computed."""
    theta = problem.prior.at(white)
    size = ravel_pytree(theta)[0].size
    total = np.zeros((size, size))
    each = zip(models, placed, strict=True)
    known = known or [linearised(white, problem, model, one) for model, one in each]
    for found, one in zip(known, placed, strict=True):
        values = [value for value in found.values if value is not None]
        seen = eqx.tree_at(lambda p: p.evidence, problem, _by_arrival(problem, one))
        told = _information(theta, seen, one, tuple(values))
        slopes = [slope for slope in found.slopes if slope is not None]
        for slope, weight in zip(slopes, told[0], strict=True):
            total += (slope * np.asarray(weight, np.float64)[:, None]).T @ slope
        own = np.asarray(ravel_pytree(told[1])[0], np.float64)
        root = problem.prior.root
        total += np.diag(own) if root is None else np.asarray(root).T @ (own[:, None] * np.asarray(root))
    return total


def _by_arrival(problem: Problem, placed: PlacedMap):
    """The evidence that is determined by arrival times."""
    return tuple(one for one in problem.evidence if one.recorder(problem.twin, placed) is None)


@eqx.filter_jit
def _information(theta: Theta, problem: Problem, placed: PlacedMap, values: tuple):
    found = information(theta, problem, placed, values)
    return tuple(weight for weight, _ in found), nuisance_information(theta, problem, found)


@eqx.filter_jit
@eqx.filter_value_and_grad
def nearby(
    white: Theta,
    problem: Problem,
    models: Sequence[AbstractArrivalModel],
    placed: tuple[PlacedMap, ...],
):
    """The negative log posterior by the arrival models of all maps, and its gradient.

    Evidence with a record of its own is excluded; the exact gradients of the simulation include it.
    """
    total, theta = problem.prior.energy(white), problem.prior.at(white)
    for model, one in zip(models, placed, strict=True):
        there = model(white, problem)
        for evidence in _by_arrival(problem, one):
            value = evidence.predict(theta, problem.twin, one, there, None)
            total = total + evidence.loss(theta, one, value)
    return total


def tissue_part(theta: Theta) -> Theta:
    """The part of theta on which the wave speed depends."""
    return {"tissue": theta["tissue"], "cells": theta["cells"]}


def tissue_indices(theta: Theta) -> Int[np.ndarray, " some"]:
    """Indices of the flattened parameters that belong to tissue and cells."""
    flat, back = ravel_pytree(theta)
    places = back(jnp.arange(flat.size, dtype=flat.dtype))
    return np.asarray(ravel_pytree(tissue_part(places))[0], int)


@eqx.filter_jit
def log_speed(part: Theta, twin: Twin, cell, direction) -> Float[Array, " nodes"]:
    """q = log(speed of the cells) + log(s.D s)/2 at the nodes, with s the slowness of the front."""
    rate = jnp.einsum("nd,nde,ne->n", direction, twin.diffusivity(part, cell), direction)
    steep = rate > 0.0
    along = 0.5 * jnp.log(jnp.where(steep, rate, 1.0))
    return along + jnp.log(wave_speed(twin.cells(part["cells"]), jnp.ones((), rate.dtype)))


@eqx.filter_jit
def _speed_slope(theta: Theta, twin: Twin, cell, direction):
    """Derivative of the log speed at the nodes with respect to tissue and cell parameters, (some, nodes)."""
    some, back = ravel_pytree(tissue_part(theta))
    # forward mode, since columns gather and rows would scatter; a few at a time, to stay in the cache
    return jax.lax.map(
        lambda v: jax.jvp(lambda f: log_speed(back(f), twin, cell, direction), (some,), (v,))[1],
        jnp.eye(some.size, dtype=some.dtype), batch_size=COLUMNS,
    )  # fmt: skip


@eqx.filter_jit
def _diffusivity(twin: Twin, theta: Theta):
    return twin.diffusivity(theta)


@eqx.filter_jit
def _speed_tensor(twin: Twin, theta: Theta):
    """D of the cells of the mesh (mm2/ms) and one speed at D = 1; if parameters of the cell model are fields,
    their effect on the speed is included in D."""
    diffusivity = twin.diffusivity(theta)
    speed = wave_speed(twin.cells(theta["cells"]), jnp.ones((), diffusivity.dtype))
    if speed.ndim == 0:
        return diffusivity, speed
    return diffusivity * twin.space.to_cells(speed)[:, None, None] ** 2, jnp.ones((), diffusivity.dtype)


@eqx.filter_jit
def _jacobian(theta: Theta, twin: Twin, placed: PlacedMap):
    """Exact derivative of the arrival at the points with respect to theta, (points, parameters)."""
    flat, back = ravel_pytree(theta)
    forward = eqx.tree_at(lambda t: t.adjoint, twin, ForwardMode())
    return jax.jacfwd(lambda f: placed.arrival(forward.solve(back(f), placed.beat).activation))(flat)
