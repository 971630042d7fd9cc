"""The scales of the prior of log D, as the maps support them."""

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from ..twin import Theta
from .log_speed import tissue_places
from .problem import Problem

SD = 0.5  # of the priors of the logarithms of standard deviation and correlation length
FARTHEST = np.log(4.0)  # from where they begin


class Scaled:
    """A problem with other scales of log D. The same tissue has other coordinates in it, in which it is again
    standard normal a priori."""

    def __init__(self, problem: Problem, sd: float, length_mm: float):
        tissue_map = problem.twin.tissue_map
        variation = tissue_map.scales
        assert variation is not None
        self._factors = variation.weights(sd, length_mm)
        self.problem = problem.with_tissue_map(tissue_map.rescaled(sd, length_mm))

    def __call__(self, white: Theta) -> Theta:
        """The coordinates of the same tissue."""
        own = white["tissue"]["diffusivity"]
        own = own.at[1:].divide(jnp.asarray(self._factors, own.dtype))
        return white | {"tissue": white["tissue"] | {"diffusivity": own}}


def rescaled(
    problem: Problem,
    white: Theta,
    gradient: Theta,
    curvature: Float[np.ndarray, "parameters parameters"],
) -> Scaled | None:
    """The problem with the standard deviation and correlation length of log D of the largest marginal
    likelihood; None where these are not to be inferred.

    With the misfit to second order around `white`, m + g.d + d.H d/2, and the prior standard deviations of
    the parameters changed by the factors r, the evidence is in closed form (Laplace; MacKay 1992, doi
    10.1162/neco.1992.4.3.415): in the new coordinates z/r, with G = r g + z/r and A = I + r H r,

        -log p(maps | r) = |z/r|^2/2 - G.A^-1 G/2 + log det(A)/2 + const.

    Both scales have log-normal priors around those that were given.

    **Arguments:** `gradient`, `curvature`: g and H, of the misfit without the prior.
    """
    variation = problem.twin.tissue_map.scales
    if variation is None or problem.prior.root is not None:
        return None
    known = variation
    z, g = (np.asarray(ravel_pytree(each)[0], np.float64) for each in (white, gradient))
    places = tissue_places(white)["tissue"]["diffusivity"][1:]
    now = np.log([float(known.sd), float(known.length_mm)])
    begin = np.log(np.asarray(known.begin, np.float64))

    def factors(scales) -> Float[np.ndarray, " parameters"]:
        found = np.ones(len(z))
        found[places] = known.weights(*np.exp(scales))
        return found

    def loss(scales) -> tuple[float, Float[np.ndarray, "2"]]:
        r = factors(scales)
        whole = cho_factor(np.eye(len(z)) + r[:, None] * curvature * r, lower=True)
        at = z / r
        steep = r * g + at
        inverse = cho_solve(whole, np.eye(len(z)))
        step = -inverse @ steep
        away = (scales - begin) / SD
        value = 0.5 * at @ at + 0.5 * steep @ step + np.log(np.diagonal(whole[0])).sum() + 0.5 * away @ away
        # by the logarithm of each factor: how far the maps determine the parameter, less its square
        by_factor = 1.0 - np.diagonal(inverse) - (at + step) ** 2
        small = 1e-5
        along = [
            (np.log(factors(scales + small * unit)) - np.log(factors(scales - small * unit))) / (2.0 * small)
            for unit in np.eye(2)
        ]
        return float(value), np.stack(along) @ by_factor + away / SD

    bounds = [(one - FARTHEST, one + FARTHEST) for one in begin]
    found = minimize(loss, now, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 20})
    return Scaled(problem, *np.exp(found.x).tolist())
