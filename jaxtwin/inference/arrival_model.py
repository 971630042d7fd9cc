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
from ..twin import PlacedMap, Theta, Twin
from .log_speed import Block, SpeedSlope, log_speed, speed_slope, speed_tensor, tissue_part
from .map_loss import information, nuisance_information
from .problem import Problem

EXACT = 16  # parameters up to which the full Jacobian is cheap


class AbstractArrivalModel(eqx.Module):
    """Arrival times at the points of a map as a function of theta, near one theta.

    - `arrival`: (points,), at that theta, ms since the wave left its source; 0 where not `reached`.
    - `white`: that theta, in the coordinates of the prior.

    `local_loss` evaluates them at other theta.
    """

    arrival: eqx.AbstractVar[Float[Array, " points"]]
    reached: eqx.AbstractVar[Bool[Array, " points"]]
    white: eqx.AbstractVar[Theta]

    @abstractmethod
    def slope(self, white: Theta, problem: Problem) -> Float[np.ndarray, "points parameters"]:
        """Derivative of the arrival times with respect to theta."""


class JacobianArrival(AbstractArrivalModel):
    """Linear in theta by the exact `jacobian` (points, parameters) of the simulation, for few parameters."""

    arrival: Float[Array, " points"]
    reached: Bool[Array, " points"]
    white: Theta
    jacobian: Float[Array, "points parameters"]

    def slope(self, white: Theta, problem: Problem) -> Float[np.ndarray, "points parameters"]:
        return np.asarray(self.jacobian, np.float64)


class Paths(eqx.Module):
    """The rays of one wave, and the weights of the nodes in its arrival.

    - `points`: (points, nodes), interpolation. `departure`: (nodes,), of the mean arrival around the source,
      from which all arrivals are counted.
    """

    rays: Rays
    points: sp.csr_array
    departure: Float[np.ndarray, " nodes"]

    def some(self, rows: Int[Array | np.ndarray, " rows"]) -> "Paths":
        """The rays of these points alone."""
        return Paths(self.rays, self.points[np.asarray(rows)], self.departure)

    def later(self, slower: Float[np.ndarray, " nodes"]) -> Float[np.ndarray, " points"]:
        """Change of the arrival at the points, ms, if the delay before each node changes by a factor 1 +
        `slower`. One pass over the nodes serves all points."""
        later = self.rays.push(slower[:, None])[:, 0]
        return self.points @ later - self.departure @ later

    def collect(self, weights: Float[np.ndarray, " points"]) -> Float[np.ndarray, " nodes"]:
        """The transpose of `later`."""
        at_nodes = self.points.T @ weights - self.departure * weights.sum()
        return self.rays.collect(at_nodes[:, None])[:, 0]

    def slope(self, steep: SpeedSlope, size: int) -> Float[np.ndarray, "points parameters"]:
        """Derivative of the arrival at the points with respect to theta. The delays are carried along all
        rays at once, so that the cost does not depend on the number of points."""
        points, departure = self.points.astype(steep.dtype), self.departure.astype(steep.dtype)

        def one(block: Block):
            later = self.rays.push(block.values())
            return points @ later - departure @ later

        slope = np.zeros((len(self.points.indptr) - 1, size))
        for block, arrival in steep.each(one):
            slope[:, block.places] = -arrival
        return slope

    def dots(
        self, steep: SpeedSlope, weights: Float[np.ndarray, "points parameters"]
    ) -> list[tuple[Block, Float[np.ndarray, "nodes corners"]]]:
        """For each block of parameters, the scalar products of the rows of the bases at the corners of each
        node with what the delay there contributes to the arrivals, weighted by `weights`."""
        points, departure = self.points.T.astype(steep.dtype).tocsr(), self.departure.astype(steep.dtype)

        def one(block: Block):
            own = weights[:, block.places].astype(steep.dtype)
            return block.dots(self.rays.collect(points @ own - np.outer(departure, own.sum(axis=0))))

        return steep.each(one)


class RayArrival(AbstractArrivalModel):
    """Arrival times along the rays of one wave: the sum over nodes of delays that scale with the inverse of
    the speed.

    - `cell`, `direction`: the cell through which the front reached each node and its slowness, see `Rays`.
    - `log_speed`: at `white`. `paths`: the rays themselves.
    """

    arrival: Float[Array, " points"]
    reached: Bool[Array, " points"]
    white: Theta
    cell: Int[Array, " nodes"]
    direction: Float[Array, "nodes dim"]
    log_speed: Float[Array, " nodes"]
    paths: Paths

    @property
    def front(self) -> tuple[Int[Array, " nodes"], Float[Array, "nodes dim"], Float[Array, " nodes"]]:
        """Cell, slowness and log speed at each node."""
        return self.cell, self.direction, self.log_speed

    def slope(self, white: Theta, problem: Problem, steep: SpeedSlope | None = None):
        """`steep`: that of the log speed, if already computed."""
        theta = problem.prior.at(white)
        steep = self.steep(theta, problem.twin) if steep is None else steep
        return self.paths.slope(steep, ravel_pytree(theta)[0].size)

    def steep(self, theta: Theta, twin: Twin) -> SpeedSlope:
        """Derivative of the log speed at the nodes."""
        return speed_slope(theta, twin, self.cell, self.direction)


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
    diffusivity, speed = speed_tensor(twin, theta)
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
    around = placed.beat.departure.reached(np.asarray(activation))
    departure = np.zeros(twin.space.nodes)
    departure[around] = 1.0 / max(len(around), 1)
    cell, direction = jnp.asarray(paths.cell), jnp.asarray(paths.slope, problem.dtype)
    speed = _log_speed(problem.prior.at(white), twin, cell, direction)
    return RayArrival(
        jnp.nan_to_num(there), jnp.isfinite(there), white, cell, direction, speed,
        Paths(paths, at, departure),
    )  # fmt: skip


