"""Fibres of an atrial surface: by rule from its openings, or transferred from another mesh in the same
coordinates.

The rule follows Piersanti et al. 2021 (doi 10.1016/j.cma.2020.113468): Laplace problems between the rings
give dimensionless distances, thresholds on them divide the left atrium into bundles, and in each bundle
fibres run perpendicular to the gradient of one of the distances. Here there is one layer, the surface itself,
whose normal takes the place of the transmural direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from scipy.sparse.linalg import splu
from scipy.spatial import KDTree

from .._results import InputError
from ..anatomy import Mesh, Opening, openings
from ..anatomy.closest import closest_on_simplex
from ..anatomy.fibres import place_fibres
from ..fem import lumped_mass, p1_gradients

BODY, VALVE, LEFT_VEINS, RIGHT_VEINS = range(4)
BUNDLES = ("body", "valve", "left veins", "right veins")

_FLAT = 1e-3  # fraction of the median gradient of a bundle, below which the direction is rounding error
_NEAREST = 8  # candidate cells for each centre
_MANY = 8  # veins: more than an atrium has, and too many pairings to try


@dataclass(frozen=True)
class Fibres:
    """Fibre directions of cells and their origin.

    - `fibres`: (cells, 3), unit vectors in the plane of each cell.
    - `bundles`: (cells,), by rule one of BODY, VALVE, LEFT_VEINS, RIGHT_VEINS; from another mesh its regions.
    - `distance_mm`: (cells,), to the cell that the fibre was taken from; zero by rule.
    - `notes`: what was assumed, found or filled in.
    """

    fibres: Float[np.ndarray, "cells 3"]
    bundles: Int[np.ndarray, " cells"]
    distance_mm: Float[np.ndarray, " cells"]
    notes: tuple[str, ...]

    def on(self, mesh: Mesh, *, regions: bool = False) -> Mesh:
        """The mesh with these fibres; with `regions`, the bundles become its regions."""
        return Mesh(mesh.points, mesh.cells, self.fibres, self.bundles if regions else mesh.regions)


def rule_fibres(
    mesh: Mesh,
    rings: Sequence[Opening] | None = None,
    *,
    valve: int = 0,
    left: Sequence[int] | None = None,
    appendage: Sequence[float] | np.ndarray | None = None,
    thresholds: tuple[float, float, float] = (0.65, 0.65, 0.10),
) -> Fibres:
    """Generates fibres of a left atrium by rule from its openings.

    Three harmonic functions: `r` is 1 on the valve and 0 on the veins, `v` is 1 on the left veins and 0 on
    the right ones, `ab` is 0 on the valve, 1 on the left and 2 on the right veins. Fibres are normal x grad r
    where r exceeds the first threshold (valve), normal x grad v where v exceeds the second (left veins) or
    falls below the third (right veins), and normal x grad ab elsewhere (body).

    With all veins in one group there is no `v` and no bundle of veins. With one ring, the distance from it is
    u with -lap u = 1 and u = 0 on the ring, and fibres run around the valve everywhere.

    **Accuracy.** Median angle to the fibres of two files, where random directions give 45 degrees: 26 on an
    atrium with fibres by another rule (FiberNet, 8,843 nodes; 8 around the valve), but 50 on one whose
    endocardial fibres were measured by diffusion tensor imaging (no. 1 of Roney et al. 2021, doi
    10.1007/s10439-020-02525-w, 60,100 nodes; 22 to 46 in the veins, 53 in the body; 48 with the tip of the
    appendage). A rule gives smooth and plausible fibres, not those of this heart. Their effect on maps of
    paced activation is small on average (3 ms, same source). If it matters, take fibres from an atlas
    (`carried_fibres`), vary them, or estimate their angle.

    **Arguments:**

    - `mesh`: a surface of triangles in space with at least one opening.
    - `rings`: its openings; found if omitted.
    - `valve`: index of the valve; the longest ring if omitted. All others are veins: exclude from `rings`
      what is neither, such as a resected appendage. It is then treated as a free edge.
    - `left`: indices of the left veins. If omitted, veins are split into the two most compact groups, and the
      group with the larger mean x is the left one, as in patient coordinates in which x increases to the left
      (DICOM, and mapping systems that follow it). Check the notes: files differ.
    - `appendage`: a point (mm) near the tip of the appendage; ab is -1 and r is 0 at the node nearest to it.
    - `thresholds`: for valve, left and right veins, as in the paper for a healthy atrium.

    **Returns:** `Fibres`.

    **Raises:** `InputError` for another kind of mesh, a mesh without openings, and rings that do not exist.
    """
    _check_surface(mesh)
    rings = openings(mesh) if rings is None else tuple(rings)
    _check_rings(mesh, rings, valve, left)
    normal = _normals(mesh)
    gradients, stiffness = _laplace(mesh)
    mouth = rings[valve].nodes
    veins = [k for k in range(len(rings)) if k != valve]
    bundles = np.full(len(mesh.cells), BODY, np.int32)
    notes = [f"The valve is the ring of {rings[valve].perimeter_mm:.1f} mm"]
    if not veins:
        known, values = _boundary(len(mesh.points), [(mouth, 0.0)])
        height = _solve(stiffness, known, values, lumped_mass(mesh))
        steep = _gradient(gradients, mesh.cells, height)
        notes.append("One opening: fibres run round it everywhere")
    else:
        one, two = _sides(rings, veins, left)
        names = [[f"{rings[k].perimeter_mm:.1f}" for k in side] for side in (one, two)]
        inside = [np.concatenate([rings[k].nodes for k in side]) for side in (one, two) if side]
        known, values = _boundary(
            len(mesh.points), [(mouth, 0.0)] + [(nodes, rank + 1.0) for rank, nodes in enumerate(inside)]
        )
        near_valve = np.where(known, 0.0, np.nan)
        near_valve[mouth] = 1.0
        if appendage is not None:
            tip = _nearest_node(mesh, appendage)
            known[tip], values[tip], near_valve[tip] = True, -1.0, 0.0
        both = _solve(stiffness, known, np.stack([values, near_valve], axis=1))
        steep = _gradient(gradients, mesh.cells, both[:, 0])
        if two:
            known, values = _boundary(len(mesh.points), [(inside[0], 1.0), (inside[1], 0.0)])
            between = _solve(stiffness, known, values)
            slope, level = _gradient(gradients, mesh.cells, between), between[mesh.cells].mean(axis=1)
            bundles[level >= thresholds[1]] = LEFT_VEINS
            bundles[level <= thresholds[2]] = RIGHT_VEINS
            steep = np.where((bundles != BODY)[:, None], slope, steep)
            notes.append(f"Left veins: rings of {', '.join(names[0])} mm, right: {', '.join(names[1])} mm")
        else:
            notes.append(f"Veins of one side only: rings of {', '.join(names[0])} mm")
        beside = both[:, 1][mesh.cells].mean(axis=1) >= thresholds[0]
        bundles[beside] = VALVE
        steep = np.where(beside[:, None], _gradient(gradients, mesh.cells, both[:, 1]), steep)
    across = np.cross(normal, steep)
    size = np.linalg.norm(across, axis=1)
    good = np.zeros(len(size), bool)
    for each in np.unique(bundles):
        here = bundles == each
        good[here] = size[here] > _FLAT * np.median(size[here])
    unit = np.divide(across, size[:, None], out=np.zeros_like(across), where=good[:, None])
    if not good.all():
        notes.append(f"{int((~good).sum())} cells without a direction of their own follow their neighbours")
    fibres = _filled(mesh, unit, good, normal)
    return Fibres(fibres, bundles, np.zeros(len(fibres)), tuple(notes))


def carried_fibres(mesh: Mesh, source: Mesh, *, furthest_mm: float = 5.0) -> Fibres:
    """Transfers fibres and regions from `source`, such as an atlas registered to the same coordinates, to
    `mesh`.

    Each cell takes the fibre of the `source` cell closest to its centre, projected into its own plane; beyond
    `furthest_mm` it takes the direction of its neighbours.

    **Returns:** `Fibres`.

    **Raises:** `InputError` for meshes that are not surfaces in space, and if more than half of the cells are
    too far away: the meshes are then not in the same coordinates.
    """
    _check_surface(mesh)
    _check_surface(source)
    if not (np.isfinite(furthest_mm) and furthest_mm > 0):
        raise InputError(f"a distance of {furthest_mm} mm", "a length above 0", "Use about 5 mm")
    centre, corner = mesh.centroids, source.points[source.cells]
    count = min(_NEAREST, len(source.cells))
    tree = KDTree(source.centroids)
    tried = np.asarray(tree.query(centre, k=count)[1], np.int64).reshape(-1, count)
    gap = closest_on_simplex(np.repeat(centre, count, axis=0), corner[tried.ravel()])[1].reshape(-1, count)
    best = gap.argmin(axis=1)
    nearest, distance = tried[np.arange(len(best)), best], gap.min(axis=1)
    far = distance > furthest_mm
    if 2 * far.sum() > len(far):
        raise InputError(
            f"{int(far.sum())} of {len(far)} cells farther than {furthest_mm:g} mm from the other mesh "
            f"(median {np.median(distance):.3g} mm)", "two meshes in the same coordinates",
            "Register one to the other first, or check the units of both",
        )  # fmt: skip
    normal = _normals(mesh)
    given = source.fibres[nearest]
    flat = given - (given * normal).sum(axis=1)[:, None] * normal
    size = np.linalg.norm(flat, axis=1)
    good = ~far & (size > 1e-3)
    unit = np.divide(flat, size[:, None], out=np.zeros_like(flat), where=good[:, None])
    middle = float(np.median(distance))
    notes = (f"Fibres from cells at {middle:.3g} mm in the median, {distance.max():.3g} at most",)
    if not good.all():
        notes += (f"{int((~good).sum())} cells, {int(far.sum())} of them too far, follow their neighbours",)
    return Fibres(_filled(mesh, unit, good, normal), source.regions[nearest], distance, notes)


def fibre_angle(
    one: Float[np.ndarray, "cells 3"], two: Float[np.ndarray, "cells 3"]
) -> Float[np.ndarray, " cells"]:
    """Angle between axes, 0 to 90 degrees: f and -f are equivalent."""
    return np.degrees(np.arccos(np.minimum(np.abs((one * two).sum(axis=1)), 1.0)))


def _laplace(mesh):
    """Gradients of the P1 functions and the stiffness matrix for D = 1."""
    gradients, nodes = p1_gradients(mesh), len(mesh.points)
    entries = np.einsum("cid,cjd,c->cij", gradients, gradients, mesh.measures)
    rows, columns = np.repeat(mesh.cells, 3, axis=1).ravel(), np.tile(mesh.cells, (1, 3)).ravel()
    return gradients, sp.csr_matrix((entries.ravel(), (rows, columns)), shape=(nodes, nodes))


def _boundary(nodes, parts):
    """Mask of the nodes with a given value, and the values; NaN elsewhere."""
    values = np.full(nodes, np.nan)
    for where, value in parts:
        values[where] = value
    return np.isfinite(values), values


def _solve(stiffness, known, values, load=None):
    """Solves K u = load at the nodes that are not known, (nodes,) or several at once as (nodes, columns)."""
    free, given = np.flatnonzero(~known), np.flatnonzero(known)
    u = np.where(known.reshape(-1, *[1] * (values.ndim - 1)), values, 0.0)
    right = -(stiffness[free][:, given] @ u[given])
    if load is not None:
        right = right + load[free]
    u[free] = splu(stiffness[free][:, free].tocsc()).solve(right)
    return u


def _gradient(gradients, cells, values):
    return np.einsum("ckd,ck->cd", gradients, values[cells])


def _normals(mesh):
    corner = mesh.points[mesh.cells]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    return normal / np.linalg.norm(normal, axis=1)[:, None]


def _sides(rings, veins, left):
    """Left and right veins; the second is empty where all are on one side."""
    if left is not None:
        one = [int(k) for k in left]
        two = [k for k in veins if k not in one]
        return (one, two) if one else (two, [])
    if len(veins) == 1:
        return veins, []
    centre = np.stack([rings[k].centre for k in veins])
    everything = range(len(veins))

    def spread(group):
        others = [k for k in everything if k not in group]
        return sum(((centre[part] - centre[part].mean(axis=0)) ** 2).sum() for part in (list(group), others))

    # Four veins form two pairs; otherwise the groups may be of any size.
    sizes = [2] if len(veins) == 4 else range(1, len(veins))
    one = list(min((g for size in sizes for g in combinations(everything, size)), key=spread))
    two = [k for k in everything if k not in one]
    if centre[one, 0].mean() < centre[two, 0].mean():
        one, two = two, one
    return [veins[k] for k in one], [veins[k] for k in two]


def _filled(
    mesh: Mesh,
    unit: Float[np.ndarray, "cells 3"],
    good: Bool[np.ndarray, " cells"],
    normal: Float[np.ndarray, "cells 3"],
) -> Float[np.ndarray, "cells 3"]:
    """Directions filled in where `good` is not set: the principal direction of the neighbours, from the edge
    inwards."""
    unit, good = unit.copy(), good.copy()
    around = sp.csr_matrix(
        (np.ones(mesh.cells.size), (mesh.cells.ravel(), np.repeat(np.arange(len(unit)), 3))),
        shape=(len(mesh.points), len(unit)),
    )
    while not good.all():
        axes = np.einsum("ci,cj->cij", unit, unit).reshape(-1, 9)  # f and -f are equivalent
        bad = np.flatnonzero(~good)
        spread = (around.T[bad] @ (around @ axes)).reshape(-1, 3, 3)
        flat = np.eye(3) - normal[bad][:, :, None] * normal[bad][:, None, :]
        value, vector = np.linalg.eigh(flat @ spread @ flat)
        reached = value[:, 2] > 1e-9
        if not reached.any():
            break
        unit[bad[reached]], good[bad[reached]] = vector[reached, :, 2], True
    # An isolated part without any direction takes that of its first edge.
    edge = mesh.points[mesh.cells[:, 1]] - mesh.points[mesh.cells[:, 0]]
    return place_fibres(mesh.points, mesh.cells, np.where(good[:, None], unit, edge))[0]


def _nearest_node(mesh, place):
    place = np.asarray(place, np.float64)
    if place.shape != (3,) or not np.isfinite(place).all():
        raise InputError(
            f"an appendage at {place.tolist()}", "three finite coordinates in mm", "Give a place in space"
        )
    return int(((mesh.points - place) ** 2).sum(axis=1).argmin())


def _check_surface(mesh):
    if mesh.corners != 3 or mesh.dim != 3:
        raise InputError(
            f"cells of {mesh.corners} corners in {mesh.dim} dimensions", "a surface of triangles in space",
            "Take the endocardial surface",
        )  # fmt: skip
    if not (mesh.measures > 0).all():
        raise InputError(
            f"{int((mesh.measures <= 0).sum())} cells without area", "a clean surface", "Repair it first"
        )


def _check_rings(mesh, rings, valve, left):
    if not rings:
        raise InputError(
            "a closed surface, without an opening", "at least the valve as an opening",
            "Cut it open with cut_at, or with the cuts of chamber",
        )  # fmt: skip
    if len(rings) > _MANY + 1 and left is None:
        raise InputError(
            f"{len(rings)} openings", f"a valve and up to {_MANY} veins", "Choose those that are, as rings"
        )
    asked = {int(valve), *(int(k) for k in left or ())}
    if not asked <= set(range(len(rings))) or int(valve) in {int(k) for k in left or ()}:
        raise InputError(
            f"valve {valve} and left veins {list(left or ())} among {len(rings)} rings",
            f"different numbers from 0 to {len(rings) - 1}", "Choose them from the list of rings",
        )  # fmt: skip
    nodes = np.concatenate([ring.nodes for ring in rings])
    if nodes.min() < 0 or nodes.max() >= len(mesh.points):
        raise InputError(
            f"rings with nodes {nodes.min()} to {nodes.max()} on a mesh of {len(mesh.points)}",
            "rings of this mesh", "Find them with openings(mesh)",
        )  # fmt: skip
