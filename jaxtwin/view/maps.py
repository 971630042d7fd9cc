"""Maps on the surface of a mesh, one figure each.

Every function returns a `matplotlib.figure.Figure` and leaves matplotlib's global state alone. Arrays may
be numpy or JAX. Maps show `views` "principal" or "patient", see `surface.views_of`; where a value is NaN
the surface is grey.
"""

import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Bool, Float, Num
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy.spatial import KDTree

from .._results import InputError
from .._units import conductivity_from_diffusivity
from ..anatomy import Mesh
from .canvas import (
    INK,
    colour_bar,
    dots,
    finite_range,
    paint,
    panels,
    place,
    shades,
    style_curves,
)

# Early red to late purple, as on mapping systems, but with the even steps of Turbo (A. Mikhailov, 2019)
# in place of the rainbow's false bands of yellow and cyan. The near-black ends are cut off, so that lines
# and shading stay visible; isochrones carry the order for those who do not see the hues.
ACTIVATION = ListedColormap(mpl.colormaps["turbo"](np.linspace(0.93, 0.03, 256)), "activation")
# Low values pale, scar dark: most of a heart is healthy and should recede.
SCAR = ListedColormap(mpl.colormaps["magma_r"](np.linspace(0.03, 0.85, 256)), "scar")
INFORMATION = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 1.0, 256)), "information")


def activation_map(
    mesh: Mesh,
    lat_ms: Num[np.ndarray | Array, " nodes"],
    *,
    step_ms: float = 10.0,
    points: Num[np.ndarray | Array, "points dim"] | None = None,
    values: Num[np.ndarray | Array, " points"] | None = None,
    title: str = "Local activation time",
    views: str = "principal",
) -> Figure:
    """Activation time at the nodes, ms, in bands with isochrones every `step_ms`.

    Where `step_ms` would give fewer than 8 or more than 20 bands, the nearest of 1, 2, 5, 10, ... ms that
    does not replaces it; the colour bar says which. `points` (mm) are dots, filled with the colour of the
    measured `values` (ms) where given.
    """
    lat = _field(mesh, lat_ms, nodes_only=True)
    levels = _isochrones(lat, step_ms)
    norm = BoundaryNorm(levels, ACTIVATION.N)
    canvas = panels(mesh, title, views)
    paint(canvas, lat, norm, ACTIVATION, levels[1:-1])
    colour_bar(canvas, norm, ACTIVATION, f"LAT (ms), isochrones every {levels[1] - levels[0]:g} ms", levels)
    if points is not None:
        measured = np.full(len(points), np.nan) if values is None else np.asarray(values, float)
        dots(canvas, _positions(mesh, points, measured), shades(measured, norm, ACTIVATION))
    return canvas.figure


def conductivity_map(
    mesh: Mesh,
    diffusivity: Num[np.ndarray | Array, " entries"],
    *,
    unit: str = "S/m",
    title: str | None = None,
    views: str = "principal",
) -> Figure:
    """Diffusivity per node or cell, mm2/ms, on a logarithmic scale, as conductivity in S/m or as it is.

    `unit`: "S/m" or "mm2/ms". Values that are not positive are grey: nothing conducts there.
    """
    if unit not in ("S/m", "mm2/ms"):
        raise InputError(f"the unit '{unit}'", "'S/m' or 'mm2/ms'", "Choose one of them")
    values = _field(mesh, diffusivity)
    values = conductivity_from_diffusivity(values) if unit == "S/m" else values
    name, label = ("Conductivity", "S/m") if unit == "S/m" else ("Diffusivity", "mm²/ms")
    values = np.where(values > 0, values, np.nan)
    low, high = finite_range(values)
    if high < 1.5 * low:  # a uniform field still needs a scale with numbers on it
        low, high = low / 1.25, high * 1.25
    canvas = panels(mesh, title or name, views)
    norm, colours = LogNorm(low, high), mpl.colormaps["viridis"]
    paint(canvas, values, norm, colours)
    colour_bar(canvas, norm, colours, f"{name} ({label}), logarithmic")
    return canvas.figure


