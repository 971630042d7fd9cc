"""Fibres of a file as unit vectors within the tissue."""

import numpy as np
from jaxtyping import Float, Int

from .._results import InputError
from .mesh import Mesh

OUT_OF_PLANE = 20.0  # degrees, above which a note is given
ZERO_LENGTH = 1e-6


def place_fibres(
    points: Float[np.ndarray, "nodes dim"],
    cells: Int[np.ndarray, "cells corners"],
    axes: Float[np.ndarray, "cells dim"],
) -> tuple[Float[np.ndarray, "cells dim"], tuple[str, ...]]:
    """Unit vectors along `axes`, in the tangent space of each cell, and notes on what was changed.

    A surface cell takes the part of the axis within its plane, a segment its own direction. If an axis is
    zero or not finite, the cell has no fibre: its vector is zero, and it is isotropic (see
    `diffusion_tensor`). If an axis is normal to the cell, the cell takes the principal direction of its
    neighbours: the first eigenvector of the sum of f (x) f over the cells that share a node with it, because
    fibres are axes and f is equivalent to -f.
    """
    notes = []
    size = np.abs(axes).max(axis=1, keepdims=True)
    usable = np.isfinite(size) & (size > ZERO_LENGTH)
    scaled = np.divide(axes, size, out=np.zeros_like(axes), where=usable)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit = np.divide(scaled, length, out=scaled, where=usable)
    stretched = int((np.abs(length * size - 1.0)[usable] > 1e-3).sum())
    if stretched:
        notes.append(f"{stretched} fibres were not of length 1 and were normalised")
    if not usable.all():
        notes.append(
            f"{int((~usable).sum())} of {len(axes)} cells without a fibre (zero or NaN): isotropic there, "
            "with the conductivity across the fibres"
        )
    placeholder = bool((unit == np.eye(unit.shape[1])[0]).all())
    if placeholder:
        notes.append("fibres are all (1, 0, 0): a placeholder unless the tissue is a flat sheet, not anatomy")

    frame = _tangent_frame(points, cells)
    within = unit if frame is None else np.einsum("cdk,cek,ce->cd", frame, frame, unit)
    cosine = np.linalg.norm(within, axis=1, keepdims=True)
    steep = int((cosine[usable] < np.cos(np.radians(OUT_OF_PLANE))).sum())
    if steep and not placeholder:
        notes.append(f"{steep} fibres more than {OUT_OF_PLANE:g} degrees out of their cell were laid into it")
    good = usable & (cosine > 1e-3)
    fibres = np.divide(within, cosine, out=np.zeros_like(within), where=good)
    bad = np.flatnonzero(usable & ~good)
    if bad.size:
        fibres[bad] = _main_direction_nearby(fibres, cells, bad, len(points), frame)
        if not placeholder:
            notes.append(f"{bad.size} fibres normal to their cell replaced by that of their neighbours")
    return fibres, tuple(notes)


def across_fibres(mesh: Mesh) -> Float[np.ndarray, "cells dim"]:
    """Unit vectors perpendicular to the fibres within each triangle: the fibres rotated to the left, seen
    from outside; zero without a fibre.

    Raises `InputError` for cells that are not triangles, whose direction across is not unique.
    """
    if mesh.corners != 3:
        raise InputError(
            f"a mesh whose cells have {mesh.corners} corners", "a surface of triangles",
            "Estimate the angle of the fibres on surfaces only",
        )  # fmt: skip
    if mesh.dim == 2:
        return np.stack([-mesh.fibres[:, 1], mesh.fibres[:, 0]], axis=1)
    span = mesh.points[mesh.cells[:, 1:]] - mesh.points[mesh.cells[:, :1]]
    across = np.cross(np.cross(span[:, 0], span[:, 1]), mesh.fibres)
    length = np.linalg.norm(across, axis=1, keepdims=True)
    return np.divide(across, length, out=across, where=length > 0)


def _tangent_frame(points, cells):
    """Orthonormal tangent vectors, (cells, dim, corners - 1), or None where the cells fill the space."""
    if cells.shape[1] > points.shape[1]:
        return None
    span = points[cells[:, 1:]] - points[cells[:, :1]]
    # Householder QR stays orthonormal if a cell is degenerate and has no plane.
    return np.linalg.qr(span.swapaxes(1, 2))[0]


def _main_direction_nearby(fibres, cells, bad, nodes, frame):
    near = np.isin(cells, cells[bad]).any(axis=1)  # cells without a fibre do not contribute
    spread = np.zeros((nodes, *fibres.shape[1:] * 2))
    np.add.at(spread, cells[near].T, np.einsum("ci,cj->cij", fibres[near], fibres[near]))
    frame = np.eye(fibres.shape[1])[None].repeat(bad.size, 0) if frame is None else frame[bad]
    within = np.einsum("cdk,cde,cel->ckl", frame, spread[cells[bad]].sum(axis=1), frame)
    return np.einsum("cdk,ck->cd", frame, np.linalg.eigh(within)[1][..., -1])
