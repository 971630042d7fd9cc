"""How sure a prediction is: arrivals of draws from the posterior, along the rays of the fitted one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..monodomain import Stimulus, rays
from ..posterior import Laplace, Theta
from .course import pace, tissue_numbers
from .twin import OFFSET_SD, Twin
from .wave import Wave


def predictive(
    twin: Twin, posterior: Laplace, what: int | Stimulus, draws: int, seed: int, wave: Wave
) -> Float[np.ndarray, "draws nodes"]:
    """See `Twin.predictive`."""
    theta, drawn = posterior.theta, posterior.sample(jax.random.key(seed), draws)
    measured = None if isinstance(what, Stimulus) else what
    stimulus, beat = twin.start(what)
    lat = wave.activation
    time = np.asarray(lat, np.float64)
    paths = rays(
        twin.mesh, np.asarray(twin.diffusivity(theta)), time, stimulus.starts(beat)[0],
        np.asarray(twin.space.gradients),
    )  # fmt: skip
    cell, slope = jnp.asarray(paths.cell), jnp.asarray(paths.slope, lat.dtype)
    slower = -np.asarray(_faster(theta, drawn, twin, cell, slope), np.float64)
    moved = time[None] + paths.push(slower.T).T
    if measured is not None:
        around = np.asarray(twin.clocks[measured].nodes)
        around = around[np.isfinite(time[around])]
        onset = float(twin.clocks[measured].onset)
        moved = moved - (moved[:, around].mean(axis=1, keepdims=True) - onset if len(around) else 0.0)
        moved = moved + OFFSET_SD * np.asarray(drawn["offset"], np.float64)[:, measured, None]
        if twin.discrepancy is not None:
            moved = moved + np.asarray(drawn["discrepancy"][:, measured] @ twin.discrepancy.T)
    if twin.mesh_error is not None:
        fields, of_map = np.asarray(twin.mesh_error.fields(wave), np.float64), twin.mesh_error.numbers
        numbers = jax.vmap(lambda one: of_map(one, measured))(drawn)
        moved = moved + np.asarray(numbers, np.float64) @ fields.T
    return np.where(np.isfinite(time)[None], moved, np.nan)


@eqx.filter_jit
def _faster(theta: Theta, drawn: Theta, twin: Twin, cell, slope) -> Float[np.ndarray, "draws nodes"]:
    """By how much the logarithm of the pace at the nodes is larger in each draw, to first order: the Gaussian
    knows nothing beyond. Scar that could be anywhere, without a derivative, would lie on every ray."""
    here = tissue_numbers(theta, twin)

    def one(draw: Theta):
        move = jax.tree.map(jnp.subtract, draw, here)
        return jax.jvp(lambda t: pace(t, twin, cell, slope), (here,), (move,))[1]

    return jax.lax.map(one, tissue_numbers(drawn, twin))
