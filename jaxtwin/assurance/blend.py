"""The twin combined with interpolation of what it leaves over, each where it errs less."""

from itertools import combinations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from ..anatomy import Mesh
from ..fem import locate
from .baselines import NEIGHBOURS, GaussianProcess, RadialBasis

CANDIDATES = (
    "twin", "twin_and_radial_basis", "twin_and_gaussian_process", "radial_basis", "gaussian_process",
)  # fmt: skip
PHYSICS = 3  # of these candidates, the first ones, rest on the twin
FEWEST = 5  # points, without which the twin stands alone
OUTLIER = 5.0  # times the median absolute error, to which errors are clipped before they are squared
SHRINK = 10.0  # of the correlations of errors, over the number of points: few say little of them
BLOCKS = 1500  # points that are left out with their neighbours, at most
TOGETHER = 7  # points that are left out together
LEAST = 0.01  # of the growth of errors: no position is taken as known


class Blend:
    """Activation times from the twin and from interpolation, weighted by how each errs where it is left out.

    Five candidates: the twin; the twin and its residuals interpolated by radial basis functions; the twin as
    the mean of a Gaussian process along the mesh, whose amplitude and length are those of the largest
    marginal likelihood (Kennedy, O'Hagan 2001, doi 10.1111/1467-9868.00294); and the same two interpolations
    of the LATs themselves. At each position the weights are those, not negative and of sum 1, with the least
    expected square error w^T C w (stacking: Wolpert 1992, doi 10.1016/S0893-6080(05)80023-1). C holds the
    products of leave-one-out errors at the fitted points, all in closed form; those of the residuals of the
    twin are multiplied by how much larger its own error becomes where a point is left out.

    Leave-one-out errors belong to points as far from the others as the fitted points are from each other.
    Elsewhere they are scaled: those of the twin by its posterior, those of interpolation by how errors grow
    with the distance from the fitted points (by leaving out neighbours too) and by the variance of the
    Gaussian process. So interpolation carries between close points, physics far from all.

    Fewer than 5 fitted points that the twin reaches leave it alone. Where the twin activates nothing, nothing
    is predicted: interpolation would carry a wave over a block.

    **Arguments:**

    - `positions`: (points, dim), of the fitted points, mm. `lat_ms`: (points,).
    - `twin_ms`, `sd_ms`: (nodes,), prediction of the twin and its posterior standard deviation, NaN where not
      activated.
    - `left_out_ms`, `variance_ms2`: (points,), errors of the twin at the fitted points, each left out, and
      their variances; see `left_out`.
    - `noise_ms`: standard deviation of a measurement, above 0.
    - `known`: both interpolations of the LATs, where they are there already.
    """

    def __init__(
        self,
        mesh: Mesh,
        positions: Float[np.ndarray, "points dim"],
        lat_ms: Float[np.ndarray, " points"],
        twin_ms: Float[np.ndarray, " nodes"],
        sd_ms: Float[np.ndarray, " nodes"],
        left_out_ms: Float[np.ndarray, " points"],
        variance_ms2: Float[np.ndarray, " points"],
        noise_ms: float,
        *,
        known: tuple[RadialBasis, GaussianProcess] | None = None,
    ):
        self._mesh, self._twin, self._sd, self._noise = mesh, twin_ms, sd_ms, noise_ms
        twin, _ = self._of_twin(positions)
        reached = np.isfinite(twin) & np.isfinite(left_out_ms)
        self.alone = bool(reached.sum() < max(FEWEST, positions.shape[1] + 2))
        if self.alone:
            return
        lat, at, residual = lat_ms[reached], positions[reached], (lat_ms - twin)[reached]
        basis, process = known or (RadialBasis(positions, lat_ms), GaussianProcess(mesh, positions, lat_ms))
        rest = RadialBasis(at, residual), GaussianProcess(mesh, at, residual)
        self._interpolations = (*rest, basis, process)
        alone = left_out_ms[reached]
        # of the whole map: that of a single point is a quotient of two small numbers
        larger = max(np.sqrt(_mean_square(alone) / max(_mean_square(residual), 1e-300)), 1.0)
        errors = np.stack(
            [
                alone, larger * rest[0].left_out(), larger * rest[1].left_out(),
                basis.left_out()[reached], process.left_out()[reached],
            ], axis=1,
        )  # fmt: skip
        errors = errors[np.isfinite(errors).all(axis=1)]
        limit = OUTLIER * np.median(np.abs(errors), axis=0)
        errors = np.clip(errors, -limit, limit)
        # times that are exact, or twins, must not make the matrix singular
        least = (1e-6 * max(float(np.ptp(lat)), 1e-6)) ** 2
        products = errors.T @ errors / len(errors)
        self._products = products + np.diag(SHRINK / len(errors) * np.diag(products) + least)
        self._claimed = float(np.mean(variance_ms2[reached]))
        self._growth = _Growth(at, rest[1]), _Growth(positions, process)

    def __call__(
        self,
        wanted: Float[np.ndarray, "wanted dim"],
        neighbours: int = NEIGHBOURS,
        values: tuple[Float[np.ndarray, " wanted"], Float[np.ndarray, " wanted"]] | None = None,
    ) -> tuple[Float[np.ndarray, " wanted"], Float[np.ndarray, "wanted candidates"]]:
        """Activation times at positions (wanted, dim) in mm, NaN where nothing predicts them, and the weights
        of the `CANDIDATES` there. `neighbours`: see `RadialBasis`. `values`: of both interpolations of the
        LATs there, if already computed."""
        twin, sd = self._of_twin(wanted)
        weights = np.zeros((len(wanted), len(CANDIDATES)))
        weights[:, 0] = 1.0
        if self.alone:
            return twin, weights
        basis_rest, process_rest, basis, process = self._interpolations
        of_rest, of_lat = (growth(wanted) for growth in self._growth)
        reached = np.isfinite(twin)
        of_twin = (np.where(reached, sd, 0.0) ** 2 + self._noise**2) / self._claimed
        scale = np.sqrt(np.stack([of_twin, of_rest, of_rest, of_lat, of_lat], axis=1))
        expected = self._products * scale[:, :, None] * scale[:, None, :]
        weights[reached] = _least(expected[reached])
        found = np.where(reached, weights[:, :PHYSICS].sum(axis=1) * twin, np.nan)
        found += weights[:, 2] * process_rest(wanted)
        found += weights[:, 4] * (process(wanted) if values is None else values[1])
        # unlike the fields of the processes, radial basis functions solve a system for each position
        for weight, interpolate in ((weights[:, 1], basis_rest), (weights[:, 3], basis)):
            rows = np.flatnonzero(reached & (weight > 0.0))
            if interpolate is basis and values is not None:
                found[rows] += weight[rows] * values[0][rows]
            elif len(rows):
                found[rows] += weight[rows] * interpolate(wanted[rows], neighbours)
        return found, weights

    def _of_twin(self, positions):
        """Prediction and standard deviation at positions."""
        place = locate(self._mesh, positions)
        each = (
            np.asarray(place(jnp.asarray(row, dtype=float)), np.float64) for row in (self._twin, self._sd)
        )
        return tuple(each)


