"""Synthetic meshes: cable, sheet, slab, an atrial shell and a ventricular ellipsoid.

Each takes the wanted edge length in mm and returns a `Mesh` with consistently oriented cells of positive
length, area or volume. The two hearts are idealised: sizes are those of an adult, fibres follow one smooth
rule.
"""

import numpy as np

from .._results import InputError
from .mesh import Mesh
from .topology import boundary_facets, edges_of_cells, facets, unique_rows

# Directions on the unit sphere (x left, y posterior, z superior) and half-angles of the openings, radians.
_VEINS = np.array([[0.75, 0.12, 0.65], [0.72, 0.62, -0.05], [-0.75, 0.12, 0.65], [-0.72, 0.62, -0.05]])
_VEIN_ANGLE, _MITRAL_ANGLE = 0.32, 0.75
_RIM = 4.0  # mm, width of the tagged collar around each opening

ATRIAL_REGIONS = {
    "body": 0,
    "left superior vein": 1,
    "left inferior vein": 2,
    "right superior vein": 3,
    "right inferior vein": 4,
    "mitral rim": 5,
}
VENTRICULAR_REGIONS = {"endocardium": 1, "midwall": 2, "epicardium": 3}


def cable(length: float, edge: float) -> Mesh:
    """Generates a cable: segments along a line from 0 to `length` mm, with one coordinate.

    **Example:** `jt.cable(20.0, 0.25)`
    """
    (count,) = _divisions(edge, length=length)
    return Mesh(np.linspace(0.0, length, count + 1)[:, None], np.arange(count)[:, None] + [0, 1])


