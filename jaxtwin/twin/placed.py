"""A map placed on the mesh: its points, its measurements, and the additive terms of the predicted LATs."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.spatial import KDTree

from .._results import InputError
from ..anatomy import farthest_points
from ..fem import Interpolation, locate
from ..mapping import MappingData, project
from ..monodomain import Stimulus
from .beat import Beat
from .parameters import Theta, offset_ms
from .twin import Twin
from .wave import Wave

CHOSEN = 1500  # points of which the derivatives are taken: 4 mm apart on an atrium
SIGMA_MS = 2.0  # standard deviation of LATs that have none of their own; a fit estimates its scale


class PlacedMap(eqx.Module):
    """One map on the device, with its points located on the mesh.

    - `index`: of the map. `beat`: the beat whose wave it shows.
    - `place`: interpolation from nodes to points. `basis`: (points, terms), discrepancy basis there, or None.
    - `lat_ms`, `sigma_ms`: (points,). `silent`: points at which no activation was found until `until_ms`.
    - `weight`: (points,), 0 for excluded points and padding.
    - `mesh_error`: (points, terms), estimated discretisation error of the times, or None if unknown.
    - `measured`: measurements of other evidence at the points, by its name.
    - `chosen`: up to `CHOSEN` points, spread evenly, and `nearest`: (points,), for each point its place among
      them. The derivatives of neighbours are alike, so that a fit needs those of the chosen points only.
    """

    index: Int[Array, ""]
    beat: Beat
    place: Interpolation
    lat_ms: Float[Array, " points"]
    sigma_ms: Float[Array, " points"]
    silent: Bool[Array, " points"]
    until_ms: Float[Array, " points"]
    weight: Float[Array, " points"]
    basis: Float[Array, "points terms"] | None
    mesh_error: Float[Array, "points error_terms"] | None
    measured: dict[str, Any]
    chosen: Int[Array | np.ndarray, " chosen"]
    nearest: Int[Array | np.ndarray, " points"]

    @property
    def timed(self) -> Bool[Array, " points"]:
        """Mask of the points with an activation time."""
        return (self.weight > 0) & ~self.silent

    def arrival(self, activation: Float[Array, " nodes"]) -> Float[Array, " points"]:
        """Activation at the points since the wave left its source, ms."""
        return self.place(activation) - self.beat.departure.latency(activation)

    def some(self, rows: Int[Array | np.ndarray, " rows"]) -> "PlacedMap":
        """The map of these points alone."""
        place, lat, sigma, silent, until, weight, basis, error, measured = jax.tree.map(
            lambda leaf: leaf[rows],
            (self.place, self.lat_ms, self.sigma_ms, self.silent, self.until_ms, self.weight, self.basis,
             self.mesh_error, self.measured),
        )  # fmt: skip
        own = jnp.arange(len(rows))
        return PlacedMap(
            self.index, self.beat, place, lat, sigma, silent, until, weight, basis, error, measured, own, own
        )

    def with_mesh_error(self, error: Float[Array, "points error_terms"] | None) -> "PlacedMap":
        """The same map with this estimate of the discretisation error."""
        return eqx.tree_at(lambda p: p.mesh_error, self, error, is_leaf=lambda leaf: leaf is None)


def place_maps(twin: Twin, data: MappingData) -> tuple[tuple[PlacedMap, ...], list[Int[np.ndarray, " _"]]]:
    """Places the maps of `data` on the mesh of a twin. Returns them and, for each, the rows of its points in
    `data`.

    All are padded to the same number of points, so that one compiled program serves all; padding has weight
    0.

    **Raises:** `InputError` if the number of maps differs from the number of beats, and for maps that last
    longer than the simulation.
    """
    if data.maps != len(twin.beats):
        raise InputError(
            f"{data.maps} maps and {len(twin.beats)} beats", "one beat for each map",
            "Give the pacing site of each map, or take it from the map",
        )  # fmt: skip
    data, place = project(twin.mesh, data.with_sigma(SIGMA_MS))
    until = data.until_ms
    used = data.valid | data.silent
    rows = [np.flatnonzero(used & (data.map_index == k)) for k in range(data.maps)]
    longest = max(map(len, rows))
    made, filled = [], []
    for k, row in enumerate(rows):
        _check_duration(twin, k, data.lat_ms[row], until[row], data.silent[row])
        p = np.concatenate([row, np.full(longest - len(row), np.flatnonzero(used)[0])])
        at = Interpolation(place.nodes[p], place.weights[p], place.distance[p])
        counts = np.arange(longest) < len(row)
        made.append(_placed(
            twin, k, at, np.nan_to_num(data.lat_ms[p]), data.sigma_ms[p], data.silent[p], until[p], counts,
            data.positions[p],
        ))  # fmt: skip
        filled.append(np.where(counts, p, -1))
    return tuple(made), filled


def _check_duration(twin: Twin, k: int, lat, until, silent) -> None:
    """Checks that the simulation of a beat lasts as long as its map, independently of the map's time
    reference."""
    seen = np.where(silent, until, lat)
    earliest = np.min(lat, where=~silent, initial=np.inf)
    if not np.isfinite(earliest):
        return
    needed, there = float(seen.max() - earliest), twin.times.stop - float(twin.beats[k].onset)
    if needed > there:
        raise InputError(
            f"map {k + 1} with observations over {needed:.4g} ms, until {seen.max():.4g} ms, and a "
            f"simulation of {there:.4g} ms from its stimulus on",
            "a simulation that covers the map and the window of interest of points without activation",
            f"Simulate at least {needed + 20:.0f} ms",
        )  # fmt: skip


def place_unmeasured(twin: Twin, stimulus: Stimulus, positions: Float[np.ndarray, "points dim"]) -> PlacedMap:
    """A map at these positions (mm) of another stimulus, before it is measured."""
    count, place = len(positions), locate(twin.mesh, positions)
    zeros = np.zeros(count)
    silent = np.zeros(count, bool)
    return _placed(twin, stimulus, place, zeros, zeros + 1, silent, zeros, zeros + 1, np.asarray(positions))


def _placed(twin: Twin, what: int | Stimulus, place, lat, sigma, silent, until, weight, at) -> PlacedMap:
    real = twin.space.mass.dtype
    measured = not isinstance(what, Stimulus)
    basis = None if twin.discrepancy is None else place(twin.discrepancy.basis.T).T
    nothing = None
    if measured and twin.mesh_error is not None:
        nothing = jnp.zeros((len(lat), twin.mesh_error.basis.shape[1]), real)
    return PlacedMap(
        jnp.asarray(what if measured else 0), twin.beat(what), place, jnp.asarray(lat, real),
        jnp.asarray(sigma, real), jnp.asarray(silent), jnp.asarray(until, real), jnp.asarray(weight, real),
        basis, nothing, {}, *_spread(at, CHOSEN),
    )  # fmt: skip


def _spread(points: Float[np.ndarray, "points dim"], count: int):
    """See `chosen` and `nearest` of `PlacedMap`."""
    if len(points) <= count:
        return np.arange(len(points)), np.arange(len(points))
    chosen = farthest_points(points, count)
    # all maps of a fit have the same shapes, whether points share a place or not
    chosen = np.concatenate([chosen, np.full(count - len(chosen), chosen[0])])
    return chosen, np.asarray(KDTree(points[chosen]).query(points)[1])


def additive_terms(theta: Theta, twin: Twin, placed: PlacedMap) -> Float[Array, " points"]:
    """Additive terms of the predicted LATs, ms: time offset, model discrepancy, discretisation error."""
    total = offset_ms(theta)[placed.index] + jnp.zeros_like(placed.lat_ms)
    if placed.basis is not None:
        total = total + placed.basis @ theta["maps"]["discrepancy"][placed.index]
    if twin.mesh_error is not None and placed.mesh_error is not None:
        total = total + placed.mesh_error @ twin.mesh_error.numbers(theta, placed.index)
    return total


def with_errors_of(
    twin: Twin, placed: tuple[PlacedMap, ...], waves: tuple[Wave, ...]
) -> tuple[PlacedMap, ...]:
    """The maps with the discretisation error estimated for their waves."""
    if twin.mesh_error is None or not waves:
        return placed
    fields = [twin.mesh_error.fields(wave) for wave in waves]
    return tuple(
        one.with_mesh_error(one.place(field.T).T.astype(one.lat_ms.dtype))
        for one, field in zip(placed, fields, strict=True)
    )
