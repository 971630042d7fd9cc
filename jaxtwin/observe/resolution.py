"""How far the edges of a mesh move the activation times of a case."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..monodomain import AbstractStepper, ForwardMode, Times, Tissue, simulate
from .activation import ActivationTimes

# error of the blend over the square of the relative error of the lumped scheme, from meshes of triangles and
# tetrahedra with edges of 0.25 to 1 mm against fine ones (benchmarks/accuracy.py)
SQUARE = 8.0


class NumericalError(eqx.Module):
    """Estimated error of activation times, ms: (nodes,), NaN where no wave comes; root mean square; largest.

    `split`: nodes that the wave reaches with one treatment of the mass but not with the other. There the mesh
    decides whether tissue conducts, and no number describes the error.
    """

    of_nodes: Float[np.ndarray, " nodes"]
    rms: float
    largest: float
    split: int


def error_of_blend(
    activation: Float[np.ndarray, " nodes"],
    other: Float[np.ndarray, " nodes"],
    share: float,
    other_share: float,
) -> NumericalError:
    """From two solves with different shares of the consistent mass, `activation` the one that is judged.

    The error of a lumped scheme is of second order in the edge and proportional to 1 - 2 share; what is left
    at 1/2 is of fourth order, so that it goes with the square of the lumped one, relative to the time for
    which the wave has run.
    """
    lumped = (other - activation) / (2.0 * (share - other_share))
    reached = np.isfinite(activation)
    run = np.maximum(activation - np.nanmin(activation), 5.0) if reached.any() else activation
    left = abs(1.0 - 2.0 * share) * np.abs(lumped) + SQUARE * lumped**2 / run
    known = left[np.isfinite(left)]
    return NumericalError(
        left,
        float(np.sqrt(np.mean(known**2))) if known.size else float("nan"),
        float(known.max()) if known.size else float("nan"),
        int((reached != np.isfinite(other)).sum()),
    )


def numerical_error(
    tissue: Tissue,
    times: Times,
    activation: Float[np.ndarray, " nodes"],
    *,
    stepper: AbstractStepper | None = None,
    threshold: float | None = None,
    beat: int = 0,
) -> NumericalError:
    """The error that the mesh leaves in `activation`, the times of a `beat` (from 0) of a solve, ms.

    Estimated from one more solve on the same mesh with another treatment of the mass: lumped where the solve
    had a share of the consistent mass, half of it where it had none. Costs as much as the solve.
    """
    share = tissue.space.consistent_mass
    other_share = 0.0 if share > 0.0 else 0.5
    other = eqx.tree_at(lambda t: t.space, tissue, tissue.space.with_share(other_share))
    recorders = (ActivationTimes(threshold, count=beat + 1),)
    solution = simulate(other, times, stepper=stepper, recorders=recorders, adjoint=ForwardMode())
    lat = np.asarray(solution.records[0])
    return error_of_blend(np.asarray(activation), lat[beat] if beat else lat, share, other_share)