@eqx.filter_jit
def _log_speed(theta: Theta, twin: Twin, cell, direction):
    return log_speed(tissue_part(theta), twin, cell, direction)


class Linearised(eqx.Module):
    """The predictions of all evidence for one map at one theta, and their derivatives in the coordinates of
    the prior; None for evidence with a record of its own, which arrival times do not determine.

    - `values`: of each evidence, at all points. `slopes`: of each, at some of the points.
    - `row`: (points,), the row of the slopes that stands for each point.
    """

    values: tuple[Any, ...]
    slopes: tuple[Float[np.ndarray, "some parameters"] | None, ...]
    row: Int[np.ndarray, " points"]

    def gathered(self, k: int, weights: Any) -> Float[np.ndarray, " some"]:
        """The weights of the points, summed over those for which each row of the slopes of evidence `k`
        stands."""
        slope = self.slopes[k]
        assert slope is not None
        return np.bincount(self.row, np.asarray(weights, np.float64), len(slope))


def linearised(
    white: Theta, problem: Problem, model: AbstractArrivalModel, placed: PlacedMap, slope: Any = None
) -> Linearised:
    """The predictions along an arrival model, with derivatives at all points. `slope`: of its arrival times
    at the `chosen` points, if already computed; derivatives are those of these points then."""
    every = np.arange(len(placed.nearest))
    chosen, row = (every, every) if slope is None else (placed.chosen, placed.nearest)
    slope = model.slope(white, problem) if slope is None else slope
    there = jnp.where(model.reached, model.arrival, jnp.nan)
    values, by_arrival, by_theta = _pointwise(white, problem, there, placed, chosen)
    slopes = [
        None if along is None
        else problem.prior.from_theta(
            np.asarray(along, np.float64)[:, None] * slope + np.asarray(more, np.float64)
        )
        for along, more in zip(by_arrival, by_theta, strict=True)
    ]  # fmt: skip
    return Linearised(values, tuple(slopes), np.asarray(row))


@eqx.filter_jit
def _pointwise(white: Theta, problem: Problem, there: Float[Array, " points"], placed: PlacedMap, rows):
    """For each evidence the prediction at these arrival times, and at some points its derivative with respect
    to the arrival at the own point, and with respect to theta."""
    theta, twin = problem.prior.at(white), problem.twin
    flat, back = ravel_pytree(theta)
    some, at_some = placed.some(rows), there[rows]
    # a non-activated point still has a derivative with respect to the additive terms
    still = jnp.nan_to_num(at_some)
    values, by_arrival, by_theta = [], [], []
    for one in problem.evidence:
        if one.recorder(twin, placed) is not None:
            for made in (values, by_arrival, by_theta):
                made.append(None)
            continue

        def of(theta, arrival, one=one):
            return one.predict(theta, twin, some, arrival, None)

        values.append(one.predict(theta, twin, placed, there, None))
        _, along = jax.jvp(lambda a, of=of: of(theta, a), (at_some,), (jnp.ones_like(at_some),))
        by_arrival.append(jnp.where(jnp.isfinite(at_some), along, 0.0))
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
        seen = eqx.tree_at(lambda p: p.evidence, problem, timed_evidence(problem, one))
        told = _information(theta, seen, one, tuple(values))
        timed = [k for k, slope in enumerate(found.slopes) if slope is not None]
        for k, weight in zip(timed, told[0], strict=True):
            scaled = found.slopes[k] * np.sqrt(found.gathered(k, weight))[:, None]
            total += scaled.T @ scaled
        own = np.diag(np.asarray(ravel_pytree(told[1])[0], np.float64))
        total += problem.prior.from_theta(problem.prior.from_theta(own).T)
    return total


def timed_evidence(problem: Problem, placed: PlacedMap):
    """The evidence that is determined by arrival times."""
    return tuple(one for one in problem.evidence if one.recorder(problem.twin, placed) is None)


@eqx.filter_jit
def _information(theta: Theta, problem: Problem, placed: PlacedMap, values: tuple):
    found = information(theta, problem, placed, values)
    return tuple(weight for weight, _ in found), nuisance_information(theta, problem, found)


@eqx.filter_jit
def _diffusivity(twin: Twin, theta: Theta):
    return twin.diffusivity(theta)


@eqx.filter_jit
def _jacobian(theta: Theta, twin: Twin, placed: PlacedMap):
    """Exact derivative of the arrival at the points with respect to theta, (points, parameters)."""
    flat, back = ravel_pytree(theta)
    forward = eqx.tree_at(lambda t: t.adjoint, twin, ForwardMode())
    return jax.jacfwd(lambda f: placed.arrival(forward.solve(back(f), placed.beat).activation))(flat)
