"""The scales of the fields of a prior, as the maps support them."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from ..twin import Theta, Twin, Variation
from .prior import Prior

TISSUE, DISCREPANCY = "diffusivity", "discrepancy"  # the fields whose scales may be inferred
SD = 0.5  # of the priors of the logarithms of standard deviation and correlation length
FARTHEST = np.log(4.0)  # from where they begin


def variations(twin: Twin) -> dict[str, Variation]:
    """The scales as they were given of all fields whose scales may be inferred, by name."""
    found = {TISSUE: twin.tissue_map.scales}
    if twin.discrepancy is not None:
        found[DISCREPANCY] = twin.discrepancy.variation
    return {name: variation for name, variation in found.items() if variation is not None}


def scaled_prior(prior: Prior, twin: Twin, scales: Mapping[str, Float[Array | np.ndarray, "2"]]) -> Prior:
    """The prior with these standard deviations and correlation lengths of the fields, by name. The bases of
    the twin stay, and with them what a theta means."""
    flat, _ = ravel_pytree(prior.mean)
    found = {name: jnp.asarray(pair, flat.dtype) for name, pair in scales.items()}
    return Prior(prior.mean, jnp.asarray(_spread(prior.mean, twin, found), flat.dtype), found)


def open_prior(prior: Prior, twin: Twin) -> Prior:
    """The prior, ready to take other scales; without fields whose scales may be inferred the prior itself."""
    given = {name: np.asarray([one.sd, one.length_mm]) for name, one in variations(twin).items()}
    return scaled_prior(prior, twin, given) if given else prior


def _spread(theta: Theta, twin: Twin, scales: Mapping) -> Float[np.ndarray, " parameters"]:
    """Prior standard deviations of all parameters; level and constant are not part of a variation."""
    sd, known = jax.tree.map(lambda leaf: np.ones(leaf.shape), theta), variations(twin)
    for name, pair in scales.items():
        weights = known[name].weights(*np.asarray(pair, np.float64).tolist())
        if name == TISSUE:
            sd["tissue"] = sd["tissue"] | {name: np.concatenate([[1.0], weights])}
        else:
            sd["maps"] = sd["maps"] | {name: np.broadcast_to(weights[1:], sd["maps"][name].shape)}
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(sd)])


def inferred_prior(
    prior: Prior,
    twin: Twin,
    white: Theta,
    gradient: Theta,
    curvature: Float[np.ndarray, "parameters parameters"],
) -> Prior:
    """The prior with the scales of the largest marginal likelihood.

    With the misfit to second order around `white`, m + g.d + d.H d/2, and the prior standard deviations of
    the parameters changed by the factors r, the evidence is in closed form (Laplace; MacKay 1992, doi
    10.1162/neco.1992.4.3.415): in the new coordinates z/r, with G = r g + z/r and A = I + r H r,

        -log p(maps | r) = |z/r|^2/2 - G.A^-1 G/2 + log det(A)/2 + const.

    All scales have log-normal priors around those that were given.

    **Arguments:** `gradient`, `curvature`: g and H, of the misfit without the prior.
    """
    z, g = (np.asarray(ravel_pytree(each)[0], np.float64) for each in (white, gradient))
    names, known = list(prior.scales), variations(twin)
    now = np.log([np.asarray(prior.scales[name], np.float64) for name in names]).ravel()
    begin = np.log([[known[name].sd, known[name].length_mm] for name in names]).ravel()
    before = _spread(white, twin, prior.scales)

    def named(logs) -> dict[str, Float[np.ndarray, "2"]]:
        return dict(zip(names, np.exp(logs).reshape(-1, 2), strict=True))

    def factors(logs) -> Float[np.ndarray, " parameters"]:
        return _spread(white, twin, named(logs)) / before

    def loss(logs) -> tuple[float, Float[np.ndarray, " logs"]]:
        r = factors(logs)
        whole = cho_factor(np.eye(len(z)) + r[:, None] * curvature * r, lower=True)
        at = z / r
        steep = r * g + at
        inverse = cho_solve(whole, np.eye(len(z)))
        step = -inverse @ steep
        away = (logs - begin) / SD
        value = 0.5 * at @ at + 0.5 * steep @ step + np.log(np.diagonal(whole[0])).sum() + 0.5 * away @ away
        # by the logarithm of each factor: how far the maps determine the parameter, less its square
        by_factor = 1.0 - np.diagonal(inverse) - (at + step) ** 2
        small = 1e-5
        along = [
            (np.log(factors(logs + small * unit)) - np.log(factors(logs - small * unit))) / (2.0 * small)
            for unit in np.eye(len(logs))
        ]
        return float(value), np.stack(along) @ by_factor + away / SD

    bounds = [(one - FARTHEST, one + FARTHEST) for one in begin]
    found = minimize(loss, now, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 20})
    return scaled_prior(prior, twin, named(found.x))
