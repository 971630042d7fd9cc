"""Activation times from waveforms, for maps without annotations and to check annotations."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d

from .._results import InputError
from .study import AbstractSignals, Map

SLOPE_MS = 1.5  # width of the Gaussian that smooths a waveform before differentiation
ENVELOPE_MS = 5.0  # width of the Gaussian for the energy envelope of a bipolar signal
RIVAL = 0.8  # fraction of the steepest slope, above which another deflection is a rival
APART_MS = 8.0  # deflections closer than this are one
PLACED = 0.05  # of a sample, accuracy of the parabola and of the centre of gravity
BEAT_TO_BEAT_MS = 1.0
LEAST_SNR = 4.0  # of slope or energy over noise, below which nothing is annotated


@dataclass(frozen=True)
class Annotation:
    """Activations of the points of a map, NaN if none was found.

    - `lat_ms`: relative to the reference. `sigma_ms`: standard deviation. `reference_ms`: in the time of the
      trace.
    - `kind`: (points,), "unipolar", "bipolar" or "" for each.
    """

    lat_ms: Float[np.ndarray, " points"]
    sigma_ms: Float[np.ndarray, " points"]
    reference_ms: Float[np.ndarray, " points"]
    kind: tuple[str, ...]


def annotate(one: Map, method: str = "auto") -> Annotation:
    """Annotates the waveforms of a map inside the window of interest of each point.

    "unipolar": the steepest negative slope, when the front passes below the electrode (Cantwell et al. 2015,
    doi 10.1016/j.compbiomed.2015.04.027). "bipolar": the barycentre of the energy around its peak. "auto":
    the first if a point has a unipolar channel. A point without a reference annotation takes the peak of the
    energy of its reference channel.

    Raises `InputError` for a map without waveforms.
    """
    if method not in ("auto", "unipolar", "bipolar"):
        raise InputError(f"method {method!r}", "auto, unipolar or bipolar", "Choose one of them")
    if not one.signals:
        raise InputError(
            f"map {one.name!r} without waveforms", "waveforms to take activations from", "Export them too"
        )
    points = one.points
    lat, sigma = np.full((2, len(points)), np.nan)
    reference, kind = points.reference_ms.copy(), [""] * len(points)
    for signals in one.signals:
        step = 1000.0 / signals.rate_hz
        for trace, row in enumerate(signals.rows):
            uni, bi = _channels(one, signals, int(row))
            chosen = uni if method == "unipolar" or (method == "auto" and uni is not None) else bi
            if chosen is None:
                continue
            values = signals.mv(trace)
            if not np.isfinite(reference[row]):
                beside = _index(signals, points.reference_channel[row])
                if beside is None:
                    continue
                found = middle(values[:, beside], step, np.ones(signals.samples, bool))
                reference[row] = found[0]
            time = step * np.arange(signals.samples) - reference[row]
            first, last = points.woi_ms[row]
            inside = (
                (time >= first) & (time <= last) if np.isfinite([first, last]).all() else np.isfinite(time)
            )
            found = (steepest if chosen is uni else middle)(values[:, chosen], step, inside)
            lat[row], sigma[row] = found[0] - reference[row], found[1]
            if np.isfinite(lat[row]):
                kind[row] = "unipolar" if chosen is uni else "bipolar"
    return Annotation(lat, sigma, reference, tuple(kind))


def annotated(one: Map, method: str = "auto") -> Map:
    """The map with activations from its waveforms instead of the exported ones.

    1 ms is added in quadrature to the standard deviation of the annotation: beats differ, and catheter and
    wall move between them, which no single waveform shows.
    """
    found = annotate(one, method)
    reason = ["" if np.isfinite(lat) else "no activation found in its waveform" for lat in found.lat_ms]
    points = one.points.changed(
        lat_ms=found.lat_ms,
        sigma_ms=np.hypot(found.sigma_ms, BEAT_TO_BEAT_MS),
        reference_ms=found.reference_ms,
        reason=reason,
    )
    count = sum(map(bool, found.kind))
    notes = (*one.notes, f"activations of {count} of {len(points)} points taken from their waveforms")
    return Map(one.name, one.surface, points, one.signals, notes)


def _channels(one: Map, signals: AbstractSignals, row: int) -> tuple[int | None, int | None]:
    return (
        _index(signals, one.points.unipolar_channel[row] or "unipolar 1"),
        _index(signals, one.points.bipolar_channel[row] or "bipolar"),
    )


def _index(signals: AbstractSignals, name: str) -> int | None:
    return signals.channels.index(name) if name in signals.channels else None


def steepest(
    values: Float[np.ndarray, " samples"], step_ms: float, inside: Bool[np.ndarray, " samples"]
) -> tuple[float, float]:
    """Time of the steepest negative slope of a unipolar signal, ms from the first sample, and its standard
    deviation.

    The slope is that of the waveform smoothed by a Gaussian. Its minimum is at a zero of the second
    derivative, so noise of standard deviation s'' in the latter shifts it by s''/|v'''|. s'' follows from the
    noise of the samples, which is estimated from their second differences, where a smooth wave cancels. With
    a rival, a deflection nearly as steep elsewhere in the window, half the distance to it is added in
    quadrature. NaN if the slope does not exceed the noise.
    """
    width = SLOPE_MS / step_ms
    values = _filled(values)
    if not inside.any() or len(values) < 16 or np.ptp(values) == 0:
        return np.nan, np.nan
    noise = _noise(values)
    slope = gaussian_filter1d(values, width, order=1)
    window = np.where(inside, slope, np.inf)
    at = int(window.argmin())
    # standard deviations of the derivatives of white noise smoothed by a Gaussian of this width
    of_slope = noise * np.sqrt(1.0 / (4.0 * np.sqrt(np.pi) * width**3))
    of_second = noise * np.sqrt(3.0 / (8.0 * np.sqrt(np.pi) * width**5))
    if -slope[at] < LEAST_SNR * max(of_slope, 1e-12):
        return np.nan, np.nan
    place = at + _vertex(slope, at)
    third = abs(slope[max(at - 1, 0)] - 2 * slope[at] + slope[min(at + 1, len(slope) - 1)])
    error = step_ms * np.hypot(of_second / max(third, 1e-12), PLACED)
    return step_ms * place, float(np.hypot(error, 0.5 * _rival(-slope, at, inside, step_ms)))


def middle(
    values: Float[np.ndarray, " samples"], step_ms: float, inside: Bool[np.ndarray, " samples"]
) -> tuple[float, float]:
    """Barycentre of the energy of a bipolar signal around its peak, ms from the first sample, and its
    standard deviation.

    The energy is the square of the slope, smoothed. Its centre of gravity over the part above half its peak
    has less noise than the peak and does not depend on the direction of the electrodes. The standard
    deviation is the width of that part over the root of twelve times its signal-to-noise ratio. NaN if that
    ratio is too low.
    """
    values = _filled(values)
    if not inside.any() or len(values) < 16 or np.ptp(values) == 0:
        return np.nan, np.nan
    noise = _noise(values)
    width = SLOPE_MS / step_ms
    energy = gaussian_filter1d(gaussian_filter1d(values, width, order=1) ** 2, ENVELOPE_MS / step_ms)
    window = np.where(inside, energy, -np.inf)
    at, floor = int(window.argmax()), max(noise**2 / (4.0 * np.sqrt(np.pi) * width**3), 1e-24)
    ratio = energy[at] / floor
    if ratio < LEAST_SNR:
        return np.nan, np.nan
    first, last = at, at
    while first > 0 and energy[first - 1] > 0.5 * energy[at]:
        first -= 1
    while last + 1 < len(energy) and energy[last + 1] > 0.5 * energy[at]:
        last += 1
    part = np.arange(first, last + 1)
    place = float((part * energy[part]).sum() / energy[part].sum())
    error = step_ms * np.hypot(len(part) / np.sqrt(12.0 * ratio), PLACED)
    return step_ms * place, float(np.hypot(error, 0.5 * _rival(energy, at, inside, step_ms)))


def _filled(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.asarray(values, np.float64))


def _noise(values: np.ndarray) -> float:
    """Standard deviation of white noise in a waveform, a robust estimate from its second differences."""
    return float(np.median(np.abs(np.diff(values, 2))) / 0.6745 / np.sqrt(6.0))


def _vertex(values: np.ndarray, at: int) -> float:
    """Vertex of the parabola through three samples, in samples from the middle one."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = values[at - 1 : at + 2]
    bend = before - 2 * here + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend else 0.0


def _rival(height: np.ndarray, at: int, inside: np.ndarray, step_ms: float) -> float:
    """Distance to the farthest other peak of nearly the same height, ms; 0 if there is none."""
    peaks = np.flatnonzero((height[1:-1] >= height[:-2]) & (height[1:-1] > height[2:])) + 1
    far = np.abs(peaks - at) * step_ms
    rivals = peaks[inside[peaks] & (far > APART_MS) & (height[peaks] > RIVAL * height[at])]
    return float(np.abs(rivals - at).max() * step_ms) if len(rivals) else 0.0
