"""The fit: the posterior mode of the parameters of a twin, given its maps."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._results import InputError
from ..mapping import MappingData, refuse_reentry
from ..twin import OFFSET_SD, PlacedMap, Theta, Twin, Wave, simulated_waves
from .arrival_model import eikonal_model
from .evidence import AbstractEvidence
from .evidence.arrival import log_noise
from .identify import IdentifiabilityWarning, identifiable, unidentified
from .objective import objective
from .prior import Prior
from .problem import Problem, complete, median_offset, placed_evidence, prior_mean, zeros
from .scales import open_prior
from .search import Report, Settings, begin_search, descend, eikonal_round

OPTIMISERS = "trust_region", "lbfgs"
EIKONAL_ROUNDS = 10  # of which the first three have a soft scar border


class Fit(eqx.Module):
    """A fitted twin.

    - `theta`: the estimate. `problem`: twin, prior (with the inferred scales) and evidence. `data`: the maps,
      and `placed`: the same on the mesh.
    - `loss`: negative log posterior with respect to the information volume (see `log_volume`). `captured`:
      number of points reached by the fitted waves (not pacing capture); `rmse_ms`: their root mean square
      error.
    - `activation`: of each map at the nodes, ms on the clock of the simulation, which is that of its
      stimulus; NaN where not activated.
    - `history`: one row per iteration: `iteration`, `loss`, `gradient_norm` (NaN in the eikonal rounds),
      `rmse_ms`, `captured`, and `step`, the length of the step in the coordinates of the prior (L-BFGS: the
      fraction taken of the proposed step). `reason`: why it ended.
    """

    theta: Theta
    problem: Problem
    data: MappingData
    placed: tuple[PlacedMap, ...]
    loss: float
    captured: int
    rmse_ms: float
    activation: tuple[Float[Array, " nodes"], ...]
    history: tuple[dict[str, float], ...] = eqx.field(static=True)
    reason: str = eqx.field(static=True)

    @property
    def twin(self) -> Twin:
        """The forward model."""
        return self.problem.twin

    def waves(self) -> tuple[Wave, ...]:
        """The fitted waves of all maps, with their discretisation error."""
        return simulated_waves(self.twin, self.theta, self.activation)

    def noise(self) -> float:
        """The estimated scale of the noise of the LATs over the `sigma_ms` of the points."""
        return float(jnp.exp(log_noise(self.theta)))


def fit(
    twin: Twin,
    data: MappingData,
    *,
    evidence: Sequence[AbstractEvidence] = (),
    prior: Prior | None = None,
    theta: Theta | None = None,
    iterations: int = 20,
    tolerance: float = 0.005,
    optimiser: str = "trust_region",
    eikonal_rounds: int = EIKONAL_ROUNDS,
    checkpoint: str | Path | None = None,
    report: Report = lambda iteration, assessment: None,
) -> Fit:
    """Fits a twin to maps: the posterior mode with respect to the information volume (see `log_volume`).

    First it makes up to `eikonal_rounds` fits of eikonal waves, which take seconds; each is corrected by the
    difference between the simulation at its start and its own eikonal wave. Between them it infers the scales
    of fields that leave them open (`tissue_prior`, `discrepancy`), unless a prior is given. Then it takes
    steps by exact gradients of the simulation.

    **Arguments:**

    - `data`: one map for each beat of the twin. LATs without a standard deviation of their own get 2 ms
      (`MappingData.with_sigma` sets another); the scale of the noise is estimated.
    - `evidence`: further kinds of measurement, such as `Voltage`, or `Arrival` with another noise model.
    - `prior`: of theta. If omitted, independent standard normal, with the time offset of each map centred at
      its median difference from the eikonal wave at the prior mean.
    - `theta`: initial guess; the prior mean if omitted.
    - `iterations`: maximum number of gradient steps. `optimiser`: "trust_region", which stops when the
      predicted further decrease of the loss is below `tolerance` for each parameter that the maps determine,
      or "lbfgs".
    - `checkpoint`: an HDF5 file that stores the progress after each iteration, and from which the same fit
      of the same maps resumes after an interruption.
    - `report`: called with the number of iterations done and the `Assessment`.

    **Returns:** a `Fit`.

    **Raises:** `InputError` for re-entrant maps, maps that do not match the beats, and the checkpoint of
    another fit; `SolveError` if the simulation at the start fails. Warns (`IdentifiabilityWarning`) if the
    maps cannot separate the cell parameters.

    **Example:**

    ```python
    found = jt.fit(twin, data)
    uncertainty = jt.posterior(found)
    ```
    """
    if optimiser not in OPTIMISERS:
        raise InputError(f"optimiser '{optimiser}'", " or ".join(OPTIMISERS), "Choose one of them")
    if checkpoint is not None and optimiser != "trust_region":
        raise InputError(
            f"a checkpoint of optimiser '{optimiser}'", "optimiser 'trust_region', which can resume",
            "Choose it, or fit without a checkpoint",
        )  # fmt: skip
    refuse_reentry(twin.mesh, data)
    evidence = complete(evidence, twin)
    placed = placed_evidence(twin, data, evidence)
    if prior is None:
        prior = default_prior(twin, evidence, placed)
    problem = Problem(twin, prior, evidence)
    if twin.cells.names:
        lacking = unidentified(identifiable(twin, data, theta or prior.mean))
        if lacking:
            warnings.warn(lacking, IdentifiabilityWarning, stacklevel=2)
    settings = Settings(iterations, tolerance, optimiser, eikonal_rounds, data.names, report)
    begin = prior.white(prior.mean if theta is None else theta)
    state, save = begin_search(problem, placed, begin, settings, data, checkpoint)
    while state.stage < settings.rounds:
        state = eikonal_round(state, settings)
        save(state)
    while state.stage < settings.rounds + (1 if settings.rounds else 2):
        state = descend(state, settings, save)
        save(state)
    now = state.assessment
    if now is None:  # the checkpoint is of a completed fit
        now = objective(state.problem, state.placed, settings.names, settings.following)(state.white)
    rows = tuple(row | {"iteration": float(k)} for k, row in enumerate(state.history))
    return Fit(
        state.problem.prior.at(state.white), state.problem, data, state.placed, now.loss, now.captured,
        now.rmse_ms, now.activation, rows, state.reason,
    )  # fmt: skip


def default_prior(twin: Twin, evidence: Sequence[AbstractEvidence], placed: Sequence[PlacedMap]) -> Prior:
    """Independent standard normal, with the time offset of each map centred at its median difference from the
    eikonal wave at the prior mean, because a constant of the time reference carries no information."""
    mean = prior_mean(twin, evidence)
    problem = Problem(twin, Prior(mean), tuple(evidence))
    offsets = [median_offset(one, eikonal_model(problem, zeros(mean), one).arrival) for one in placed]
    centred = jnp.asarray(offsets, problem.dtype) / OFFSET_SD
    return open_prior(Prior(mean | {"maps": mean["maps"] | {"offset": centred}}), twin)
