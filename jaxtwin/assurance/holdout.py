"""Which points a fit sees, and which it is judged by."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from .._results import InputError
from ..anatomy import Mesh, farthest_points
from ..anatomy.topology import components
from ..fem import geodesic, locate, lumped_mass
from ..mapping import MappingData


class HoldOut(eqx.Module):
    """Three sets of valid points that share none: masks over the points of a map.

    - `fit`: what the fit sees: valid points, and all silent ones outside the patch.
    - `points`: held out at random between them. Exported maps are interpolated, which flatters these.
    - `patch`: all points of a part of the surface in which no point is fitted: the honest test.
    """

    fit: Bool[np.ndarray, " points"]
    points: Bool[np.ndarray, " points"]
    patch: Bool[np.ndarray, " points"]


def hold_out(
    mesh: Mesh,
    data: MappingData,
    *,
    fit: int | None = None,
    held_out: int = 0,
    patch_fraction: float = 0.15,
    seed: int = 0,
) -> HoldOut:
    """Splits the valid points of a map into those to fit and those to judge by.

    The patch is a geodesic disc around a random valid point on the largest component, grown to
    `patch_fraction` of the surface. `held_out` points are drawn at random outside of it. Of those that are
    left `fit` are spread evenly, over each map by its share of the points; `fit=None` takes all.

    Raises `InputError` where too few points are left outside the patch.
    """
    if not 0 <= patch_fraction < 1 or held_out < 0 or (fit is not None and fit < 1):
        raise InputError(
            f"fit {fit}, held_out {held_out} and patch_fraction {patch_fraction}",
            "at least one point to fit, none or more held out, a fraction from 0 to below 1",
            "Correct these numbers",
        )
    rng = np.random.default_rng(seed)
    area = _disc(mesh, data, patch_fraction, rng)
    patch = data.valid & area
    outside = rng.permutation(np.flatnonzero(data.valid & ~patch))
    count = len(outside) - held_out if fit is None else fit
    if count < 1 or count + held_out > len(outside):
        raise InputError(
            f"{len(outside)} valid points outside the patch",
            f"{held_out} to hold out and {'at least one' if fit is None else fit} to fit",
            "Take fewer points or a smaller patch",
        )
    masks = np.zeros((2, len(data.valid)), bool)
    left = outside[held_out:]
    masks[0, left if fit is None else _evenly(data, left, count)] = True
    masks[0] |= data.silent & ~area
    masks[1, outside[:held_out]] = True
    return HoldOut(masks[0], masks[1], patch)


def _evenly(data: MappingData, rows, count: int):
    """So many of the rows, spread evenly over each map; the rest at random where points share a place."""
    shares = np.bincount(data.map_index[rows], minlength=data.maps) * count / len(rows)
    numbers = np.diff(np.round(np.cumsum(shares)), prepend=0.0).astype(int)
    chosen = []
    for k, number in enumerate(numbers):
        own = rows[data.map_index[rows] == k]
        if number:
            first = own[farthest_points(data.positions[own], int(number))]
            chosen += [first, np.setdiff1d(own, first)[: number - len(first)]]
    return np.concatenate(chosen)


def _disc(mesh, data, fraction, rng):
    """Points in the disc."""
    if fraction == 0:
        return np.zeros(len(data.valid), bool)
    place = locate(mesh, data.positions)
    nearest = place.nearest()
    label = np.zeros(len(mesh.points), int)
    label[mesh.cells] = components(mesh.cells, len(mesh.points))[:, None]
    mass = lumped_mass(mesh)
    main = np.bincount(label, weights=mass).argmax()
    eligible = nearest[data.valid & (label[nearest] == main)]
    if not len(eligible):
        raise InputError(
            "a map without valid points on the largest part of the mesh",
            "points on the surface that is to be fitted",
            "Repair the mesh, which keeps its largest part, and project the map on it",
        )
    (distance,) = geodesic(mesh, rng.choice(eligible, 1))
    order = np.argsort(distance, kind="stable")
    inside = np.cumsum(mass[order]) <= fraction * mass.sum()
    radius = distance[order][inside].max(initial=0.0)
    # A point belongs to the disc by its own distance, not by that of its nearest node. The part of the mesh
    # that the disc cannot reach is far away.
    far = np.where(np.isfinite(distance), distance, 1e30)
    return np.asarray(place(jnp.asarray(far, dtype=float))) <= radius
