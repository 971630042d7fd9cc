"""Posterior predictions: arrival times of posterior draws, along the rays of the fitted wave."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..monodomain import Stimulus, rays
from ..twin import Theta, Twin, Wave, offset_ms
from .laplace import Laplace
from .log_speed import log_speed, tissue_part


def predict(
    twin: Twin,
    posterior: Laplace,
    what: int | Stimulus = 0,
    *,
    draws: int = 200,
    seed: int = 0,
    wave: Wave | None = None,
) -> Float[np.ndarray, "draws nodes"]:
    """Draws activation times at the nodes from the posterior, ms, NaN where not activated.

    For a map they are in its time reference, for an unmapped stimulus on the clock of the simulation, which
    is that of the stimulus. Their standard deviation is the posterior standard deviation of the prediction,
    without the noise of a new measurement; `twin.predict(posterior.theta, what)` is the prediction itself.
    Draws are first order along the rays of one wave: one simulation serves all draws. Cell parameters enter
    by their effect on wave speed.

    **Arguments:**

    - `posterior`: from `posterior`.
    - `what`: the index of a map, or an unmapped stimulus.
    - `draws`, `seed`: number of draws, and their random seed.
    - `wave`: the fitted wave, if already computed.

    **Returns:** (draws, nodes), ms.

    **Example:**

    ```python
    unmapped = jt.pulse(jt.in_sphere(mesh, (10.0, 0.0, 0.0), 3.0), len(mesh.points))
    sd_ms = jt.predict(found.twin, jt.posterior(found), unmapped).std(axis=0)
    ```
    """
    theta, drawn = posterior.theta, posterior.sample(jax.random.key(seed), draws)
    wave = twin.wave(theta, what) if wave is None else wave
    of_map = None if isinstance(what, Stimulus) else what
    one, lat = twin.beat(what), wave.activation
    time = np.asarray(lat, np.float64)
    starts, _ = one.starts()
    paths = rays(
        twin.mesh, np.asarray(twin.diffusivity(theta)), time, starts, np.asarray(twin.space.gradients)
    )
    cell, direction = jnp.asarray(paths.cell), jnp.asarray(paths.slope, lat.dtype)
    slower = -np.asarray(_faster(theta, drawn, twin, cell, direction), np.float64)
    moved = time[None] + paths.push(slower.T).T
    if of_map is not None:
        around = one.departure.reached(time)
        onset = float(one.departure.onset)
        moved = moved - (moved[:, around].mean(axis=1, keepdims=True) - onset if len(around) else 0.0)
        offsets = np.asarray(jax.vmap(offset_ms)(drawn), np.float64)
        moved = moved + offsets[:, of_map, None]
        if twin.discrepancy is not None:
            fields = drawn["maps"]["discrepancy"][:, of_map] @ twin.discrepancy.basis.T
            moved = moved + np.asarray(fields)
    if twin.mesh_error is not None:
        fields, numbers = np.asarray(twin.mesh_error.fields(wave), np.float64), twin.mesh_error.numbers
        factors = jax.vmap(lambda one: numbers(one, of_map))(drawn)
        moved = moved + np.asarray(factors, np.float64) @ fields.T
    return np.where(np.isfinite(time)[None], moved, np.nan)


@eqx.filter_jit
def _faster(theta: Theta, drawn: Theta, twin: Twin, cell, direction) -> Float[Array, "draws nodes"]:
    """Change of the log speed at the nodes in each draw, to first order, the order of the Gaussian. Beyond
    it, draws would have prior scar on every ray, wherever the data have no derivative with respect to scar.
    """
    here = tissue_part(theta)

    def one(draw: Theta):
        move = jax.tree.map(jnp.subtract, draw, here)
        return jax.jvp(lambda t: log_speed(t, twin, cell, direction), (here,), (move,))[1]

    return jax.lax.map(one, tissue_part(drawn))