def sheet(
    width: float, height: float, edge: float, fibre_angle: float = 0.0, distortion: float = 0.0, seed: int = 0
) -> Mesh:
    """Generates a sheet: triangles in the rectangle (0, width) x (0, height) mm, diagonals alternating (union
    jack).

    **Arguments:** `edge`: side of the squares that are halved, mm. `fibre_angle`: between fibres and x,
    radians. `distortion`: 0 to 0.2, moves each coordinate of each inner node at random by up to that fraction
    of the side. `seed`: of the distortion.

    **Example:** `mesh = jt.sheet(20.0, 20.0, 0.5)`
    """
    nx, ny = _divisions(edge, width=width, height=height)
    index = np.arange((nx + 1) * (ny + 1)).reshape(nx + 1, ny + 1)
    a, b, c, d = (q.ravel() for q in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    rising = np.stack([a, b, c, a, c, d], axis=1)
    falling = np.stack([a, b, d, b, c, d], axis=1)
    even = (np.add.outer(np.arange(nx), np.arange(ny)) % 2 == 0).ravel()
    cells = np.where(even[:, None], rising, falling).reshape(-1, 3)
    points = _grid((width, height), (nx, ny), distortion, seed)
    angle = _finite("fibre_angle", fibre_angle)
    return Mesh(points, cells, np.tile([np.cos(angle), np.sin(angle)], (len(cells), 1)))


def slab(
    lx: float,
    ly: float,
    lz: float,
    edge: float,
    fibre=(1.0, 0.0, 0.0),
    distortion: float = 0.0,
    seed: int = 0,
) -> Mesh:
    """Generates a slab: tetrahedra in the box (0, lx) x (0, ly) x (0, lz) mm, six per cube around one
    diagonal (Kuhn 1960).

    `fibre` need not have length 1. `distortion` as in `sheet`.

    **Example:** `mesh = jt.slab(10.0, 5.0, 2.0, 0.5)`
    """
    shape = _divisions(edge, lx=lx, ly=ly, lz=lz)
    direction = np.asarray(fibre, np.float64)
    length = np.linalg.norm(direction) if direction.shape == (3,) else np.nan
    if not (np.isfinite(length) and length > 0):
        raise InputError(f"the fibre {fibre}", "three finite components, not all 0", "(1, 0, 0) runs along x")
    index = np.arange(np.prod([n + 1 for n in shape])).reshape([n + 1 for n in shape])
    corner = index[:-1, :-1, :-1].ravel()
    step = np.array([index[1, 0, 0], index[0, 1, 0], index[0, 0, 1]])
    even, odd = [[0, 1, 2], [1, 2, 0], [2, 0, 1]], [[0, 2, 1], [2, 1, 0], [1, 0, 2]]
    paths = np.concatenate([np.zeros((6, 1), int), np.cumsum(step[even + odd], axis=1)], axis=1)
    paths[3:, 2:] = paths[3:, :1:-1]  # odd permutations are mirror images, so two corners are swapped
    cells = (corner[:, None, None] + paths).reshape(-1, 4)
    points = _grid((lx, ly, lz), shape, distortion, seed)
    return Mesh(points, cells, np.tile(direction / length, (len(cells), 1)))


def atrial_shell(edge: float = 1.5, semi_axes: tuple[float, float, float] = (24.0, 20.0, 18.0)) -> Mesh:
    """Generates a left atrium: a triangulated ellipsoid with four pulmonary veins and the mitral valve cut
    out.

    A geodesic sphere of the frequency that gives `edge` on average is opened inside cones, its rims are moved
    onto the cones and the rest is relaxed; it is then stretched to `semi_axes` (mm; x left, y posterior, z
    superior). Normals point outwards; regions are `ATRIAL_REGIONS`, collars of 4 mm around the openings.

    Fibres run around the mitral axis in the body and from left to right across the roof (like Bachmann's
    bundle), blended by the superior coordinate as undirected axes. Such a field has two singular points; the
    rule places them in the two superior veins, so it is smooth on the whole shell.

    **Example:** `mesh = jt.atrial_shell(2.0)`
    """
    axes = np.asarray(semi_axes, np.float64)
    if axes.shape != (3,) or not (np.isfinite(axes).all() and (axes > 0).all()):
        raise InputError(
            f"semi-axes {semi_axes}", "three positive lengths in mm", "(24, 20, 18) is an adult atrium"
        )
    _positive("edge", edge)
    if edge > (widest := 0.75 * _VEIN_ANGLE * axes.min()):
        raise InputError(
            f"an edge of {edge:g} mm on an atrium with veins of {_VEIN_ANGLE * axes.min():.3g} mm radius",
            f"an edge of at most {widest:.3g} mm",
            "Shorten the edge or enlarge the semi-axes",
        )
    power = 1.6075  # area of an ellipsoid within 1.1 % (K. Thomsen 2004)
    pairs = (axes * np.roll(axes, 1)) ** power
    surface = 4 * np.pi * (pairs.mean()) ** (1 / power)
    frequency = max(1, round(np.sqrt(surface / (5 * np.sqrt(3))) / edge))
    sphere, cells = _geodesic_sphere(frequency)
    holes = np.concatenate([_VEINS / np.linalg.norm(_VEINS, axis=1)[:, None], [[0.0, 0.0, -1.0]]])
    angles = np.array([_VEIN_ANGLE] * 4 + [_MITRAL_ANGLE])
    sphere, cells = _open(sphere, cells, holes, angles)
    points = sphere * axes
    corner = points[cells]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    centre = sphere[cells].mean(axis=1)
    centre /= np.linalg.norm(centre, axis=1)[:, None]
    beyond = np.arccos(np.clip(centre @ holes.T, -1, 1)) - angles
    nearest = beyond.argmin(axis=1)
    collar = beyond.min(axis=1) * axes.mean() < _RIM
    return Mesh(points, cells, _atrial_fibres(normal, centre[:, 2]), np.where(collar, nearest + 1, 0))


def ventricular_ellipsoid(
    edge: float = 2.0, short: float = 25.0, long: float = 50.0, wall: float = 9.0, base: float = 12.0
) -> Mesh:
    """Generates a left ventricle: a thick-walled ellipsoid of tetrahedra, truncated `base` mm above its
    centre.

    `short` and `long` are the outer semi-axes and `wall` the thickness, mm; the apex points to -z. Rings of
    triangles around the apex, each with a number of nodes proportional to its circumference, are extruded
    through the wall and the prisms are cut into three tetrahedra each, so that the apex is as well shaped as
    the rest.

    The helix angle of the fibres decreases linearly from +60 degrees at the endocardium to -60 at the
    epicardium (Streeter et al. 1969, doi 10.1161/01.RES.24.3.339). Regions are `VENTRICULAR_REGIONS`, thirds
    of the wall.
    """
    given = {"edge": edge, "short": short, "long": long, "wall": wall}
    for name, value in given.items():
        _positive(name, value)
    _finite("base", base)
    if wall >= min(short, long) or abs(base) >= long - wall:
        raise InputError(
            f"a wall of {wall:g} mm and a base at {base:g} mm in an ellipsoid of {short:g} x {long:g} mm",
            "a wall thinner than both semi-axes and a base between apex and top of the cavity",
            "The defaults (25, 50, wall 9, base 12) are an adult left ventricle",
        )
    if edge > wall:
        raise InputError(
            f"an edge of {edge:g} mm in a wall of {wall:g} mm", "at most the wall", "Shorten the edge"
        )
    layers = max(1, round(wall / edge))
    depth, turn, triangles = _rings(short - wall / 2, long - wall / 2, base, edge)
    count, t = len(depth), np.linspace(0, 1, layers + 1)[:, None]
    a, c = short - wall + t * wall, long - wall + t * wall
    theta = depth * np.arccos(-base / c)
    points = np.stack(
        [a * np.sin(theta) * np.cos(turn), a * np.sin(theta) * np.sin(turn), -c * np.cos(theta)], axis=2
    )
    low = np.sort(triangles, axis=1)  # lower node first: neighbours then cut their common side alike
    p = np.concatenate([low, low + count], axis=1)[:, [0, 1, 2, 5, 0, 1, 4, 5, 0, 3, 4, 5]].reshape(-1, 4)
    cells = (p + count * np.arange(layers)[:, None, None]).reshape(-1, 4)
    points = points.reshape(-1, 3)
    corner = points[cells]
    inverted = np.linalg.det(corner[:, 1:] - corner[:, :1]) < 0
    cells[inverted] = cells[inverted][:, [0, 1, 3, 2]]
    inside = (np.repeat(t.ravel(), count)[cells]).mean(axis=1)
    regions = 1 + np.minimum(2, (3 * inside).astype(int))
    return Mesh(points, cells, _helix(corner.mean(axis=1), inside, short, long, wall), regions)


def _positive(name, value):
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{name} = {value}", "a positive, finite length in mm", f"Give another {name}")


def _finite(name, value):
    if not np.isfinite(value):
        raise InputError(f"{name} = {value}", "a finite number", f"Give another {name}")
    return value


def _divisions(edge, **lengths):
    """Number of edges along each side, after checking the sizes."""
    _positive("edge", edge)
    for name, length in lengths.items():
        _positive(name, length)
        if edge > length * (1 + 1e-9):
            raise InputError(
                f"an edge of {edge:g} mm and a {name} of {length:g} mm",
                "an edge no longer than the object",
                f"Shorten the edge or enlarge the {name}",
            )
    return tuple(max(1, round(length / edge)) for length in lengths.values())


def _grid(lengths, shape, distortion, seed):
    """Nodes of a rectangular grid, the inner ones moved at random."""
    if not 0 <= distortion <= 0.2:
        raise InputError(
            f"distortion = {distortion}", "a fraction from 0 to 0.2", "More would turn cells inside out"
        )
    lines = [np.linspace(0.0, length, n + 1) for length, n in zip(lengths, shape, strict=True)]
    points = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
    inner = (slice(1, -1),) * len(shape)
    spacing = np.array(lengths) / shape
    noise = np.random.default_rng(seed).uniform(-1, 1, points[inner].shape)
    points[inner] += distortion * spacing * noise
    return points.reshape(-1, len(shape))


def _geodesic_sphere(frequency):
    """Icosahedron with each edge divided into `frequency` parts, projected onto the unit sphere."""
    golden = (1 + np.sqrt(5)) / 2
    one, phi = [-1, 1], [-golden, golden]
    corner = np.array([np.roll([0, i, j], k) for k in range(3) for i in one for j in phi])
    gap = np.linalg.norm(corner[:, None] - corner, axis=2)
    i, j, k = np.indices((12, 12, 12)).reshape(3, -1)
    near = np.isclose(gap, 2)
    ring = np.linalg.det(corner[np.stack([i, j, k], axis=1)]) > 0
    face = np.stack([i, j, k], axis=1)[ring & near[i, j] & near[j, k] & near[k, i] & (i < j) & (i < k)]
    u, v = np.indices((frequency + 1, frequency + 1))
    inside = u + v <= frequency
    number = np.cumsum(inside).reshape(inside.shape) - 1
    u, v = u[inside], v[inside]
    share = np.zeros((20, len(u), 12), int)
    weight = np.stack([frequency - u - v, u, v], axis=1)
    np.put_along_axis(
        share,
        np.broadcast_to(face[:, None], (20, *weight.shape)),
        np.broadcast_to(weight, (20, *weight.shape)),
        axis=2,
    )
    share, same = unique_rows(share.reshape(-1, 12))
    points = share @ corner
    points /= np.linalg.norm(points, axis=1)[:, None]
    up, down = u + v < frequency, u + v < frequency - 1
    upright = number[u[up, None] + [0, 1, 0], v[up, None] + [0, 0, 1]]
    hanging = number[u[down, None] + [1, 1, 0], v[down, None] + [0, 1, 1]]
    cells = np.concatenate([upright, hanging])
    cells = (cells + len(weight) * np.arange(20)[:, None, None]).reshape(-1, 3)
    return points, same[cells]


def _open(points, cells, holes, angles, sweeps=30):
    """Cuts cones out of the unit sphere, moves the rims onto them and relaxes the rest."""
    centre = points[cells].mean(axis=1)
    centre /= np.linalg.norm(centre, axis=1)[:, None]
    cells = cells[(np.arccos(np.clip(centre @ holes.T, -1, 1)) > angles).all(axis=1)]
    while True:  # a triangle with two open edges would be flattened against the rim
        _, index = facets(cells)
        open_edges = (np.bincount(index.ravel())[index] == 1).sum(axis=1)
        if (open_edges < 2).all():
            break
        cells = cells[open_edges < 2]
    used, flat = np.unique(cells, return_inverse=True)
    points, cells = points[used], flat.reshape(cells.shape)
    rim = boundary_facets(cells)
    on_rim = np.zeros(len(points), bool)
    on_rim[rim] = True
    edges, _ = edges_of_cells(cells)
    links = np.concatenate([edges, edges[:, ::-1]])
    links = np.concatenate([links[~on_rim[links[:, 0]]], rim, rim[:, ::-1]])  # rims move along themselves
    start, end = links.T
    hole = np.arccos(np.clip(points[on_rim] @ holes.T, -1, 1)) - angles
    hole = np.abs(hole).argmin(axis=1)
    axis, angle = holes[hole], angles[hole][:, None]
    count = np.bincount(start, minlength=len(points))[:, None]
    for _ in range(sweeps):
        mean = np.stack([np.bincount(start, points[end, d], len(points)) for d in range(3)], axis=1) / count
        points = 0.5 * (points + mean)
        points /= np.linalg.norm(points, axis=1)[:, None]
        across = points[on_rim] - (points[on_rim] * axis).sum(axis=1)[:, None] * axis
        across /= np.linalg.norm(across, axis=1)[:, None]
        points[on_rim] = np.cos(angle) * axis + np.sin(angle) * across
    return points, cells


def _atrial_fibres(normal, height):
    """Principal tangent of (1 - w) c c' + w r r', c around the mitral axis and r across the roof."""
    around = np.cross((0, 0, 1), normal)
    around[:, 1] += 1e-12  # at the pole any direction is valid
    around /= np.linalg.norm(around, axis=1)[:, None]
    upward = np.cross(normal, around)
    roof = np.array([1.0, 0.0, 0.0]) - normal[:, :1] * normal
    angle = np.arctan2((roof * upward).sum(axis=1), (roof * around).sum(axis=1))
    s = np.clip((height - 0.4) / 0.5, 0, 1)
    w = s * s * (3 - 2 * s)
    blended = np.arctan2(w * np.sin(2 * angle), 1 - w + w * np.cos(2 * angle)) / 2
    return np.cos(blended)[:, None] * around + np.sin(blended)[:, None] * upward


def _rings(short, long, base, edge):
    """Triangles of a cup in rings around the apex: depth 0 (apex) to 1 (base) and angle of its nodes."""
    theta = np.linspace(0, np.arccos(-base / long), 2001)
    arc = np.hypot(short * np.cos(theta), long * np.sin(theta))
    path = np.concatenate([[0.0], np.cumsum((arc[1:] + arc[:-1]) / 2 * np.diff(theta))])
    rings = max(2, round(path[-1] / (edge * np.sqrt(3) / 2)))
    level = np.interp(np.linspace(0, path[-1], rings + 1), path, theta)
    count = np.maximum(np.round(2 * np.pi * short * np.sin(level) / edge).astype(int), 5)
    count[0] = 1
    start = np.concatenate([[0], np.cumsum(count)])
    turn = [(np.arange(n) + 0.5 * (i % 2)) * 2 * np.pi / n for i, n in enumerate(count)]
    strips = []
    for i in range(rings):
        inner, outer = (turn[k] + np.pi / count[k] for k in (i, i + 1))  # middles of the edges of two rings
        if i > 0:
            far = np.searchsorted(outer, inner, side="left") % count[i + 1]
            here = np.arange(count[i])
            strips.append(
                np.stack([start[i] + here, start[i + 1] + far, start[i] + (here + 1) % count[i]], 1)
            )
        near = np.searchsorted(inner, outer, side="right") % count[i]
        here = np.arange(count[i + 1])
        strips.append(
            np.stack([start[i + 1] + here, start[i + 1] + (here + 1) % count[i + 1], start[i] + near], 1)
        )
    return np.repeat(level / level[-1], count), np.concatenate(turn), np.concatenate(strips)


def _helix(centre, inside, short, long, wall):
    """Fibres at a fraction `inside` of the wall, rotated by the helix angle out of the circumferential
    direction."""
    a, c = short - wall + inside * wall, long - wall + inside * wall
    radius = np.maximum(np.hypot(centre[:, 0], centre[:, 1]), 1e-12 * short)
    cos, sin = centre[:, 0] / radius, centre[:, 1] / radius
    theta = np.arctan2(radius / a, -centre[:, 2] / c)
    rise = np.stack([a * np.cos(theta) * cos, a * np.cos(theta) * sin, c * np.sin(theta)], axis=1)
    rise /= np.linalg.norm(rise, axis=1)[:, None]
    around = np.stack([-sin, cos, np.zeros_like(sin)], axis=1)
    angle = np.deg2rad(60.0 - 120.0 * inside)[:, None]
    return np.cos(angle) * around + np.sin(angle) * rise
