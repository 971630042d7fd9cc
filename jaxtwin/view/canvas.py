"""The sheet that figures are drawn on: panels for the views of a surface, or axes for curves.

A sheet has a title, a footer and, for surfaces, one scale for all panels with a scale bar. Lengths in the
layout are inches, as only they keep text and pictures apart at any size of mesh.
"""

import weakref
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from .._files import atomic_write
from .._results import InputError
from ..anatomy import Mesh
from . import surface as drawn

FOOTER = "Research use only. Not a medical device."
DPI = 150
INK, QUIET = "#1a1a1a", "#666666"

_PANEL, _SINGLE = 3.6, 6.5  # the longer side of one of four panels, and of one that is alone
_ABOVE, _BELOW, _LEFT, _BAR = 0.5, 0.62, 0.15, 1.3
_HEADER = 0.46  # over a panel: the mesh's axes and the name of the view


class Canvas(NamedTuple):
    """A sheet with panels; `bar` is where the colour bar goes: left, bottom, width, height in inches."""

    figure: Figure
    axes: list[Axes]
    rasters: list[drawn.Raster]
    bar: tuple[float, float, float, float]


def panels(mesh: Mesh, title: str, directions: str, beside: float = 0.0) -> Canvas:
    """A sheet with one panel per view, all at one scale; `beside` inches stay free on the right."""
    rasters = _RASTERS(mesh, directions)
    views, windows = [raster.view for raster in rasters], [raster.window for raster in rasters]
    single = len(views) == 1
    longest = _SINGLE if single else _PANEL
    inches_per_mm = longest / (windows[0].pixel * max(windows[0].rows, windows[0].columns))
    wide, high = (side * windows[0].pixel * inches_per_mm for side in (windows[0].columns, windows[0].rows))
    header = 0.0 if single else _HEADER
    columns = 1 if single else 4 if wide < 0.6 * high else 2
    rows = len(views) // columns
    body = max(rows * (high + header), 2.6)
    inner = max(columns * wide, 3.2)
    figure = _sheet(title, 2 * _LEFT + inner + _BAR + beside, body + _BELOW + _ABOVE)
    axes = []
    for index, (view, window) in enumerate(zip(views, windows, strict=True)):
        row, column = divmod(index, columns)
        left, bottom = _LEFT + column * wide, _BELOW + body - (row + 1) * (high + header)
        panel = place(figure, left, bottom, wide, high)
        panel.set_axis_off()
        panel.set(xlim=window.extent[:2], ylim=window.extent[2:])
        axes.append(panel)
        if not single:
            _header(place(figure, left, bottom + high, wide, header), wide, view)
    _scale_bar(figure, inches_per_mm, wide)
    length = min(body - 0.3, 4.2)
    return Canvas(figure, axes, rasters, (2 * _LEFT + inner, _BELOW + (body - length) / 2, 0.2, length))


class _LastRasters:
    """What the pixels see of the last mesh, as long as that exists: its figures share it."""

    def __init__(self):
        self._forget()

    def _forget(self, *_) -> None:
        self._mesh, self._directions, self._rasters = lambda: None, "", []

    def __call__(self, mesh: Mesh, directions: str) -> list[drawn.Raster]:
        if self._mesh() is not mesh or self._directions != directions:
            surface = drawn.surface_of(mesh)
            views = drawn.views_of(surface, directions)
            longest = _SINGLE if len(views) == 1 else _PANEL
            windows = drawn.windows_of(surface, views, 2 * round(longest * DPI))
            self._rasters = [drawn.rasterise(surface, *each) for each in zip(views, windows, strict=True)]
            self._mesh, self._directions = weakref.ref(mesh, self._forget), directions
        return self._rasters


_RASTERS = _LastRasters()


def plot(title: str, width: float, height: float, right: float = 0.2) -> tuple[Figure, Axes]:
    """A sheet for curves, with `right` inches free to the right of the axes."""
    figure = _sheet(title, width, height)
    return figure, place(figure, 0.9, 0.9, width - 0.9 - right, height - 0.9 - 0.55)


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def paint(canvas: Canvas, values: np.ndarray, norm: Normalize, colours: Colormap, levels=()) -> None:
    """Draws node or cell values on every panel, with lines at `levels`."""
    for panel, raster in zip(canvas.axes, canvas.rasters, strict=True):
        lines = drawn.level_lines(raster, values, np.asarray(levels), width=2.0) if len(levels) else None
        picture = drawn.render(raster, shades(drawn.sample(raster, values), norm, colours)[..., :3], lines)
        panel.imshow(picture, extent=raster.window.extent, origin="lower", zorder=1)