def speed_map(
    mesh: Mesh,
    speed: Num[np.ndarray | Array, " entries"],
    *,
    title: str = "Conduction velocity",
    views: str = "principal",
) -> Figure:
    """Speed per node or cell, mm/ms (which is m/s). The scale ends at the 98th percentile.

    Estimates of speed diverge where waves collide, and a few such nodes must not dominate the scale.
    """
    values = _field(mesh, speed)
    finite_range(values)
    top = float(np.nanpercentile(values, 98)) or 1.0
    canvas = panels(mesh, title, views)
    norm, colours = Normalize(0.0, top), mpl.colormaps["plasma"]
    paint(canvas, values, norm, colours)
    colour_bar(canvas, norm, colours, "Speed (m/s)", extend="max" if np.nanmax(values) > top else "neither")
    return canvas.figure


def scar_map(
    mesh: Mesh,
    probability: Num[np.ndarray | Array, " entries"],
    *,
    title: str = "Scar fraction",
    views: str = "principal",
) -> Figure:
    """Scar fraction per node or cell, 0 to 1."""
    return _share(mesh, probability, SCAR, "Scar fraction (0 to 1)", title, views)


def information_map(
    mesh: Mesh,
    information: Num[np.ndarray | Array, " entries"],
    *,
    points: Num[np.ndarray | Array, "points dim"] | None = None,
    title: str = "Information in the data about the conductivity",
    views: str = "principal",
) -> Figure:
    """Fraction of the prior variance that the data removed, per node or cell: 0 (not informed) to 1.

    `points` (mm): sites to measure next, as dots.
    """
    label = "Share of the prior variance removed (0 to 1)"
    if points is not None:
        label += "; dots: where to pace next"
    return _share(mesh, information, INFORMATION, label, title, views, points)


def _share(mesh: Mesh, share, colours, label: str, title: str, views: str, points=None) -> Figure:
    values = _field(mesh, share)
    low, high = finite_range(values)
    if low < -1e-6 or high > 1 + 1e-6:
        raise InputError(
            f"shares from {low:.3g} to {high:.3g}", "values from 0 to 1", "Divide percentages by 100"
        )
    canvas = panels(mesh, title, views)
    norm = Normalize(0.0, 1.0)
    paint(canvas, values, norm, colours)
    if points is not None:
        dots(canvas, _positions(mesh, points, np.zeros(len(points))), np.ones((len(points), 4)), size=40)
    colour_bar(canvas, norm, colours, label)
    return canvas.figure


def quality_map(
    mesh: Mesh,
    positions: Num[np.ndarray | Array, "points dim"],
    lat_ms: Num[np.ndarray | Array, " points"],
    suspect: Bool[np.ndarray, " points"],
    *,
    title: str = "Measured points",
    views: str = "principal",
) -> Figure:
    """Points of a map on the grey surface: LAT (ms) as colour if valid, else small and white; suspects
    ringed.

    `positions` in mm; points off the surface are drawn at the nearest place on it.
    """
    lat, usable = np.asarray(lat_ms, float), np.isfinite(lat_ms)
    count = f"{int(usable.sum())} of {len(lat)} LATs can be used, rings: {int(suspect.sum())} to look at"
    canvas = panels(mesh, f"{title}: {count}", views)
    norm: Normalize = Normalize(0.0, 1.0)
    if usable.any():
        levels = _isochrones(lat, 10.0)
        norm = BoundaryNorm(levels, ACTIVATION.N)
        colour_bar(canvas, norm, ACTIVATION, "LAT (ms)", levels)
    paint(canvas, np.full(len(mesh.points), np.nan), norm, ACTIVATION)
    places = mesh.points[KDTree(mesh.points).query(_positions(mesh, positions, lat))[1]]
    size = float(np.clip(22.0 * 400 / max(len(lat), 1), 5.0, 22.0))  # many points must not hide each other
    if not usable.all():
        dots(canvas, places[~usable], np.ones((int((~usable).sum()), 4)), size / 3)
    if usable.any():
        dots(canvas, places[usable], shades(lat[usable], norm, ACTIVATION), size)
    if suspect.any():
        dots(canvas, places[suspect], np.zeros((int(suspect.sum()), 4)), 90)
    return canvas.figure


