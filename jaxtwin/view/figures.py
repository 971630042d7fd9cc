"""The figures: maps on the surface of a mesh, and curves.

Every function returns a `matplotlib.figure.Figure` and leaves matplotlib's global state alone. Arrays may
be numpy or JAX. Maps show `views` "principal" or "patient", see `surface.views_of`; where a value is NaN
the surface is grey.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Bool, Float, Num
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from scipy.spatial import KDTree

from .._files import atomic_write
from .._results import InputError
from .._units import conductivity_from_diffusivity
from ..anatomy import Mesh
from .canvas import (
    DPI,
    INK,
    QUIET,
    colour_bar,
    dots,
    paint,
    panels,
    place,
    plain_logarithm,
    plot,
    shades,
    style_curves,
)

# Early red to late purple, as on mapping systems, but with the even steps of Turbo (A. Mikhailov, 2019)
# in place of the rainbow's false bands of yellow and cyan. The near-black ends are cut off, so that lines
# and shading stay visible; isochrones carry the order for those who do not see the hues.
ACTIVATION = ListedColormap(mpl.colormaps["turbo"](np.linspace(0.93, 0.03, 256)), "activation")
# Low values pale, scar dark: most of a heart is healthy and should recede.
SCAR = ListedColormap(mpl.colormaps["magma_r"](np.linspace(0.03, 0.85, 256)), "scar")
SETS = (  # marker, colour and order of drawing of sets of points: few points lie over many
    ("o", "#2b6cb0", 4), ("^", "#c2410c", 3), ("s", "#8a8a8a", 2), ("D", "#2f855a", 5),
)  # fmt: skip
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
    low, high = _range(values)
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
    _range(values)
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
    low, high = _range(values)
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
    _range(residual)
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


def fit_summary(
    measured_ms: Num[np.ndarray | Array, " points"],
    predicted_ms: Num[np.ndarray | Array, " points"],
    *,
    parts: Mapping[str, Bool[np.ndarray | Array, " points"]] | None = None,
    title: str = "Predicted against measured LAT",
) -> Figure:
    """Predicted against measured activation times, ms, with the line of identity.

    `parts`: masks of up to four sets of points by name, the fitted ones first; the legend gives the RMSE of
    each. All points are fitted ones if omitted.
    """
    measured, predicted = np.asarray(measured_ms, float), np.asarray(predicted_ms, float)
    valid = np.isfinite(measured) & np.isfinite(predicted)
    _range(np.where(valid, measured, np.nan))
    parts = {"fitted points": np.ones(len(measured), bool)} if parts is None else parts
    figure, axes = plot(title, 5.6, 5.6)
    ends = [
        min(measured[valid].min(), predicted[valid].min()),
        max(measured[valid].max(), predicted[valid].max()),
    ]
    margin = 0.04 * (ends[1] - ends[0]) or 1.0
    ends = [ends[0] - margin, ends[1] + margin]
    axes.plot(ends, ends, color=QUIET, lw=1, zorder=1, label="identity")
    # where points are many, smaller ones still show how they spread
    size = float(np.clip(6000.0 / max(int(valid.sum()), 1), 4.0, 24.0))
    for (name, part), (marker, colour, order) in zip(parts.items(), SETS, strict=False):
        mask = valid & np.asarray(part)
        if mask.any():
            rmse = np.sqrt(np.mean((predicted[mask] - measured[mask]) ** 2))
            axes.scatter(
                measured[mask], predicted[mask], s=size, marker=marker, facecolors=colour, alpha=0.6,
                linewidths=0.0, zorder=order, label=f"{name}: n = {mask.sum()}, RMSE {rmse:.1f} ms",
            )  # fmt: skip
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    style_curves(axes, "measured LAT (ms)", "predicted LAT (ms)")
    axes.legend(fontsize=9, loc="lower right", framealpha=0.9, markerscale=max(1.0, (20.0 / size) ** 0.5))
    return figure


def convergence(history: Mapping[str, Any], *, title: str = "Convergence of the fit") -> Figure:
    """Loss and errors against iteration.

    `history`: name -> (iterations,). "loss" has the left, logarithmic axis; every other series, such as
    "rmse_ms" or "held_out_rmse_ms", has the right one, in ms.
    """
    series = {name: np.asarray(values, float) for name, values in history.items()}
    if "loss" not in series or not len(series["loss"]) or any(values.ndim != 1 for values in series.values()):
        raise InputError(
            f"a history with {sorted(series)}",
            "one-dimensional series, among them 'loss'",
            "Pass Fit.history",
        )
    figure, axes = plot(title, 7.0, 4.2, right=0.75)
    loss = series.pop("loss")
    axes.plot(np.arange(len(loss)), loss, color=INK, lw=1.6, label="loss")
    if (loss[np.isfinite(loss)] > 0).all():
        axes.set_yscale("log")
        plain_logarithm(axes.yaxis, loss.max() / loss.min())
    style_curves(axes, "iteration", "loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    lines = list(axes.lines)
    if series:
        other = axes.twinx()
        for index, (name, values) in enumerate(series.items()):
            label = name.removesuffix("_ms").replace("_", " ").replace("rmse", "RMSE")
            colour = ("#2b6cb0", "#c2410c", "#2f855a", "#6b46c1")[index % 4]
            lines += other.plot(
                np.arange(len(values)), values, color=colour, lw=1.4, ls=("-", "--")[index % 2], label=label
            )
        other.set_ylim(bottom=0.0)
        style_curves(other, "iteration", "RMSE (ms)", grid=False)
        other.spines["right"].set_visible(True)
    axes.legend(handles=lines, fontsize=9, loc="upper right", framealpha=0.9)
    return figure


def trace(
    times_ms: Num[np.ndarray | Array, " steps"],
    voltage_mv: Num[np.ndarray | Array, " steps"] | Num[np.ndarray | Array, "traces steps"],
    labels: Sequence[str] | None = None,
    *,
    title: str = "Transmembrane voltage",
) -> Figure:
    """Voltage against time at one or more places: ms and mV, one label for each trace."""
    times, voltages = np.asarray(times_ms, float), np.atleast_2d(np.asarray(voltage_mv, float))
    if labels is not None and len(labels) != len(voltages):
        raise InputError(
            f"{len(labels)} labels for {len(voltages)} traces", "a label for each trace", "Count them"
        )
    figure, axes = plot(title, 7.0, 4.2)
    colours = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, len(voltages)))
    for index, (voltage, colour) in enumerate(zip(voltages, colours, strict=True)):
        axes.plot(times, voltage, color=colour, lw=1.5, label=None if labels is None else labels[index])
    style_curves(axes, "time (ms)", "voltage (mV)")
    axes.margins(x=0.01)
    if labels is not None:
        axes.legend(fontsize=9, framealpha=0.9, ncols=1 + len(labels) // 9)
    return figure


def restitution_curve(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str = "Restitution of the action potential"
) -> Figure:
    """Action potential duration (ms) of a premature beat against the diastolic interval (ms) before it, a
    curve for each name."""
    figure, axes = plot(title, 5.6, 4.2)
    colours = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, len(curves)))
    for (name, (diastolic, apd)), colour in zip(curves.items(), colours, strict=True):
        axes.plot(diastolic, apd, "o-", color=colour, lw=1.5, ms=3.5, label=name)
    style_curves(axes, "diastolic interval (ms)", "APD90 of the premature beat (ms)")
    if len(curves) > 1:
        axes.legend(fontsize=9, framealpha=0.9)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a PNG of 150 dots per inch atomically."""
    with atomic_write(path) as stream:
        figure.savefig(stream, format="png", dpi=DPI)


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


def _range(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise InputError(
            "nothing but NaN to draw", "at least one finite value", "Check the step that made the values"
        )
    return float(finite.min()), float(finite.max())


def _isochrones(lat: np.ndarray, step: float) -> np.ndarray:
    """Levels at multiples of the step around all values, 8 to 20 bands."""
    low, high = _range(lat)
    span = (high - low) or 1.0
    if not 8 <= span / step <= 20:
        nice = np.outer(10.0 ** np.arange(-6, 9), [1.0, 2.0, 5.0]).ravel()
        fits = nice[(span / nice >= 8) & (span / nice <= 20)]
        step = float(fits[np.abs(np.log(fits / step)).argmin()])
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return np.arange(first, max(last, first + 1) + 1) * step
