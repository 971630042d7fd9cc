"""Detection of re-entrant maps, whose times no wave from a stimulus can produce."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import KDTree

from .._results import InputError
from ..anatomy import Mesh
from ..anatomy.topology import boundary_facets, facets, reversed_cells
from .data import MappingData, project

PATCHES = 400  # approximate maximum number of patches, each with one time
POINTS = 30  # points of a patch that are used
FEWEST = 50  # points, needed to distinguish a circuit from noise
SHORTEST = 100.0  # ms; human cardiac tissue is refractory for longer than this
OUTER = 0.005  # fraction of the patches excluded from the range of a map at either end
BEYOND = 0.6  # cycles; times farther than this from mid-range are outliers
FAR = 0.15  # cycles; times farther apart than this are unrelated
HEALED = 0.15  # a jump of 1 +- this many cycles is continuous on the circle
OPEN, RIMMED = 0.4, 0.7  # fraction of a seam that must be healed: with an end in the tissue, from rim to rim
PAIRS = 5  # minimum number of patches along the healed part
REACH = 5.0  # minimum length of the healed part in patch diameters
_AHEAD = np.array([[1, 2], [2, 0], [0, 1]])  # the edge opposite each corner, in cyclic order


@dataclass(frozen=True)
class Seam:
    """A line on the surface along which the times jump by more than half a cycle, and which has a winding
    number.

    `cycle`: ms, range of the map; `pairs`, `length` (mm), `place` (mm), `jump` (cycles, median): of the part
    where the jump is one cycle; `share`: the fraction of the whole line in that part; `rimmed`: from rim to
    rim; `patch`: diameter of a patch, mm.
    """

    cycle: float
    pairs: int
    length: float
    place: Float[np.ndarray, " dim"]
    jump: float
    share: float
    rimmed: bool
    patch: float

    @property
    def reentrant(self) -> bool:
        """Whether early meets late along most of a line that is too long to be an accident."""
        share = RIMMED if self.rimmed else OPEN
        return self.share >= share and self.pairs >= PAIRS and self.length >= REACH * self.patch


def refuse_reentry(mesh: Mesh, data: MappingData) -> None:
    """Raises `InputError` for a re-entrant map; each map is tested separately.

    In re-entry early meets late: the wave returns to where it started, and the times run through a whole
    cycle around a closed loop. With the range of the map as the cycle the times are a phase. The lines across
    which it jumps by more than half a cycle end where the phase has winding number one: inside a triangle,
    the core of a circuit (Gray, Pertsov, Jalife 1998, doi 10.1038/32164), or at a rim, such as the mitral
    valve in perimitral flutter. Closed lines, and those that return to the rim where they began, have no
    winding: they enclose late patches and outliers.

    A line of block has such ends too, but its jump decreases to zero where the wave turns around its tips, so
    that it is within 15 % of a cycle on no more than about 30 % of the line. In re-entry it is nearly a cycle
    all along except near the core: on the circle such a jump is continuous. A map is rejected if this holds
    on 40 % of a line, or on 70 % of one from rim to rim: there the tips are missing, and a beat paced next to
    a complete line of block is close to a circuit.

    To suppress noise and outliers, the time of a patch of the surface is used: the measured time with the
    smallest sum of distances to those in and around the patch, each limited to 15 % of a cycle. Maps with
    fewer than 50 valid points or a range below 100 ms pass, and so do circuits of which the map shows only a
    part.
    """
    data, _ = project(mesh, data)
    for k, name in enumerate(data.names):
        rows = data.valid & (data.map_index == k)
        circuits = [s for s in seams(mesh, data.positions[rows], data.lat_ms[rows]) if s.reentrant]
        if not circuits:
            continue
        worst = max(circuits, key=lambda s: s.length)
        at = ", ".join(f"{x:.0f}" for x in worst.place)
        raise InputError(
            f"map '{name}', in which early meets late: {worst.pairs} pairs of neighbouring places along "
            f"{worst.length:.0f} mm about ({at}) mm differ by {min(worst.jump, 1.0) * worst.cycle:.0f} ms of "
            f"the {worst.cycle:.0f} ms that the map spans, and round the end of this line the times run "
            "through the whole cycle",
            "a rhythm that starts somewhere: waves from a stimulus cannot meet their own tail, as re-entry "
            "does",
            "Choose a paced beat or sinus rhythm; if these times are wrong, mark the points invalid; if this "
            "beat was paced beside a complete line of block, take the cells along that line out of the mesh, "
            "which would conduct across it",
        )


def seams(
    mesh: Mesh, positions: Float[np.ndarray, "points dim"], lat_ms: Float[np.ndarray, " points"]
) -> list[Seam]:
    """The seams of a map on a surface or on the boundary of a volume; none if no circuit can be detected."""
    if mesh.corners < 3 or len(positions) < FEWEST:
        return []
    surface = Mesh(mesh.points, mesh.cells if mesh.corners == 3 else boundary_facets(mesh.cells))
    patch = float(np.sqrt(surface.measures.sum() / PATCHES))
    used = np.unique(surface.cells)
    node = used[KDTree(mesh.points[used]).query(positions)[1]]
    owner, cells = _patches(surface, node, patch)
    around = _neighbours(owner[cells], int(owner.max()) + 1)
    inside = np.split(np.argsort(owner[node], kind="stable"), np.cumsum(np.bincount(owner[node]))[:-1])
    inside = [rows[:: len(rows) // POINTS + 1] for rows in inside]
    pool = [np.concatenate([inside[p] for p in near]) for near in around]

    # medians: near a front they underestimate the extremes, as do the jumps tested below
    times = np.array([_typical(lat_ms[rows]) for rows in pool])
    low, high = np.quantile(times, [OUTER, 1 - OUTER])
    cycle = float(high - low)
    if cycle < SHORTEST:
        return []
    phase = (lat_ms - low) / cycle
    kept = [rows[np.abs(phase[rows] - 0.5) < BEYOND] for rows in pool]
    phase = np.array([_typical(phase[rows], FAR) if len(rows) else 0.5 for rows in kept])
    phase = np.array([_typical(phase[near], FAR) for near in around])
    return _seams(mesh.points, cells, owner, phase, cycle, patch)


def _patches(surface, node, patch):
    """The patch of each node, -1 if none is connected, and the cells that lie in patches.

    Centres are nodes with points, no two closer than the diameter; each node belongs to the nearest along the
    surface.
    """
    nodes = np.unique(node)
    tree = KDTree(surface.points[nodes])
    free, centres = np.ones(len(nodes), bool), []
    for i, point in enumerate(surface.points[nodes]):
        if free[i]:
            centres.append(nodes[i])
            free[tree.query_ball_point(point, patch)] = False
    # An entry of zero would not count as an edge.
    length = np.maximum(surface.edge_lengths, 1e-12)
    graph = sp.csr_array((length, surface.edges.T), shape=(len(surface.points),) * 2)
    _, _, nearest = dijkstra(graph, directed=False, indices=centres, return_predecessors=True, min_only=True)
    number = np.full(len(surface.points), -1)
    number[centres] = np.arange(len(centres))
    owner = np.where(nearest >= 0, number[np.maximum(nearest, 0)], -1)
    return owner, surface.cells[(owner[surface.cells] >= 0).all(axis=1)]


def _neighbours(patches: Int[np.ndarray, "cells 3"], count: int) -> list[Int[np.ndarray, " near"]]:
    """Each patch and those that share an edge of the mesh with it."""
    a, b = patches[:, [0, 1, 2]].ravel(), patches[:, [1, 2, 0]].ravel()
    every = np.arange(count)
    pairs = np.concatenate([np.stack([a, b]), np.stack([b, a]), np.stack([every, every])], axis=1)
    first, second = np.divmod(np.unique(pairs[0] * count + pairs[1]), count)
    return np.split(second, np.flatnonzero(np.diff(first)) + 1)


def _typical(values, most=np.inf):
    """The value with the smallest sum of distances to the others, each limited to `most`."""
    apart = np.abs(values[:, None] - values)
    return values[np.minimum(apart, most).sum(axis=1).argmin()]


def _seams(points, cells, owner, phase, cycle, patch):
    """Seams are curves through triangles, each of which they cross at two edges or at one, where they end:
    no phase is farther than a cycle from another."""
    edges, of_cell = facets(cells)
    jump = np.abs(np.diff(phase[owner[edges]], axis=1))[:, 0]
    cut = np.abs(np.diff(np.clip(phase, 0.0, 1.0)[owner[edges]], axis=1))[:, 0] > 0.5
    crossed = cut[of_cell]
    through = crossed.sum(axis=1) == 2
    links = of_cell[through][crossed[through]].reshape(-1, 2)
    middle = points[edges].mean(axis=1)
    step = np.linalg.norm(middle[links[:, 0]] - middle[links[:, 1]], axis=1)
    length = np.bincount(links.ravel(), np.repeat(step / 2, 2), minlength=len(edges))
    core = np.zeros(len(edges), bool)
    core[of_cell[crossed.sum(axis=1) == 1]] = True

    # ends at rims: +1 if the times jump up along the rim, -1 if they jump down
    rim = np.bincount(of_cell.ravel(), minlength=len(edges)) == 1
    loop = _linked(edges[rim], len(points))[edges[:, 0]]
    turned, _ = reversed_cells(cells)
    walk = np.where(turned[:, None, None], cells[:, _AHEAD[:, ::-1]], cells[:, _AHEAD])
    up = np.zeros(len(edges), np.int64)
    up[of_cell] = np.sign(np.diff(phase[owner[walk]], axis=2)[:, :, 0])
    up[~(rim & cut)] = 0
    ends = np.flatnonzero(up)
    # a hole in the surface without winding does not end a seam
    gaps = ends[np.bincount(loop, up)[loop[ends]] == 0]
    gaps = gaps[np.argsort(loop[gaps], kind="stable")]
    same = loop[gaps[1:]] == loop[gaps[:-1]]
    label = _linked(np.concatenate([links, np.stack([gaps[:-1], gaps[1:]], axis=1)[same]]), len(edges))

    found = []
    for each in np.unique(label[cut]):
        seam = cut & (label == each)
        rimmed = not core[seam].any()
        healed = seam & (np.abs(jump - 1.0) < HEALED)
        charge = np.bincount(loop[seam], up[seam])
        if (rimmed and not charge.any()) or not length[healed].sum() > 0:
            continue
        place = np.average(middle[healed], axis=0, weights=length[healed])
        nearest = np.linalg.norm(middle[healed] - place, axis=1).argmin()
        found.append(
            Seam(
                cycle,
                len(np.unique(np.sort(owner[edges[healed]], axis=1), axis=0)),
                float(length[healed].sum()),
                middle[healed][nearest],
                float(np.median(jump[healed])),
                float(length[healed].sum() / length[seam].sum()),
                rimmed,
                patch,
            )
        )
    return found


def _linked(links, count):
    """Label of the connected component of each of `count` items."""
    graph = sp.coo_array((np.ones(len(links), np.int8), links.T), shape=(count, count))
    return connected_components(graph, directed=False)[1]
