"""A triangulated surface as pictures: orthographic projection and a z-buffer, in numpy.

Every pixel keeps the triangle that is seen there and the barycentric coordinates within it, so colour,
shading, isochrones and hiding are array expressions over pixels and exact to the pixel.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import maximum_filter
from scipy.spatial import KDTree

from .._results import InputError
from ..anatomy import Mesh

GREY = 0.82  # no value there
_CHUNK = 2_000_000  # candidate pixels at a time: bounds the memory of `rasterise`
_RIM = 0.6  # a soft shadow, wider and paler than an isochrone, not to be taken for one
_AMBIENT, _DIFFUSE = 0.70, 0.30  # gentle: shading must not be read as a change of value


class Surface(NamedTuple):
    """The visible part of a mesh.

    - `points`: (nodes, 3), mm, those of the mesh; planar meshes get z = 0.
    - `triangles`: (triangles, 3), indices of nodes.
    - `owner`: (triangles,), the cell of each triangle.
    - `centre`: (3,), mm, the centre of its bounding box.
    """

    points: Float[np.ndarray, "nodes 3"]
    triangles: Int[np.ndarray, "triangles 3"]
    owner: Int[np.ndarray, " triangles"]
    centre: Float[np.ndarray, "3"]


class View(NamedTuple):
    """A direction to look from: `frame` has the rows right, up and towards the viewer (unit vectors)."""

    name: str
    frame: Float[np.ndarray, "3 3"]


class Window(NamedTuple):
    """The part of the projection plane that is drawn: corner and side of a pixel in mm, size in pixels."""

    left: float
    bottom: float
    pixel: float
    rows: int
    columns: int

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in mm."""
        return (
            self.left,
            self.left + self.columns * self.pixel,
            self.bottom,
            self.bottom + self.rows * self.pixel,
        )


@dataclass(frozen=True, eq=False)
class Raster:
    """What each pixel sees. Row 0 is the bottom.

    - `triangle`: (rows, columns), -1 where nothing is.
    - `weights`: (rows, columns, 3), barycentric coordinates.
    - `depth`: (rows, columns), mm towards the viewer, -inf where nothing is.
    """

    surface: Surface
    view: View
    window: Window
    triangle: Int[np.ndarray, "rows columns"]
    weights: Float[np.ndarray, "rows columns 3"]
    depth: Float[np.ndarray, "rows columns"]

    @cached_property
    def brightness(self) -> Float[np.ndarray, "rows columns"]:
        """By which colours are multiplied: shaded, and darker behind a rim."""
        return shade(self) * np.where(rims(self), _RIM, 1.0)