class _Growth:
    """The mean square error of an interpolation at a position, over that at fitted points that are left out.

    Beside points a + b d^2 of the distance d to the closest one, with a and b from the errors with one point,
    and with its neighbours too, left out: a process with one length takes the corners of a wave as noise, and
    would claim too much there. Farther away the variance of the process, if that is less.
    """

    def __init__(self, positions, process: GaussianProcess):
        self._process, self._tree = process, KDTree(positions)
        self._claimed = float(np.mean(process.variance_left_out()))
        some = np.random.default_rng(0).permutation(len(positions))[:BLOCKS]
        together = min(TOGETHER, len(positions) - 4)
        far, near = (np.asarray(each) for each in self._tree.query(positions[some], together + 1))
        alone, both = (_mean_square(process.left_out(near[:, :n])) for n in (1, together))
        here, there = np.mean(far[:, 1] ** 2), np.mean(far[:, together] ** 2)
        slope = max(both / max(alone, 1e-300) - 1.0, 0.0) / max(there - here, 1e-300)
        self._slope = min(slope, 1.0 / max(here, 1e-300))
        self._least = 1.0 - self._slope * here

    def __call__(self, wanted):
        distance, _ = self._tree.query(wanted)
        claimed = self._process.variance(wanted) / self._claimed
        return np.maximum(np.minimum(claimed, self._least + self._slope * distance**2), LEAST)


def _mean_square(errors):
    """Of errors without their outliers."""
    limit = OUTLIER * np.median(np.abs(errors), axis=0)
    return np.mean(np.clip(errors, -limit, limit) ** 2, axis=0)


def carried_by(share: float) -> str:
    """What carries a prediction with such a share of physics."""
    return "physics" if share > 0.75 else "interpolation" if share < 0.25 else "both"


def _least(products: Float[np.ndarray, "many own own"]) -> Float[np.ndarray, "many own"]:
    """The weights w >= 0 of sum 1 with the least w^T C w for each C: they are, up to their sum, the solution
    of C w = 1 for some set of candidates, and with so few candidates every set is tried."""
    many, own = products.shape[:2]
    best, weights = np.full(many, np.inf), np.zeros((many, own))
    for size in range(1, own + 1):
        for chosen in map(np.asarray, combinations(range(own), size)):
            part = products[:, chosen[:, None], chosen]
            found = np.linalg.solve(part, np.ones((many, size, 1)))[..., 0]
            total = found.sum(axis=1)
            rows = np.flatnonzero((found > 0.0).all(axis=1))
            rows = rows[1.0 / total[rows] < best[rows]]
            best[rows], weights[rows] = 1.0 / total[rows], 0.0
            weights[rows[:, None], chosen] = found[rows] / total[rows, None]
    return weights
