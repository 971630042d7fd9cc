"""Maps as the twin observes them: on the device, all of the same length."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import InputError
from ..fem import Interpolation, locate
from ..mapping import MappingData, project
from ..monodomain import Stimulus
from ..posterior import Observation, clock
from .twin import Twin


def observations(twin: Twin, data: MappingData, sigma_ms: float) -> tuple[Observation, ...]:
    """See `Twin.observations`."""
    if data.maps != len(twin.stimuli):
        raise InputError(
            f"{data.maps} maps and {len(twin.stimuli)} stimuli", "one stimulus for each map",
            "Give the pacing site of each map, or take it from the map",
        )  # fmt: skip
    data, place = project(twin.mesh, data)
    latest = float(data.lat_ms[data.valid].max())
    if latest > twin.times.stop:
        raise InputError(
            f"a map with activations until {latest:.4g} ms and a simulation of {twin.times.stop:g} ms",
            "a simulation that covers the map", f"Simulate at least {latest + 20:.0f} ms",
        )  # fmt: skip
    used = data.valid | data.silent
    rows = [np.flatnonzero(used & (data.map_index == k)) for k in range(data.maps)]
    longest = max(map(len, rows))
    sigma = np.where(np.isfinite(data.sigma_ms), data.sigma_ms, sigma_ms)
    made = []
    for k, row in enumerate(rows):
        p = np.concatenate([row, np.full(longest - len(row), np.flatnonzero(used)[0])])
        counts = np.arange(longest) < len(row)
        at = Interpolation(place.nodes[p], place.weights[p], place.distance[p])
        log_mv = _log_mv(twin, data.bipolar_mv[p], counts)
        made.append(
            _observation(twin, k, at, np.nan_to_num(data.lat_ms[p]), sigma[p], data.silent[p], counts, log_mv)
        )
    return tuple(made)


def unmeasured(twin: Twin, stimulus: Stimulus, positions) -> Observation:
    """A map of these points from another stimulus, before it is measured."""
    count, place = len(positions), locate(twin.mesh, positions)
    return _observation(
        twin, stimulus, place, np.zeros(count), np.ones(count), np.zeros(count, bool), np.ones(count), None
    )


def _observation(twin: Twin, what: int | Stimulus, place, lat, sigma, silent, weight, log_mv) -> Observation:
    real = twin.space.mass.dtype
    stimulus, beat = twin.start(what)
    measured = not isinstance(what, Stimulus)
    basis = None if twin.discrepancy is None else place(twin.discrepancy.T).T
    nothing = None
    if measured and twin.mesh_error is not None:
        nothing = jnp.zeros((len(lat), twin.mesh_error.basis.shape[1]), real)
    return Observation(
        jnp.asarray(what if measured else 0), stimulus, beat, place,
        twin.clocks[what] if measured else clock(twin.mesh, stimulus, beat, real),
        jnp.asarray(lat, real), jnp.asarray(sigma, real), jnp.asarray(silent), jnp.asarray(weight, real),
        basis, nothing, log_mv, jnp.zeros((), real), jnp.zeros((), real),
    )  # fmt: skip


def _log_mv(twin: Twin, bipolar_mv, counts) -> Float[Array, " points"] | None:
    if twin.voltage is None:
        return None
    known = counts & (bipolar_mv > 0.0)
    log_mv = np.where(known, np.log(np.where(known, bipolar_mv, 1.0)), np.nan)
    return jnp.asarray(log_mv, twin.space.mass.dtype)