def residual_map(
    mesh: Mesh,
    positions: Num[np.ndarray | Array, "points dim"],
    residual_ms: Num[np.ndarray | Array, " points"],
    *,
    title: str = "Residuals: predicted − measured LAT",
    views: str = "principal",
) -> Figure:
    """Residuals at the measured points (`positions`, mm), ms, on the grey surface, with their histogram.

    Red: the prediction is late. The scale is symmetric and ends at the 98th percentile.
    """
    residual = np.asarray(residual_ms, float)
    finite_range(residual)
    top = float(np.nanpercentile(np.abs(residual), 98)) or 1.0
    norm, colours = Normalize(-top, top), mpl.colormaps["RdBu_r"]
    canvas = panels(mesh, title, views, beside=2.0)
    paint(canvas, np.full(len(mesh.points), np.nan), norm, colours)
    dots(canvas, _positions(mesh, positions, residual), shades(residual, norm, colours), size=26)
    colour_bar(canvas, norm, colours, "Residual (ms), red: predicted late", extend="both")

    figure = canvas.figure
    left, bottom, _, length = canvas.bar
    inset = place(figure, left + 1.25, bottom + (length - 1.7) / 2, 1.85, 1.5)
    finite = residual[np.isfinite(residual)]
    counts, edges = np.histogram(np.clip(finite, -top, top), bins=21, range=(-top, top))
    middle = (edges[1:] + edges[:-1]) / 2
    inset.bar(
        middle, counts, width=edges[1] - edges[0], color=colours(norm(middle)), edgecolor="#555555", lw=0.4
    )
    inset.axvline(0.0, color=INK, lw=0.8)
    error, middle = np.sqrt(np.mean(finite**2)), f"{np.median(finite):+.1f}".replace("-", "−")
    text = f"{len(finite)} points\nRMSE {error:.1f} ms\nmedian {middle} ms"
    inset.set_title(text, fontsize=9, loc="left", color=INK)
    style_curves(inset, "residual (ms)", "")
    inset.yaxis.set_major_locator(NullLocator())
    inset.spines["left"].set_visible(False)
    return figure


def _field(mesh: Mesh, values, nodes_only: bool = False) -> Float[np.ndarray, " entries"]:
    array = np.asarray(values, float)
    wanted = [len(mesh.points)] if nodes_only else [len(mesh.points), len(mesh.cells)]
    if array.shape not in [(count,) for count in wanted]:
        raise InputError(
            f"values of shape {array.shape}",
            f"one value for each of {len(mesh.points)} nodes"
            + ("" if nodes_only else f" or {len(mesh.cells)} cells"),
            "Check that the values belong to this mesh",
        )
    return array


def _positions(mesh: Mesh, points, values: np.ndarray) -> np.ndarray:
    positions = np.asarray(points, float)
    if positions.shape != (len(values), mesh.dim) or not np.isfinite(positions).all():
        raise InputError(
            f"measurement points of shape {positions.shape} with {len(values)} values",
            f"one finite position in mm with {mesh.dim} coordinates for each value",
            "Leave out points without a position",
        )
    return positions


def _isochrones(lat: np.ndarray, step: float) -> np.ndarray:
    """Levels at multiples of the step around all values, 8 to 20 bands."""
    low, high = finite_range(lat)
    span = (high - low) or 1.0
    if not 8 <= span / step <= 20:
        nice = np.outer(10.0 ** np.arange(-6, 9), [1.0, 2.0, 5.0]).ravel()
        fits = nice[(span / nice >= 8) & (span / nice <= 20)]
        step = float(fits[np.abs(np.log(fits / step)).argmin()])
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return np.arange(first, max(last, first + 1) + 1) * step