def shades(values: np.ndarray, norm: Normalize, colours: Colormap) -> np.ndarray:
    """RGBA of values, light grey if missing."""
    missing = ~np.isfinite(values)
    rgba = colours(norm(np.where(missing, 1.0, values)))
    rgba[missing] = (drawn.GREY, drawn.GREY, drawn.GREY, 1.0)
    return rgba


def dots(canvas: Canvas, positions: np.ndarray, colours: np.ndarray, size: float = 16) -> None:
    """Draws points, (points, dim) in mm, where they are not hidden; `colours`: RGBA of each."""
    positions = np.pad(positions, ((0, 0), (0, 3 - positions.shape[1])))
    for panel, raster in zip(canvas.axes, canvas.rasters, strict=True):
        seen = drawn.visible(raster, positions)
        x, y, _ = drawn.project(raster.surface, raster.view, positions[seen]).T
        panel.scatter(x, y, s=size, c=colours[seen], edgecolors=INK, linewidths=0.6, zorder=3)


def colour_bar(canvas: Canvas, norm, colours, label: str, ticks=None, extend: str = "neither") -> None:
    """A colour bar to the right of the panels."""
    bar = canvas.figure.colorbar(
        ScalarMappable(norm, colours), cax=place(canvas.figure, *canvas.bar), extend=extend
    )
    if ticks is not None:
        bar.set_ticks(ticks[:: 1 + len(ticks) // 13])
    elif isinstance(norm, LogNorm):
        low, high = bar.ax.get_ylim()
        plain_logarithm(bar.ax.yaxis, high / low)
    bar.ax.tick_params(labelsize=9)
    bar.set_label(label, fontsize=10)


def plain_logarithm(axis, ratio: float) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, at more digits where the range is short, as plain numbers."""
    digits = (1, 2, 5) if ratio > 8 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def style_curves(axes: Axes, x: str, y: str, grid: bool = True) -> None:
    """Labels with units, open at the top and right."""
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color="#e5e5e5", lw=0.7)


def finite_range(values: np.ndarray) -> tuple[float, float]:
    """The least and the largest finite value; raises `InputError` if there is none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise InputError(
            "nothing but NaN to draw", "at least one finite value", "Check the step that made the values"
        )
    return float(finite.min()), float(finite.max())


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a PNG of 150 dots per inch atomically."""
    with atomic_write(path) as stream:
        figure.savefig(stream, format="png", dpi=DPI)


def _sheet(title: str, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), facecolor="white")
    left = _LEFT / width
    figure.text(left, 1 - 0.12 / height, title, fontsize=13, weight="bold", va="top", color=INK)
    figure.text(left, 0.1 / height, FOOTER, fontsize=8, va="bottom", color=QUIET)
    return figure


def _scale_bar(figure: Figure, inches_per_mm: float, room: float) -> None:
    """A bar of 1, 2 or 5 times a power of ten, mm, at most 30 % of a panel."""
    nice = np.outer(10.0 ** np.arange(-6, 6), [1.0, 2.0, 5.0]).ravel()
    length = float(nice[nice * inches_per_mm <= 0.3 * room][-1])
    axes = place(figure, _LEFT, 0.3, length * inches_per_mm, 0.12)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    axes.plot([0, 1], [0.5, 0.5], color=INK, lw=2.5, solid_capstyle="butt", clip_on=False)
    label = {"fontsize": 9, "va": "center", "color": INK, "textcoords": "offset points"}
    axes.annotate(f"{length:g} mm", (1, 0.5), (5, 0), **label)


def _header(axes: Axes, width: float, view: drawn.View) -> None:
    """The name of the view and the mesh's axes x, y, z, foreshortened."""
    axes.set(xlim=(0, width), ylim=(0, _HEADER))
    axes.set_axis_off()
    origin = np.array([width / 2 - 0.35, _HEADER / 2])
    for axis, name in enumerate("xyz"):
        along = view.frame[:2, axis]
        length = np.hypot(*along)
        if length > 0.25:  # one that points at the viewer has no direction on paper
            x, y = np.stack([origin, origin + 0.13 * along], axis=1)
            axes.plot(x, y, color=QUIET, lw=1.1)
            x, y = origin + (0.13 + 0.055 / length) * along
            axes.text(x, y, name, fontsize=7, ha="center", va="center_baseline", color=QUIET)
    axes.text(width / 2, _HEADER / 2, view.name, fontsize=10, ha="left", va="center", color=INK)
