"""The errors of a fit at points that it does not see, to first order and without fitting again."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

from ..twin import Wave
from .arrival_model import linearised
from .fit import Fit
from .objective import simulated_models

LEAST = 1e-9  # of the part of a point that the others do not determine


def left_out(
    fit: Fit, *, waves: Sequence[Wave] = ()
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Errors (measured less predicted, ms) and their variances (ms2) at each fitted point when it is left
    out, in the order of `fit.data`; NaN at silent points and where the wave does not arrive.

    The fit along rays is a Gaussian process with the covariance J J^T + W^-1, with J of all parameters around
    their prior means, so that both are in closed form (Dubrule 1983, doi 10.1007/BF01033232):
    e_i = [C^-1 d]_i / [C^-1]_ii and 1 / [C^-1]_ii. They do not rest on how well the fit has converged, and
    hold where a point is nearly interpolated. The scales of the prior stay as they are.

    `waves`: `fit.waves()`, if already computed.
    """
    problem, white = fit.problem, fit.problem.prior.white(fit.theta)
    z = np.asarray(ravel_pytree(white)[0], np.float64)
    whole, rows = np.eye(len(z)), []
    activation = tuple(wave.activation for wave in waves) or fit.activation
    models = simulated_models(problem, white, fit.placed, activation)
    for model, one in zip(models, fit.placed, strict=True):
        known = linearised(white, problem, model, one)
        slope, there = known.slopes[0], known.values[0]
        assert slope is not None
        timed = np.asarray(one.timed & jnp.isfinite(there))
        weight = np.asarray(problem.arrival.information(fit.theta, one, there)[0], np.float64)[timed]
        gap = np.asarray(one.lat_ms - there, np.float64)[timed] + slope[timed] @ z
        whole += slope[timed].T @ (weight[:, None] * slope[timed])
        rows.append((timed, slope[timed], weight, gap))
    factor = cho_factor(whole, lower=True)
    toward = cho_solve(factor, sum(s.T @ (w * gap) for _, s, w, gap in rows))
    errors, variances = (np.full(len(fit.data.lat_ms), np.nan) for _ in range(2))
    for k, (timed, slope, weight, gap) in enumerate(rows):
        kept = 1.0 - weight * np.sum(slope * cho_solve(factor, slope.T).T, axis=1)
        kept = np.maximum(kept, LEAST)
        # in the order of `place_maps`: the used points of the map, then padding
        own = np.flatnonzero((fit.data.valid | fit.data.silent) & (fit.data.map_index == k))
        own = own[timed[: len(own)]]
        errors[own], variances[own] = (gap - slope @ toward) / kept, 1.0 / (weight * kept)
    return errors, variances
