"""What an objective says of one point, and how a search for its minimum ended."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree


class Assessment(eqx.Module):
    """An objective at one theta: loss, its gradient, and the number of captured points.

    A point is captured when the simulated wave reaches it. `rmse_ms`: of the captured points. `activation`:
    of each map at the nodes, ms. `models`, `linearised`: arrival models of the maps and what follows from
    them, where known. The loss is infinite, and `failure` says why, where a simulation failed.
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
    """The end of a search: theta, its assessment, one row of history per iteration, and why it ended."""

    theta: PyTree
    assessment: Assessment
    history: tuple[dict[str, float], ...] = eqx.field(static=True)
    reason: str = eqx.field(static=True)


def dot(a: PyTree, b: PyTree) -> float:
    """Scalar product of two PyTrees of one structure."""
    return float(sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)))


def history_row(iteration: int, assessment: Assessment, length: float) -> dict[str, float]:
    """One iteration, as numbers."""
    return {
        "iteration": float(iteration),
        "loss": float(assessment.loss),
        "gradient_norm": dot(assessment.gradient, assessment.gradient) ** 0.5,
        "rmse_ms": assessment.rmse_ms,
        "captured": float(assessment.captured),
        "step": length,
    }
