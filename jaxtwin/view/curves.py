"""Curves: a figure each of how a fit went, and of what cells do in time.

Every function returns a `matplotlib.figure.Figure` and leaves matplotlib's global state alone. Arrays may
be numpy or JAX.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Bool, Num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .._results import InputError
from .canvas import INK, QUIET, finite_range, plain_logarithm, plot, style_curves

SETS = (  # marker, colour and order of drawing of sets of points: few points lie over many
    ("o", "#2b6cb0", 4), ("^", "#c2410c", 3), ("s", "#8a8a8a", 2), ("D", "#2f855a", 5),
)  # fmt: skip


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
    finite_range(np.where(valid, measured, np.nan))
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