def surface_of(mesh: Mesh) -> Surface:
    """The triangles of a surface, or the boundary triangles of tetrahedra."""
    points = np.pad(mesh.points, ((0, 0), (0, 3 - mesh.dim)))
    if mesh.corners == 3:
        triangles, owner = mesh.cells, np.arange(len(mesh.cells))
    elif mesh.corners == 4:
        faces = mesh.cells[:, [[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]].reshape(-1, 3)
        _, first, count = np.unique(np.sort(faces, axis=1), axis=0, return_index=True, return_counts=True)
        boundary = np.sort(first[count == 1])  # a face between two cells occurs twice
        triangles, owner = faces[boundary], boundary // 4
    else:
        raise InputError(
            f"a mesh of cells with {mesh.corners} corners",
            "triangles or tetrahedra, which have a surface to draw",
            "Show results on a cable as traces",
        )
    used = points[np.unique(triangles)]
    return Surface(points, triangles, owner, (used.min(axis=0) + used.max(axis=0)) / 2)


def views_of(surface: Surface, directions: str = "principal") -> tuple[View, ...]:
    """One view for a flat surface, otherwise four, 90 degrees apart.

    - `"principal"`: around the longest principal axis, which stands upright with the mesh's z as near to
      up as it can be; the first view shows the broadest side.
    - `"patient"`: from anterior, left, posterior and right, for meshes in the patient coordinates of
      DICOM (x to the left, y to posterior, z to superior).
    """
    if directions == "patient":
        names, looks = (
            ("anterior (AP)", "left", "posterior (PA)", "right"),
            ((0, -1), (1, 0), (0, 1), (-1, 0)),
        )
        up = np.array([0.0, 0.0, 1.0])
        return tuple(
            View(name, _frame(up, np.array([*look, 0.0]))) for name, look in zip(names, looks, strict=True)
        )
    if directions != "principal":
        raise InputError(f"views '{directions}'", "'principal' or 'patient'", "Choose one of them")
    if not np.ptp(surface.points[:, 2]):
        return (View("", np.eye(3)),)
    seen = surface.points[surface.triangles]
    area = np.linalg.norm(np.cross(seen[:, 1] - seen[:, 0], seen[:, 2] - seen[:, 0]), axis=1)
    centre = seen.mean(axis=1)
    offset = centre - np.average(
        centre, axis=0, weights=area
    )  # by area: dense patches must not turn the view
    spread, axes = np.linalg.eigh(np.einsum("t,ti,tj->ij", area, offset, offset))
    thin, middle, long = axes.T
    thin = thin if thin[1] <= 0 else -thin  # in patient coordinates the first view is then from the front
    if spread[0] < 1e-6 * spread[2]:
        return (View("", _frame(middle if middle[2] >= 0 else -middle, thin)),)
    up = long if long[2] >= 0 else -long
    aside = np.cross(up, thin)
    return tuple(
        View(f"{angle}°", _frame(up, look))
        for angle, look in ((0, thin), (90, aside), (180, -thin), (270, -aside))
    )


def windows_of(surface: Surface, views: tuple[View, ...], pixels: int) -> tuple[Window, ...]:
    """A window for each view, all of one size and scale; `pixels` along the longer side."""
    used = surface.points[np.unique(surface.triangles)]
    flat = np.stack([project(surface, view, used)[:, :2] for view in views])
    middle = (flat.min(axis=1) + flat.max(axis=1)) / 2
    half = np.ptp(flat, axis=1).max(axis=0) / 2
    half = 1.04 * np.maximum(half, 0.05 * half.max())
    pixel = 2 * float(half.max()) / pixels
    columns, rows = (2 * round(float(side) / pixel) for side in half)  # even: `render` halves them
    return tuple(
        Window(float(x) - columns / 2 * pixel, float(y) - rows / 2 * pixel, pixel, rows, columns)
        for x, y in middle
    )


def rasterise(surface: Surface, view: View, window: Window) -> Raster:
    """Which triangle each pixel sees, of all over its centre the nearest (a z-buffer)."""
    rows, columns = window.rows, window.columns
    corner = project(surface, view, surface.points)[surface.triangles]  # (triangles, 3, 3) in mm
    corner[..., :2] = (corner[..., :2] - [window.left, window.bottom]) / window.pixel - 0.5
    low = np.maximum(np.ceil(corner[..., :2].min(axis=1)), 0).astype(int)
    high = np.minimum(np.floor(corner[..., :2].max(axis=1)), [columns - 1, rows - 1]).astype(int)
    extent = np.maximum(high - low + 1, 0)
    edge_a, edge_b = corner[:, 1, :2] - corner[:, 0, :2], corner[:, 2, :2] - corner[:, 0, :2]
    twice_area = edge_a[:, 0] * edge_b[:, 1] - edge_a[:, 1] * edge_b[:, 0]
    size = (edge_a**2 + edge_b**2).sum(axis=1)
    extent[np.abs(twice_area) <= 1e-6 * size] = 0  # seen edge on
    candidates = extent.prod(axis=1)

    seen = np.full(rows * columns, -1, np.int64)
    depth = np.full(rows * columns, -np.inf)
    weights = np.zeros((rows * columns, 3))
    groups = np.flatnonzero(candidates)
    for group in np.split(groups, _breaks(candidates[groups])):
        triangle = np.repeat(group, candidates[group])
        local = np.arange(len(triangle)) - np.repeat(
            np.cumsum(candidates[group]) - candidates[group], candidates[group]
        )
        column = low[triangle, 0] + local % extent[triangle, 0]
        row = low[triangle, 1] + local // extent[triangle, 0]
        x, y = column - corner[triangle, 0, 0], row - corner[triangle, 0, 1]
        b = (x * edge_b[triangle, 1] - y * edge_b[triangle, 0]) / twice_area[triangle]
        c = (y * edge_a[triangle, 0] - x * edge_a[triangle, 1]) / twice_area[triangle]
        inside = (b >= -1e-9) & (c >= -1e-9) & (b + c <= 1 + 1e-9)
        triangle, b, c = triangle[inside], b[inside], c[inside]
        pixel = (row * columns + column)[inside]
        z = np.einsum("pc,pc->p", np.stack([1 - b - c, b, c], axis=1), corner[triangle, :, 2])
        order = np.argsort(z)  # of several writes to one pixel numpy keeps the last, here the nearest
        order = order[z[order] > depth[pixel[order]]]
        pixel = pixel[order]
        seen[pixel], depth[pixel] = triangle[order], z[order]
        weights[pixel] = np.stack([1 - b - c, b, c], axis=1)[order]
    shape = (rows, columns)
    return Raster(
        surface, view, window, seen.reshape(shape), weights.reshape(*shape, 3), depth.reshape(shape)
    )


def project(surface: Surface, view: View, positions: np.ndarray) -> np.ndarray:
    """(n, 3) positions -> (n, 3): right, up and towards the viewer, in mm from the centre of the surface."""
    return (positions - surface.centre) @ view.frame.T


def sample(raster: Raster, values: np.ndarray) -> Float[np.ndarray, "rows columns"]:
    """The value at each pixel: linear between node values, or that of the cell; NaN where nothing is."""
    triangle = raster.triangle
    if _at_nodes(raster.surface, values):
        corner = values[raster.surface.triangles[triangle]]
        picture = np.einsum("rck,rck->rc", raster.weights, corner)
    else:
        picture = values[raster.surface.owner[triangle]]
    return np.where(triangle >= 0, picture, np.nan)


def shade(raster: Raster) -> Float[np.ndarray, "rows columns"]:
    """Brightness by Lambert's cosine law, light from the viewer, from normals smoothed over nodes.

    All normals are turned to the viewer first: exported surfaces are often oriented inconsistently.
    """
    surface, triangle = raster.surface, raster.triangle
    a, b, c = np.moveaxis(surface.points[surface.triangles], 1, 0)
    normal = np.cross(b - a, c - a)
    normal *= np.where(normal @ raster.view.frame[2] < 0, -1.0, 1.0)[:, None]
    node = np.zeros_like(surface.points)
    np.add.at(node, surface.triangles.ravel(), np.repeat(normal, 3, axis=0))
    smooth = np.einsum("rck,rckd->rcd", raster.weights, node[surface.triangles[triangle]])
    length = np.linalg.norm(smooth, axis=-1)
    cosine = smooth @ raster.view.frame[2] / np.where(length > 0, length, 1.0)
    return _AMBIENT + _DIFFUSE * cosine


def level_lines(
    raster: Raster, values: np.ndarray, levels: np.ndarray, width: float
) -> Float[np.ndarray, "rows columns"]:
    """How much (0 to 1) of each pixel the lines of equal value cover; `width` in pixels.

    A pixel's distance to a line is its difference from the level over the gradient of the value in the
    picture, which is constant in each triangle; hidden lines cannot show, as only seen triangles are asked.
    """
    surface, triangle = raster.surface, raster.triangle
    a, b, c = np.moveaxis(project(surface, raster.view, surface.points)[surface.triangles][..., :2], 1, 0)
    one, two = (b - a) / raster.window.pixel, (c - a) / raster.window.pixel
    rise, run = (values[surface.triangles[:, k]] - values[surface.triangles[:, 0]] for k in (1, 2))
    twice_area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    safe = np.where(np.abs(twice_area) < 1e-12, np.inf, twice_area)
    slope = np.hypot(rise * two[:, 1] - run * one[:, 1], run * one[:, 0] - rise * two[:, 0]) / np.abs(safe)
    picture = sample(raster, values)
    nearest = np.abs(levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, picture)] - picture)
    steep = slope[triangle]
    distance = nearest / np.where(steep > 0, steep, np.nan)
    return np.nan_to_num(np.clip(width / 2 + 0.5 - distance, 0.0, 1.0), nan=0.0)


