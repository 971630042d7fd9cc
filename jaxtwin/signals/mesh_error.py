"""Discretisation error of activation times."""

from dataclasses import replace

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from .._types import Parameter
from ..monodomain import AbstractStepper, ForwardMode, Times, Tissue, simulate
from .activation import ActivationTimes
from .speed import critical_coupling

# error of the blended scheme over the squared relative error of the lumped scheme, from meshes of
# triangles and tetrahedra with edge lengths of 0.25 to 1 mm against fine ones (benchmarks/accuracy.py)
SQUARE = 8.0


class NumericalError(eqx.Module):
    """Estimated discretisation error of activation times, ms: (nodes,), NaN where not activated; root mean
    square; maximum.

    Where the mesh decides whether tissue conducts, no error in ms is meaningful:

    - `split`: nodes that activate with one treatment of the mass matrix but not with the other.
    - `blocked`: non-activated nodes in cells whose edges are too long for propagation at their diffusivity.
    """

    of_nodes: Float[np.ndarray, " nodes"]
    rms: float
    largest: float
    split: int
    blocked: int = 0

    def notes(self) -> list[str]:
        """Sentences on nodes whose activation depends on the mesh."""
        notes = []
        if self.split:
            notes.append(
                f"At {self.split} nodes activation depends on the treatment of the mass: whether tissue this "
                "slow conducts is not known. Refine the mesh."
            )
        if self.blocked:
            notes.append(
                f"{self.blocked} nodes are not activated in cells whose edges are too long for a wave at "
                "their diffusivity: the block is numerical. Refine the mesh."
            )
        return notes


def error_of_blend(
    activation: Float[np.ndarray, " nodes"],
    other: Float[np.ndarray, " nodes"],
    share: float,
    other_share: float,
) -> NumericalError:
    """Estimates the error of `activation` from a second solve, `other`, with another fraction of consistent
    mass.

    The error of the lumped scheme is of second order in the edge length and proportional to 1 - 2 share. The
    remainder at share 1/2 is of fourth order, so it scales with the square of the lumped error, relative to
    the time since the wave started.
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
    after: Parameter | None = None,
) -> NumericalError:
    """Estimates the spatial discretisation error of activation times, without a finer mesh. The error of the
    time step is not included.

    It runs one more solve with another treatment of the mass matrix: lumped if the original solve blended in
    consistent mass, half consistent if it was lumped. It costs as much as the solve.

    **Arguments:**

    - `tissue`, `times`, `stepper`: of the solve.
    - `activation`: (nodes,), its activation times, ms, NaN where not activated.
    - `threshold`, `after`: those of the `ActivationTimes` that recorded `activation`. `threshold`: level of
      u; None: that of the cell model. `after`: ms, a number or (nodes,), from which on the first activation
      counts; None: from the start of the solve.

    **Returns:** a `NumericalError`.

    **Example:**

    ```python
    error = jt.numerical_error(tissue, jt.Times(90.0), np.asarray(lat_ms))
    print(error.rms)
    ```
    """
    share = tissue.space.consistent_mass
    other_share = 0.0 if share > 0.0 else 0.5
    other = eqx.tree_at(lambda t: t.space, tissue, tissue.space.with_share(other_share))
    recorders = (ActivationTimes(threshold, after=after),)
    solution = simulate(
        other, times, stepper=stepper, recorders=recorders, adjoint=ForwardMode(), throw=False
    )
    error = error_of_blend(np.asarray(activation), np.asarray(solution.records[0]), share, other_share)
    silent = ~np.isfinite(np.asarray(activation))
    if silent.any():
        corners = np.asarray(tissue.space.cells)[too_coarse(tissue)]
        error = replace(error, blocked=int(silent[np.unique(corners)].sum()))
    return error


def too_coarse(tissue: Tissue) -> Bool[np.ndarray, " cells"]:
    """Mask of the cells with an edge so long that propagation along it blocks for that reason alone.

    A front that is short compared with an edge cannot raise the next node above threshold: below a critical
    D/edge^2, which depends on the cell model only (`critical_coupling`), no wave propagates on the mesh,
    although it does in the tissue. Non-conducting cells, D = 0, are excluded.
    """
    gradients = np.asarray(tissue.space.gradients, np.float64)
    # the edges from the first corner are the dual basis of the gradients of the other corners
    edges = np.swapaxes(np.linalg.pinv(gradients[:, 1:]), 1, 2)
    first, second = np.triu_indices(gradients.shape[1], 1)
    from_first = np.concatenate([np.zeros_like(edges[:, :1]), edges], axis=1)
    edges = from_first[:, second] - from_first[:, first]
    along = edges / np.linalg.norm(edges, axis=2, keepdims=True)
    # D along an edge as a wave along it feels it
    inverse = np.linalg.pinv(np.asarray(tissue.diffusivity, np.float64), hermitian=True)
    resistance = np.einsum("cei,cij,cej->ce", along, inverse, along)
    with np.errstate(divide="ignore"):
        coupling = 1.0 / (resistance * np.einsum("cei,cei->ce", edges, edges))
    return (coupling < critical_coupling(tissue.ionic)).any(axis=1)
