"""Posterior samples by the no-U-turn sampler."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from .._results import InputError, SolveError
from ..twin import Theta
from .laplace import Laplace

ACCEPTANCE = 0.8  # target of the step size adaptation
DOUBLINGS = 6  # maximum per trajectory: at most 63 gradients per draw
FEWEST = 10  # draws, needed to estimate their correlation


class Draws(eqx.Module):
    """Correlated draws from a posterior.

    - `theta`: each array with a leading axis of draws. `effective`: effective sample size of the mean of each
      parameter, as one theta.
    - `acceptance`: (draws,), mean acceptance probability on each trajectory. `gradients`: (draws,), number of
      gradients of each. `step`: adapted step size, in standard deviations of the Laplace posterior.
    - `divergences`: number of divergent trajectories. With more than a few, the draws miss part of the
      posterior.
    """

    theta: Theta
    effective: Theta
    acceptance: Float[np.ndarray, " draws"]
    gradients: Int[np.ndarray, " draws"]
    step: float
    divergences: int


def nuts(
    density: Callable[[Theta], Float[Array, ""]],
    around: Laplace,
    *,
    draws: int = 500,
    warmup: int = 100,
    seed: int = 0,
    report: Callable[[int, float], Any] = lambda done, acceptance: None,
) -> Draws:
    """Draws of theta with the log `density`, by the no-U-turn sampler (Hoffman, Gelman 2014, doi
    10.48550/arXiv.1111.4246).

    It samples in coordinates in which the Laplace posterior `around` is standard normal, so that trajectories
    are short, and begins at its mean. The first `warmup` trajectories adapt the step size and are discarded.
    If `density` is an `eqx.Module`, its arrays are arguments of the compiled program. `report`: called with
    the number of trajectories done, warm-up included, and the acceptance of the last.

    **Raises:** `InputError` without blackjax or for fewer than 10 draws, `SolveError` if the density at the
    mean of `around` is not finite.
    """
    if draws < FEWEST or warmup < 1:
        raise InputError(
            f"{draws} draws after {warmup} to adapt", f"{FEWEST} or more after 1 or more", "Take more of them"
        )
    library()
    # blackjax mixes ranks and Python numbers, which a caller may have forbidden
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return _drawn(density, around, draws, warmup, seed, report)


def library():
    """The optional library; raises `InputError` if it is missing."""
    try:
        import blackjax
        import blackjax.adaptation.step_size
        import blackjax.diagnostics
    except ImportError as error:
        raise InputError(
            f"a request for draws without blackjax ({error})", "blackjax, an optional library",
            'Install it with: pip install "jaxtwin[bayes]"',
        ) from error  # fmt: skip
    return blackjax


def _drawn(density, around: Laplace, draws: int, warmup: int, seed: int, report) -> Draws:
    blackjax = library()
    flat, back = ravel_pytree(around.theta)
    begin, adapted, end = blackjax.adaptation.step_size.dual_averaging_adaptation(ACCEPTANCE)
    # the accepted step size for a Gaussian decreases with the fourth root of the dimension
    adaptation = begin(flat.size**-0.25)
    step = jnp.exp(adaptation.log_step_size)
    state = _begin(density, around)
    if not jnp.isfinite(state.logdensity):
        raise SolveError("The posterior at the fitted theta is not finite: fit again before sampling.")
    kept, key = [], jax.random.key(seed)
    for done in range(1, warmup + draws + 1):
        state, info = _next(density, around, state, key, np.uint32(done), step.astype(flat.dtype))
        if done <= warmup:
            adaptation = adapted(adaptation, info[0])
            step = end(adaptation) if done == warmup else jnp.exp(adaptation.log_step_size)
        else:
            kept.append(jax.device_get((state.position, *info)))
        report(done, float(info[0]))
    white, acceptance, gradients, diverged = (np.stack(each) for each in zip(*kept, strict=True))
    theta = jax.vmap(around.at)(jnp.asarray(white))
    rows = jax.vmap(lambda one: ravel_pytree(one)[0])(theta)
    # as two chains, so that a drift between them counts
    halves = rows[: draws // 2 * 2].reshape(2, draws // 2, flat.size)
    effective = blackjax.diagnostics.effective_sample_size(halves)
    return Draws(theta, back(effective), acceptance, gradients, float(step), int(diverged.sum()))


@eqx.filter_jit
def _begin(density, around: Laplace):
    start = jnp.zeros_like(ravel_pytree(around.theta)[0])
    return library().nuts.init(start, lambda white: density(around.at(white)))


@eqx.filter_jit
def _next(density, around: Laplace, state, key, done, step):
    """The state after one trajectory; its acceptance, gradients, and whether it diverged."""
    state, info = library().nuts.build_kernel()(
        jax.random.fold_in(key, done), state, lambda white: density(around.at(white)), step,
        jnp.ones_like(state.position), DOUBLINGS,
    )  # fmt: skip
    return state, (info.acceptance_rate, info.num_integration_steps, info.is_divergent)
