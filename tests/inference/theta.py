"""Parameters of a twin and of its evidence, for tests that look inside a fit."""

from collections.abc import Sequence

import jax

import jaxtwin as jt
from jaxtwin.inference import Problem
from jaxtwin.inference.problem import complete, placed_evidence, prior_mean


def problem_of(twin: jt.Twin, evidence: Sequence[jt.AbstractEvidence] = ()) -> Problem:
    """With the standard normal prior around the prior mean."""
    evidence = complete(evidence, twin)
    return Problem(twin, jt.Prior(prior_mean(twin, evidence)), evidence)


def placed_on(problem: Problem, data: jt.MappingData):
    """The maps on the mesh, with what the evidence has measured."""
    return placed_evidence(problem.twin, data, problem.evidence)


def laplace_of(theta, directions, gain) -> jt.Laplace:
    """Around theta, with the standard normal prior around zero."""
    return jt.Laplace(jt.Prior(jax.tree.map(lambda leaf: 0.0 * leaf, theta)), theta, directions, gain)
