"""Identifiability: which parameters the maps determine."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import InputError
from ..mapping import MappingData
from ..monodomain import ForwardMode
from ..twin import PlacedMap, Theta, Twin, place_maps, scaled, simulate_beat

ROUNDING = 1e-9  # relative to the largest eigenvalue of the information
IDENTIFIED, WEAK = 0.1, 0.5  # posterior over prior variance, below which a parameter gets this label


class IdentifiabilityWarning(UserWarning):
    """Warns that more parameters are requested than the data identify."""


class Combination(eqx.Module):
    """A combination of logarithms of parameters, and how far the data reduce its variance.

    - `names`, `share`: sum_k share_k log(name_k); the largest weight is 1 or -1.
    - `left`: posterior over prior variance.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    share: Float[np.ndarray, " names"]
    left: float

    def __str__(self) -> str:
        terms = [
            f"{'-' if value < 0 else '+'} {abs(value):.2f} log {name}"
            for name, value in zip(self.names, self.share, strict=True)
            if abs(value) > 0.02
        ]
        return " ".join(terms).removeprefix("+ ")


def identifiable(twin: Twin, data: MappingData, theta: Theta | None = None) -> list[Combination]:
    """Returns the combinations of log D and of the logarithms of the estimated cell parameters that the maps
    identify.

    They are eigenvectors of the Fisher information, at `theta` or the prior mean, of spatially uniform
    changes, with the time offset of each map free.

    **Returns:** all combinations, the best determined first.

    **Raises:** `InputError` if no point of any map is activated in the simulation.

    **Example:**

    ```python
    for combination in jt.identifiable(twin, data):
        print(combination, combination.left)
    ```
    """
    names, rows = _sensitivity(twin, data, twin.mean() if theta is None else theta)
    return combinations(names, rows, np.asarray([1.0, *(sd for _, sd in twin.cells.sd)]))


def cramer_rao(twin: Twin, data: MappingData, theta: Theta | None = None) -> dict[str, float]:
    """Returns the Cramer-Rao lower bound on the standard deviations of log D and of the logarithms of the
    estimated cell parameters.

    All are estimated together without a prior, with Gaussian noise, for spatially uniform changes, with the
    time offset of each map free, at `theta` or the prior mean.

    **Returns:** name -> standard deviation; infinite if the maps do not separate a parameter from the others.

    **Raises:** `InputError` if no point of any map is activated in the simulation.

    **Example:** `jt.cramer_rao(twin, data)`
    """
    names, rows = _sensitivity(twin, data, twin.mean() if theta is None else theta)
    gain, vectors = np.linalg.eigh(rows.T @ rows)
    with np.errstate(divide="ignore"):
        spread = np.where(gain > ROUNDING * gain.max(initial=0.0), 1.0 / gain, np.inf)
    # a parameter with any component in an unidentified direction has no bound
    share = np.where(vectors**2 > ROUNDING, vectors**2, 0.0)
    square = np.where(share > 0.0, share * spread[None], 0.0).sum(axis=1)
    return dict(zip(names, np.sqrt(square).tolist(), strict=True))


def combinations(
    names: tuple[str, ...], slopes: Float[np.ndarray, "points names"], sd: Float[np.ndarray, " names"]
) -> list[Combination]:
    """The combinations of log parameters that data with these derivatives (over their noise) separate:
    eigenvectors of the Fisher information, whitened by the prior standard deviations `sd`; the best
    determined first."""
    white = slopes * sd[None]
    gain, vectors = np.linalg.eigh(white.T @ white)
    made = []
    for g, v in zip(gain[::-1], vectors.T[::-1], strict=True):
        share = v / sd  # in the parameters themselves: the data depend on v.(log p/sd)
        made.append(
            Combination(names, share / share[np.abs(share).argmax()], float(1.0 / (1.0 + max(g, 0.0))))
        )
    return made


def unidentified(found: list[Combination]) -> str:
    """The warning if more parameters are requested than the maps identify; empty if all are identified."""
    known = [c for c in found if c.left < IDENTIFIED]
    if len(known) == len(found):
        return ""
    names = "; ".join(str(c) for c in known) or "none"
    noun = "combination" if len(known) == 1 else "combinations"
    return (
        f"The maps identify only {len(known)} {noun} of the {len(found)} requested parameters "
        f"({', '.join(found[0].names)}): {names}. Estimates of the others are just the prior. Fix them, or "
        "add beats that show them (premature stimuli for recovery)"
    )


def identifiability(left: np.ndarray) -> np.ndarray:
    """ "identified", "weak" or "not", from posterior over prior variance."""
    return np.where(left < IDENTIFIED, "identified", np.where(left < WEAK, "weak", "not"))


def _sensitivity(twin: Twin, data: MappingData, theta: Theta):
    """Names of D and the cell parameters, and the derivative of each point with respect to their logarithms
    over its noise, with the offset of each map free. Its square is the Fisher information."""
    rows = []
    for placed in place_maps(twin, data)[0]:
        timed = np.asarray(placed.timed)
        slope = np.asarray(_by_logs(theta, twin, placed), np.float64)[timed]
        slope = slope[np.isfinite(slope).all(axis=1)]
        if not len(slope):
            continue
        sigma = float(np.median(np.asarray(placed.sigma_ms)[timed]))
        rows.append((slope - slope.mean(axis=0)) / sigma)
    if not rows:
        raise InputError(
            "maps of which no point is reached by the simulated wave", "waves that reach points of the maps",
            "Check the pacing sites, the diffusivity and the end of the simulation",
        )  # fmt: skip
    return ("D", *twin.cells.names), np.concatenate(rows)


@eqx.filter_jit
def _by_logs(theta: Theta, twin: Twin, placed: PlacedMap) -> Float[Array, "points parameters"]:
    """d(simulated times at the points)/d(log D, log of each estimated cell parameter), spatially uniform."""
    forward = eqx.tree_at(lambda t: t.adjoint, twin, ForwardMode())
    tissue = twin.tissue(theta, placed.beat.stimulus)

    def there(logs):
        cells = scaled(tissue.ionic, dict(zip(twin.cells.names, logs[1:], strict=True)))
        changed = cells, jnp.exp(logs[0]) * tissue.diffusivity
        moved = eqx.tree_at(lambda t: (t.ionic, t.diffusivity), tissue, changed)
        return placed.place(simulate_beat(forward, moved, placed.beat).activation)

    return jax.jacfwd(there)(jnp.zeros(1 + len(twin.cells.names), twin.space.mass.dtype))
