"""What a twin has to beat: one speed from one source, and interpolation without any physics."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.interpolate import RBFInterpolator
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
DENSE = 1500  # points above which smoothing is chosen on a random part and each value uses 200 neighbours


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


def radial_basis(
    positions: Float[np.ndarray, "points dim"],
    lat_ms: Float[np.ndarray, " points"],
    wanted: Float[np.ndarray, "wanted dim"],
) -> Float[np.ndarray, " wanted"]:
    """Interpolates activation times in space by radial basis functions.

    Kernel (linear or thin-plate spline) and smoothing are those with the smallest leave-one-out error, which
    is known in closed form: e_i = c_i / (A^-1)_ii for the system A c = f (Rippa 1999,
    doi 10.1023/A:1018975909870).

    Raises `InputError` for fewer points than the linear part needs.
    """
    positions, lat_ms = np.asarray(positions, np.float64), np.asarray(lat_ms, np.float64)
    if len(positions) < positions.shape[1] + 2:
        raise InputError(
            f"{len(positions)} points to interpolate",
            f"at least {positions.shape[1] + 2}",
            "Leave more points in the fit",
        )
    centre, size = positions.mean(axis=0), np.ptp(positions, axis=0).max()
    # points in a plane or on a line have no linear part across it
    _, lengths, axes = np.linalg.svd(positions - centre, full_matrices=False)
    axes = axes[lengths > FLAT * lengths.max()].T / size  # kernels and their smoothing then have no unit
    scaled = (positions - centre) @ axes
    part = np.random.default_rng(0).permutation(len(scaled))[:DENSE]
    radius = cdist(scaled[part], scaled[part])
    _, kernel, smoothing = min(
        (_leave_one_out(function(radius), scaled[part], lat_ms[part], fraction), name, fraction)
        for name, function in KERNELS.items()
        for fraction in SMOOTHING
    )
    interpolate = RBFInterpolator(
        scaled,
        lat_ms,
        kernel=kernel,
        degree=1,
        smoothing=smoothing * np.abs(KERNELS[kernel](radius)).mean(),
        neighbors=None if len(scaled) <= DENSE else 200,
    )
    return interpolate((np.asarray(wanted, np.float64) - centre) @ axes)


def gaussian_process(
    mesh: Mesh,
    positions: Float[np.ndarray, "points dim"],
    lat_ms: Float[np.ndarray, " points"],
    wanted: Float[np.ndarray, "wanted dim"],
) -> Float[np.ndarray, " wanted"]:
    """Interpolates activation times along the mesh: a constant, a Matern field of smoothness 1, and noise.

    y = mu + B D z + e with the modes B of the Laplacian at the points, D^2 their `spectrum`, z ~ N(0, t I)
    and e ~ N(0, s I): the interpolation of Coveney et al. 2020, doi 10.1098/rsta.2019.0345. Correlation
    length and signal t/s are those with the largest marginal likelihood, mu integrated out under a flat
    prior. Modes do not depend on the length, and the eigenvalues of D B^T B D serve all signals at once.

    Raises `InputError` for fewer than 5 points, which cannot tell signal from noise.
    """
    positions, lat_ms = np.asarray(positions, np.float64), np.asarray(lat_ms, np.float64)
    if len(positions) < 5:
        raise InputError(
            f"{len(positions)} points for a Gaussian process", "at least 5", "Leave more points in the fit"
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
        loss = (len(lat_ms) - 1) * np.log(rest) + np.log1p(np.outer(lam, SIGNALS)).sum(axis=0) + np.log(ones)
        best = int(loss.argmin())
        mean = mixed[best] / ones[best]
        field = weight * (turn @ (filtered[:, best, 1] - mean * filtered[:, best, 0]))
        found.append((loss[best], centre + mean, field))
    _, mean, field = min(found, key=lambda each: each[0])
    return mean + np.asarray(locate(mesh, wanted)(jnp.asarray(modes @ field, dtype=float)), np.float64)


def _line(far, lat):
    """Points not reached, error, start and slowness of lat = start + slowness far."""
    reached = np.isfinite(far)
    x, y = far[reached], lat[reached]
    spread = x - x.mean()
    slowness = max(float(spread @ y / max(spread @ spread, 1e-300)), 0.0)
    start = float(np.mean(y - slowness * x))
    return int((~reached).sum()), float(np.sqrt(np.mean((start + slowness * x - y) ** 2))), start, slowness


def _leave_one_out(kernel, positions, lat, fraction):
    """Root-mean-square error at each point when it is left out, ms."""
    count, dim = positions.shape
    linear = np.concatenate([np.ones((count, 1)), positions], axis=1)
    system = np.zeros((count + dim + 1,) * 2)
    system[:count, :count] = kernel + fraction * np.abs(kernel).mean() * np.eye(count)
    system[:count, count:], system[count:, :count] = linear, linear.T
    try:
        inverse = np.linalg.inv(system)
    except np.linalg.LinAlgError:
        return np.inf
    error = inverse[:count, :count] @ lat / np.diag(inverse)[:count]
    return float(np.sqrt(np.mean(error**2)))
