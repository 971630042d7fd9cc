"""The scales of the fields of a prior, as the maps support them."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from ..twin import PlacedMap, Theta, Variation
from .problem import Problem

TISSUE, DISCREPANCY = "diffusivity", "discrepancy"  # the fields whose scales may be inferred
SD = 0.5  # of the priors of the logarithms of standard deviation and correlation length
FARTHEST = np.log(4.0)  # from where they begin


def scales(problem: Problem) -> dict[str, Variation]:
    """The scales that are inferred, by the name of the field."""
    twin = problem.twin
    found = {TISSUE: twin.tissue_map.scales}
    if twin.discrepancy is not None:
        found[DISCREPANCY] = twin.discrepancy.variation
    return {name: variation for name, variation in found.items() if variation is not None}


class Scaled:
    """A problem whose fields have other scales: standard deviation and correlation length by name. The same
    theta has other coordinates in it, in which it is again standard normal a priori."""

    def __init__(self, problem: Problem, changed: Mapping[str, tuple[float, float]]):
        self._factors = _factors(scales(problem), changed)
        twin = problem.twin
        if TISSUE in changed:
            problem = problem.with_tissue_map(twin.tissue_map.rescaled(*changed[TISSUE]))
        if DISCREPANCY in changed and twin.discrepancy is not None:
            other = twin.discrepancy.rescaled(*changed[DISCREPANCY])
            problem = problem.with_twin(eqx.tree_at(lambda t: t.discrepancy, problem.twin, other))
        self.problem = problem

    def __call__(self, white: Theta) -> Theta:
        """The coordinates of the same tissue and times."""
        return jax.tree.map(
            lambda own, factor: own / jnp.asarray(factor, own.dtype), white, _spread(white, self._factors)
        )

    def placed(self, maps: tuple[PlacedMap, ...]) -> tuple[PlacedMap, ...]:
        """The maps on the mesh with the scaled discrepancy."""
        if DISCREPANCY not in self._factors:
            return maps
        return tuple(one.with_basis(self._factors[DISCREPANCY]) for one in maps)


def _factors(known: Mapping[str, Variation], changed: Mapping[str, tuple[float, float]]):
    """By which each column of each basis is multiplied; level and constant are not part of the variation."""
    found = {}
    for name, (sd, length) in changed.items():
        weights = known[name].weights(sd, length)
        found[name] = np.concatenate([[1.0], weights]) if name == TISSUE else weights[1:]
    return found


def _spread(white: Theta, factors: Mapping[str, Float[np.ndarray, " terms"]]) -> Theta:
    """The factors as a theta, 1 for all other parameters."""
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape), white)
    if TISSUE in factors:
        ones["tissue"] = ones["tissue"] | {TISSUE: factors[TISSUE]}
    if DISCREPANCY in factors:
        rows = np.broadcast_to(factors[DISCREPANCY], ones["maps"][DISCREPANCY].shape)
        ones["maps"] = ones["maps"] | {DISCREPANCY: rows}
    return ones


def rescaled(
    problem: Problem,
    white: Theta,
    gradient: Theta,
    curvature: Float[np.ndarray, "parameters parameters"],
) -> Scaled | None:
    """The problem with the standard deviations and correlation lengths of the largest marginal likelihood;
    None where none is to be inferred.

    With the misfit to second order around `white`, m + g.d + d.H d/2, and the prior standard deviations of
    the parameters changed by the factors r, the evidence is in closed form (Laplace; MacKay 1992, doi
    10.1162/neco.1992.4.3.415): in the new coordinates z/r, with G = r g + z/r and A = I + r H r,

        -log p(maps | r) = |z/r|^2/2 - G.A^-1 G/2 + log det(A)/2 + const.

    All scales have log-normal priors around those that were given.

    **Arguments:** `gradient`, `curvature`: g and H, of the misfit without the prior.
    """
    known = scales(problem)
    if not known or problem.prior.root is not None:
        return None
    z, g = (np.asarray(ravel_pytree(each)[0], np.float64) for each in (white, gradient))
    now = np.log([[float(one.sd), float(one.length_mm)] for one in known.values()]).ravel()
    begin = np.log([np.asarray(one.begin, np.float64) for one in known.values()]).ravel()

    def named(logs) -> dict[str, tuple[float, float]]:
        pairs = np.exp(logs).reshape(-1, 2).tolist()
        return {name: (sd, length) for name, (sd, length) in zip(known, pairs, strict=True)}

    def factors(logs) -> Float[np.ndarray, " parameters"]:
        spread = _spread(white, _factors(known, named(logs)))
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(spread)])

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
    return Scaled(problem, named(found.x))
