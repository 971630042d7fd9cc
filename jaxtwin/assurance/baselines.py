"""What a twin has to beat: one speed from one source, and interpolation without any physics."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from .._results import InputError
from ..anatomy import Mesh
from ..fem import geodesic, laplace_modes, locate, spectrum
from ..mapping import MappingData

KERNELS = {"linear": lambda r: -r, "thin_plate_spline": lambda r: r**2 * np.log(np.maximum(r, 1e-300))}
SMOOTHING = tuple(10.0**e for e in range(-7, 2))  # fractions of the mean size of the kernel
MODES = 399  # of the Gaussian process beside the constant: wavelengths down to 7 mm on an atrium
LENGTHS = (0.08, 0.12, 0.18, 0.27, 0.4, 0.6, 0.9, 1.35)  # correlation lengths over the extent of the mesh
SIGNALS = np.logspace(-4, 6, 81)  # variances of the field over that of the noise
FLAT = 1e-6  # extent of the points across a plane over that in it, up to which they lie in the plane
DENSE = 1500  # points above which smoothing is chosen on a random part and each value uses its neighbours
NEIGHBOURS = 200
LEAST_KEPT = 1e-6  # of the part of a residual that its own point does not explain


class IsotropicSpeed(eqx.Module):
    """Activation that spreads from one node with one speed: arrival = start + distance / speed.

    - `speed`: mm/ms, infinite where the times do not grow with distance.
    - `source`: node; `start_ms`: when it is activated.
    - `arrival_ms`: (nodes,), infinite where the surface does not connect.
    - `rmse_ms`: over the points of the fit.
    """

    mesh: Mesh
    speed: float
    source: int
    start_ms: float
    arrival_ms: Float[np.ndarray, " nodes"]
    rmse_ms: float

    def __call__(self, positions) -> Float[np.ndarray, " points"]:
        """Activation times at positions (points, dim) in mm."""
        return np.asarray(locate(self.mesh, positions)(jnp.asarray(self.arrival_ms, dtype=float)))


def isotropic_speed(mesh: Mesh, data: MappingData, candidates: int = 20) -> IsotropicSpeed:
    """Least squares for the start and the speed of a single wave, for the best of several sources.

    `data` is a map of one beat. The sources tried are the nodes at its `candidates` earliest valid points:
    the earliest one alone may be an outlier, which would make this baseline worse than it is.
    """
    data = data.subset(data.valid)
    place = locate(mesh, data.positions)
    nearest = place.nearest()
    sources = np.unique(nearest[np.argsort(data.lat_ms, kind="stable")[:candidates]])
    distance = geodesic(mesh, sources)
    reached = np.asarray(place(jnp.asarray(distance, dtype=float)), np.float64)
    fits = [_line(far, data.lat_ms) for far in reached]
    best = min(range(len(fits)), key=lambda k: fits[k][:2])
    _, rmse, start, slowness = fits[best]
    arrival = np.where(np.isfinite(distance[best]), start + slowness * distance[best], np.inf)
    speed = 1.0 / slowness if slowness > 0 else np.inf
    return IsotropicSpeed(mesh, float(speed), int(sources[best]), float(start), arrival, float(rmse))


class RadialBasis:
    """Activation times interpolated in space by radial basis functions.

    Kernel (linear or thin-plate spline) and smoothing are those with the smallest leave-one-out error, which
    is known in closed form: e_i = c_i / (A^-1)_ii for the system A c = f (Rippa 1999,
    doi 10.1023/A:1018975909870).

    **Arguments:** `positions`: (points, dim), mm. `lat_ms`: (points,).

    **Raises:** `InputError` for fewer points than the linear part needs.
    """

    def __init__(self, positions: Float[np.ndarray, "points dim"], lat_ms: Float[np.ndarray, " points"]):
        positions, lat_ms = np.asarray(positions, np.float64), np.asarray(lat_ms, np.float64)
        if len(positions) < positions.shape[1] + 2:
            raise InputError(
                f"{len(positions)} points to interpolate",
                f"at least {positions.shape[1] + 2}",
                "Leave more points in the fit",
            )
        self._centre, size = positions.mean(axis=0), np.ptp(positions, axis=0).max()
        # points in a plane or on a line have no linear part across it
        _, lengths, axes = np.linalg.svd(positions - self._centre, full_matrices=False)
        # kernels and their smoothing then have no unit
        self._axes = axes[lengths > FLAT * lengths.max()].T / size
        scaled = (positions - self._centre) @ self._axes
        part = np.random.default_rng(0).permutation(len(scaled))[:DENSE]
        radius = cdist(scaled[part], scaled[part])
        _, kernel, smoothing = min(
            (_rms_left_out(function(radius), scaled[part], lat_ms[part], fraction), name, fraction)
            for name, function in KERNELS.items()
            for fraction in SMOOTHING
        )
        self._kernel, self._smoothing = kernel, smoothing * np.abs(KERNELS[kernel](radius)).mean()
        self._scaled, self._lat, self._part = scaled, lat_ms, part

    def __call__(
        self, wanted: Float[np.ndarray, "wanted dim"], neighbours: int = NEIGHBOURS
    ) -> Float[np.ndarray, " wanted"]:
        """Activation times at positions (wanted, dim) in mm; above 1,500 points each from so many
        neighbours."""
        interpolate = RBFInterpolator(
            self._scaled, self._lat, kernel=self._kernel, degree=1, smoothing=self._smoothing,
            neighbors=None if len(self._scaled) <= DENSE else neighbours,
        )  # fmt: skip
        return interpolate((np.asarray(wanted, np.float64) - self._centre) @ self._axes)

    def left_out(self) -> Float[np.ndarray, " points"]:
        """The error, measured less interpolated, at each point when it is left out, ms. Above 1,500 points it
        is known at a random part of them, from the neighbours that interpolate there, and else NaN."""
        found = np.full(len(self._lat), np.nan)
        if len(self._lat) <= DENSE:
            radius = cdist(self._scaled, self._scaled)
            found[:] = _left_out(KERNELS[self._kernel](radius), self._scaled, self._lat, self._smoothing)
            return found
        function = KERNELS[self._kernel]
        count = min(NEIGHBOURS + 1, len(self._lat))
        near = np.asarray(KDTree(self._scaled).query(self._scaled[self._part], count)[1])
        for point, rows in zip(self._part, near, strict=True):
            rows = np.concatenate([[point], rows[rows != point][:NEIGHBOURS]])
            own, radius = self._scaled[rows], cdist(self._scaled[rows], self._scaled[rows])
            found[point] = _left_out(function(radius), own, self._lat[rows], self._smoothing, only=1)[0]
        return found


def radial_basis(
    positions: Float[np.ndarray, "points dim"],
    lat_ms: Float[np.ndarray, " points"],
    wanted: Float[np.ndarray, "wanted dim"],
) -> Float[np.ndarray, " wanted"]:
    """Activation times at the positions `wanted` in mm, interpolated in space; see `RadialBasis`."""
    return RadialBasis(positions, lat_ms)(wanted)


class GaussianProcess:
    """Activation times interpolated along the mesh: a constant, a Matern field of smoothness 1, and noise.

    y = mu + B D z + e with the modes B of the Laplacian at the points, D^2 their `spectrum`, z ~ N(0, t I)
    and e ~ N(0, s I): the interpolation of Coveney et al. 2020, doi 10.1098/rsta.2019.0345. Correlation
    length and signal t/s are those with the largest marginal likelihood, mu integrated out under a flat
    prior. Modes do not depend on the length, and the eigenvalues of D B^T B D serve all signals at once.

    **Arguments:** `positions`: (points, dim), mm. `lat_ms`: (points,).

    **Raises:** `InputError` for fewer than 5 points, which cannot tell signal from noise.
    """

    def __init__(
        self, mesh: Mesh, positions: Float[np.ndarray, "points dim"], lat_ms: Float[np.ndarray, " points"]
    ):
        positions, lat_ms = np.asarray(positions, np.float64), np.asarray(lat_ms, np.float64)
        if len(positions) < 5:
            raise InputError(
                f"{len(positions)} points for a Gaussian process",
                "at least 5",
                "Leave more points in the fit",
            )
        eigenvalues, modes = laplace_modes(mesh, min(MODES + 1, len(mesh.points)))
        eigenvalues, modes = eigenvalues[1:], modes[:, 1:]  # the first is the constant, which mu is
        at = np.asarray(locate(mesh, positions)(jnp.asarray(modes.T, dtype=float)), np.float64).T
        centre = lat_ms.mean()
        values = np.stack([np.ones(len(lat_ms)), lat_ms - centre], axis=1)
        gram, seen = at.T @ at, at.T @ values
        extent = np.ptp(mesh.points, axis=0).max()
        found = []
        for fraction in LENGTHS:
            weight = np.sqrt(spectrum(eigenvalues, fraction * extent, 1.0, mesh.corners - 1))
            weight /= np.sqrt((np.diag(gram) * weight**2).sum() / len(lat_ms))
            lam, turn = np.linalg.eigh(weight[:, None] * gram * weight)
            lam, part = np.maximum(lam, 0.0), turn.T @ (weight[:, None] * seen)
            filtered = part[:, None] / (lam[:, None] + 1 / SIGNALS)[..., None]
            # what V^-1 makes of products of the constant and the times, V = 1 + (t/s) B D^2 B^T
            ones, mixed, times = (
                values[:, i] @ values[:, j] - np.einsum("ms,m->s", filtered[..., i], part[:, j])
                for i, j in ((0, 0), (0, 1), (1, 1))
            )
            rest = np.maximum(times - mixed**2 / ones, 1e-12 * np.sum(values[:, 1] ** 2) + 1e-300)
            loss = (
                (len(lat_ms) - 1) * np.log(rest) + np.log1p(np.outer(lam, SIGNALS)).sum(axis=0) + np.log(ones)
            )
            best = int(loss.argmin())
            mean = mixed[best] / ones[best]
            field = weight * (turn @ (filtered[:, best, 1] - mean * filtered[:, best, 0]))
            root = weight[:, None] * turn / np.sqrt(lam + 1 / SIGNALS[best])  # V^-1 = 1 - B root root^T B^T
            found.append((loss[best], centre + mean, field, root))
        _, self._mean, field, self._root = min(found, key=lambda each: each[0])
        self._mesh, self._at, self._lat, self._field, self._modes = mesh, at, lat_ms, field, modes

    def __call__(self, wanted: Float[np.ndarray, "wanted dim"]) -> Float[np.ndarray, " wanted"]:
        """Activation times at positions (wanted, dim) in mm."""
        field = locate(self._mesh, wanted)(jnp.asarray(self._modes @ self._field, dtype=float))
        return self._mean + np.asarray(field, np.float64)

    def left_out(self, without: Int[np.ndarray, "rows together"] | None = None) -> Float[np.ndarray, " rows"]:
        """The error, measured less interpolated, at each point when it is left out, ms, with length and
        signal as they are: r_i / (1 - H_ii) with the residuals r and the matrix H that smooths the times
        (Dubrule 1983, doi 10.1007/BF01033232). `without`: the errors at the first point of each row, when all
        points of the row are left out."""
        residual = self._lat - self._mean - self._at @ self._field
        if without is None:
            return residual * self.variance_left_out()
        spread, ones, least = self._inverse()
        part, known = spread[without], ones[without]
        kept = np.eye(without.shape[1]) - part @ part.swapaxes(1, 2)
        kept -= known[:, :, None] * known[:, None, :] / least
        kept += LEAST_KEPT * np.eye(without.shape[1])
        return np.linalg.solve(kept, residual[without][..., None])[:, 0, 0]

    def variance_left_out(self) -> Float[np.ndarray, " points"]:
        """The variance of the errors of single points over that of the noise."""
        spread, ones, least = self._inverse()
        return 1.0 / np.maximum(1.0 - np.sum(spread**2, axis=1) - ones**2 / least, LEAST_KEPT)

    def _inverse(self):
        """U, v and s of the matrix 1 - U U^T - v v^T / s that makes V^-1 (y - mu) of y / s."""
        spread = self._at @ self._root
        ones = 1.0 - spread @ spread.sum(axis=0)
        return spread, ones, ones.sum()

    def variance(self, wanted: Float[np.ndarray, "wanted dim"]) -> Float[np.ndarray, " wanted"]:
        """The variance of the error of a new measurement over that of the noise."""
        spread, _, least = self._inverse()
        there = locate(self._mesh, wanted)(jnp.asarray((self._modes @ self._root).T, dtype=float))
        there = np.asarray(there, np.float64).T
        of_mean = 1.0 - there @ spread.sum(axis=0)
        return 1.0 + np.sum(there**2, axis=1) + of_mean**2 / least


def gaussian_process(
    mesh: Mesh,
    positions: Float[np.ndarray, "points dim"],
    lat_ms: Float[np.ndarray, " points"],
    wanted: Float[np.ndarray, "wanted dim"],
) -> Float[np.ndarray, " wanted"]:
    """Activation times at positions `wanted` in mm, interpolated along the mesh; see `GaussianProcess`."""
    return GaussianProcess(mesh, positions, lat_ms)(wanted)


def _line(far, lat):
    """Points not reached, error, start and slowness of lat = start + slowness far."""
    reached = np.isfinite(far)
    x, y = far[reached], lat[reached]
    spread = x - x.mean()
    slowness = max(float(spread @ y / max(spread @ spread, 1e-300)), 0.0)
    start = float(np.mean(y - slowness * x))
    return int((~reached).sum()), float(np.sqrt(np.mean((start + slowness * x - y) ** 2))), start, slowness


def _rms_left_out(kernel, positions, lat, fraction):
    """Root-mean-square error at each point when it is left out, ms."""
    try:
        error = _left_out(kernel, positions, lat, fraction * np.abs(kernel).mean())
    except np.linalg.LinAlgError:
        return np.inf
    return float(np.sqrt(np.mean(error**2)))


def _left_out(kernel, positions, lat, smoothing, only=None):
    """Errors of the first `only` points (all where None), each when it is left out, ms."""
    count, dim = positions.shape
    linear = np.concatenate([np.ones((count, 1)), positions], axis=1)
    system = np.zeros((count + dim + 1,) * 2)
    system[:count, :count] = kernel + smoothing * np.eye(count)
    system[:count, count:], system[count:, :count] = linear, linear.T
    if only is None:
        inverse = np.linalg.inv(system)
        return inverse[:count, :count] @ lat / np.diag(inverse)[:count]
    columns = np.linalg.solve(system, np.eye(len(system))[:, :only])[:count]
    return columns.T @ lat / np.diag(columns)
