"""The value of an objective at one point, and the result of its minimisation."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree


class Assessment(eqx.Module):
    """An objective at one theta: loss, gradient, and the number of captured points.

    A point is captured if the simulated wave activates it. `rmse_ms`: of the captured points. `activation`:
    of each map at the nodes, ms. `models`, `linearised`: arrival models of the maps and their linearisation,
    if known. If a simulation failed, the loss is infinite and `failure` gives the reason.
    """

    loss: float
    gradient: PyTree
    captured: int
    rmse_ms: float
    activation: tuple = ()
    models: tuple = ()
    linearised: tuple = ()
    failure: str = eqx.field(static=True, default="")


class Optimum(eqx.Module):
    """Result of a minimisation: theta, its assessment, one row of history per iteration, the reason it ended,
    and the last `damping` of a trust region."""

    theta: PyTree
    assessment: Assessment
    history: tuple[dict[str, float], ...] = eqx.field(static=True)
    reason: str = eqx.field(static=True)
    damping: float = 0.0


def dot(a: PyTree, b: PyTree) -> float:
    """Scalar product of two PyTrees of the same structure."""
    return float(sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)))


def history_row(iteration: int, assessment: Assessment, length: float) -> dict[str, float]:
    """One iteration as a dictionary of numbers."""
    return {
        "iteration": float(iteration),
        "loss": float(assessment.loss),
        "gradient_norm": dot(assessment.gradient, assessment.gradient) ** 0.5,
        "rmse_ms": assessment.rmse_ms,
        "captured": float(assessment.captured),
        "step": length,
    }