def rims(raster: Raster) -> Bool[np.ndarray, "rows columns"]:
    """Pixels just behind an edge: a wall within four pixels is nearer by 5 % of the picture or more.

    Without a shadow there the inside of a far wall, seen past the rim of a vein or valve, joins the near wall
    seamlessly and isochrones seem to jump.
    """
    step = 0.05 * max(raster.window.rows, raster.window.columns) * raster.window.pixel
    return (raster.triangle >= 0) & (maximum_filter(raster.depth, size=9) > raster.depth + step)


def render(
    raster: Raster,
    colours: Float[np.ndarray, "rows columns 3"],
    lines: Float[np.ndarray, "rows columns"] | None = None,
) -> Float[np.ndarray, "half_rows half_columns 4"]:
    """The picture, RGBA from 0 to 1 at half the size: the mean of 2 x 2 pixels smooths outlines and lines.

    `colours` are shaded and rims darkened; `lines` is what dark lines cover of each pixel. Where nothing is,
    the picture is transparent.
    """
    bright = colours * raster.brightness[..., None]
    if lines is not None:
        bright = bright * (1.0 - 0.85 * lines[..., None])
    seen = (raster.triangle >= 0).astype(float)[..., None]
    rows, columns = raster.triangle.shape
    total, cover = (
        part.reshape(rows // 2, 2, columns // 2, 2, -1).sum(axis=(1, 3))
        for part in (np.where(seen > 0, bright, 0.0), seen)
    )
    return np.concatenate([total / np.maximum(cover, 1.0), cover / 4], axis=-1)


def visible(raster: Raster, positions: np.ndarray) -> Bool[np.ndarray, " points"]:
    """Which measurement points can be seen: those whose nearest node of the surface is not hidden.

    The node and not the point is asked, as a measured position lies a little in front of or behind the wall.
    """
    surface, window = raster.surface, raster.window
    nodes = np.unique(surface.triangles)
    nearest = nodes[KDTree(surface.points[nodes]).query(positions)[1]]
    x, y, z = project(surface, raster.view, surface.points[nearest]).T
    # the deepest of 3 x 3 pixels and 1 % of the picture: near the outline depth changes fast within a pixel
    around = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    row = np.clip(
        ((y - window.bottom) / window.pixel).astype(int)[:, None] + around[:, 0], 0, window.rows - 1
    )
    column = np.clip(
        ((x - window.left) / window.pixel).astype(int)[:, None] + around[:, 1], 0, window.columns - 1
    )
    return z >= raster.depth[row, column].min(axis=1) - 0.01 * max(window.rows, window.columns) * window.pixel


def _at_nodes(surface: Surface, values: np.ndarray) -> bool:
    return len(values) == len(surface.points)


def _frame(up: np.ndarray, towards: np.ndarray) -> np.ndarray:
    return np.stack([np.cross(up, towards), up, towards])


def _breaks(candidates: np.ndarray) -> np.ndarray:
    """Where to split a list of triangles so that each part has about `_CHUNK` candidate pixels."""
    return np.flatnonzero(np.diff(np.cumsum(candidates) // _CHUNK)) + 1
