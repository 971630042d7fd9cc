"""A study as a mapping system exports it: maps with surface, points and waveforms."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from .._results import InputError
from ..anatomy import Surface
from ..anatomy.surface import column, unequal
from ..fem import locate
from .data import MappingData

NUMBERS = (
    "lat_ms", "reference_ms", "sigma_ms", "bipolar_mv", "unipolar_mv", "impedance_ohm", "force_g",
)  # fmt: skip
TEXTS = "ids", "reason", "tags", "unipolar_channel", "bipolar_channel", "reference_channel"


class Points:
    """Points acquired by the catheter, one row each. Everything except the position may be missing.

    - `positions`: (points, 3), mm, of the electrode. `surface_positions`: its projection on the surface by
      the system, NaN if missing.
    - `lat_ms`: local activation time relative to the reference, ms, as exported; NaN if missing.
    - `reason`: why the LAT of a point cannot be used; "" if it can.
    - `woi_ms`: (points, 2), window of interest, from and to, in the time reference of the LATs.
    - `reference_ms`: the reference annotation in the time of the waveform, whose first sample is at 0 ms; the
      activation is at `reference_ms + lat_ms`.
    - `bipolar_mv`, `unipolar_mv` (peak to peak), `impedance_ohm`, `force_g`.
    - `sigma_ms`: standard deviation of the LAT.
    - `ids`: number or name of a point in the system. `tags`: labels by the operator, separated by "; ".
    - `unipolar_channel`, `bipolar_channel`, `reference_channel`: names of its channels.
    - `more`: further numbers of a point, by name.

    Omitted columns are NaN, or "" for texts. Raises `InputError` for columns of another length and for
    positions that are not finite, and `TypeError` for an unknown column.
    """

    positions: Float[np.ndarray, "points 3"]
    surface_positions: Float[np.ndarray, "points 3"]
    lat_ms: Float[np.ndarray, " points"]
    reference_ms: Float[np.ndarray, " points"]
    sigma_ms: Float[np.ndarray, " points"]
    bipolar_mv: Float[np.ndarray, " points"]
    unipolar_mv: Float[np.ndarray, " points"]
    impedance_ohm: Float[np.ndarray, " points"]
    force_g: Float[np.ndarray, " points"]
    woi_ms: Float[np.ndarray, "points 2"]
    ids: tuple[str, ...]
    reason: tuple[str, ...]
    tags: tuple[str, ...]
    unipolar_channel: tuple[str, ...]
    bipolar_channel: tuple[str, ...]
    reference_channel: tuple[str, ...]
    more: dict[str, Float[np.ndarray, " points"]]

    def __init__(self, positions, *, more: dict[str, Any] | None = None, **columns):
        self.positions = np.array(positions, np.float64).reshape(-1, 3)
        count = len(self.positions)
        unknown = set(columns) - {*NUMBERS, *TEXTS, "woi_ms", "surface_positions"}
        if unknown:
            raise TypeError(f"columns {sorted(unknown)}")
        shapes = {name: (count,) for name in NUMBERS} | {
            "woi_ms": (count, 2),
            "surface_positions": (count, 3),
        }
        for name, shape in shapes.items():
            given = columns.get(name)
            setattr(self, name, column(name, np.full(shape, np.nan) if given is None else given, shape))
        for name in TEXTS:
            given = columns.get(name)
            texts = ("",) * count if given is None else tuple(str(each) for each in given)
            if len(texts) != count:
                raise unequal(name, (len(texts),), (count,))
            setattr(self, name, texts)
        self.more = {name: column(name, values, (count,)) for name, values in (more or {}).items()}
        bad = ~np.isfinite(self.positions).all(axis=1)
        if bad.any():
            raise InputError(
                f"{int(bad.sum())} points without a position, the first at index {int(bad.argmax())}",
                "finite coordinates in mm", "Leave these points out: nothing else about them can be used",
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def valid(self) -> Bool[np.ndarray, " points"]:
        """Mask of the points whose LAT can be used."""
        return np.isfinite(self.lat_ms) & np.array([not why for why in self.reason], bool)

    def columns(self) -> dict[str, Any]:
        """All columns by name, `more` as one."""
        return dict(vars(self))

    def changed(self, **columns) -> "Points":
        """The same points with other columns."""
        return Points(**(self.columns() | columns))

    def subset(self, rows: Int[np.ndarray, " some"]) -> "Points":
        """Some of the points, in this order."""
        taken = {name: values[rows] for name, values in vars(self).items() if isinstance(values, np.ndarray)}
        texts = {name: tuple(getattr(self, name)[row] for row in rows) for name in TEXTS}
        return Points(**taken, **texts, more={name: values[rows] for name, values in self.more.items()})


class AbstractSignals(ABC):
    """Waveforms of some points of a map, all with the same channels. They are read one by one, since a study
    may exceed memory.

    - `rows`: (traces,), the point of each trace. `channels`: names. `rate_hz`: sampling rate.
    - `samples`: length of each trace. `gain_mv`: mV per raw unit.
    """

    rows: Int[np.ndarray, " traces"]
    channels: tuple[str, ...]
    rate_hz: float
    samples: int
    gain_mv: float

    @abstractmethod
    def raw(self, trace: int) -> Num[np.ndarray, "samples channels"]:
        """One trace as stored: integers or float32."""

    def mv(self, trace: int) -> Float[np.ndarray, "samples channels"]:
        """One trace in mV."""
        return self.raw(trace) * self.gain_mv


class Signals(AbstractSignals):
    """Waveforms that are read on access by `read(trace)`, which returns (samples, channels)."""

    def __init__(self, rows, channels, *, rate_hz: float, samples: int, gain_mv: float, read: Callable):
        self.rows, self.channels = np.asarray(rows, np.int64), tuple(channels)
        self.rate_hz, self.samples, self.gain_mv = float(rate_hz), int(samples), float(gain_mv)
        self._read = read
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0 and np.isfinite(self.gain_mv)):
            raise InputError(
                f"waveforms at {self.rate_hz:g} Hz with a gain of {self.gain_mv:g} mV", "numbers above 0",
                "Export the waveforms again",
            )  # fmt: skip

    @classmethod
    def of_array(cls, rows, channels, values, *, rate_hz: float, gain_mv: float = 1.0) -> "Signals":
        """Waveforms in memory: `values` (traces, samples, channels)."""
        return cls(
            rows, channels, rate_hz=rate_hz, samples=values.shape[1], gain_mv=gain_mv,
            read=lambda trace: values[trace],
        )  # fmt: skip

    def raw(self, trace: int) -> Num[np.ndarray, "samples channels"]:
        values = np.asarray(self._read(trace))
        if values.shape != (self.samples, len(self.channels)):
            raise InputError(
                f"a waveform of {values.shape[0]} samples and {values.shape[-1]} channels",
                f"{self.samples} samples of {len(self.channels)} channels, as the first of this map",
                "Export the waveforms again",
            )  # fmt: skip
        return values


@dataclass(frozen=True)
class Map:
    """One map of a study. `surface`: None if only points were exported; `points`: empty if only the surface
    was. `signals`: waveforms, in groups of the same channels."""

    name: str
    surface: Surface | None = None
    points: Points = field(default_factory=lambda: Points(np.zeros((0, 3))))
    signals: tuple[AbstractSignals, ...] = ()
    notes: tuple[str, ...] = ()

    def measured(self) -> Points:
        """The points; if there are none, the nodes of the surface with a LAT."""
        if len(self.points) or self.surface is None or "lat_ms" not in self.surface.fields:
            return self.points
        fields = self.surface.fields
        there = np.isfinite(fields["lat_ms"])
        known: dict[str, Any] = {name: fields[name][there] for name in NUMBERS if name in fields}
        return Points(self.surface.points[there], **known)

    def distance_mm(self) -> Float[np.ndarray, " points"]:
        """Distance of each measured point to the surface; NaN without a surface."""
        points = self.measured()
        if self.surface is None or not len(self.surface.triangles) or not len(points):
            return np.full(len(points), np.nan)
        return np.asarray(locate(self.surface.mesh(), points.positions).distance)


@dataclass(frozen=True)
class Study:
    """The content of one export of a mapping system.

    - `system`: "CARTO 3", "EnSite X", ...; `version`: of its format.
    - `name`: of the study, "" unless requested, because it often identifies the patient and the date.
    - `maps`: the maps, see `Map`.
    - `notes`: what was left out, and why. `sources`: file extension, sha256 and size in bytes of each
      file read completely.

    **Example:** `data = jt.read_mapping("export.zip").data()`
    """

    system: str
    version: str
    maps: tuple[Map, ...]
    name: str = ""
    notes: tuple[str, ...] = ()
    sources: tuple[tuple[str, str, int], ...] = ()

    def map(self, name: str) -> Map:
        """The map of this name. Raises `InputError` if there is none."""
        for each in self.maps:
            if each.name == name:
                return each
        raise InputError(
            f"no map '{name}' in the study", f"one of {', '.join(repr(each.name) for each in self.maps)}",
            "Choose one of them",
        )  # fmt: skip

    def data(self, names: tuple[str, ...] | None = None) -> MappingData:
        """The points of these maps, or of all maps with a valid LAT, as input of a fit.

        For a map without points the nodes of its surface are used, see `Map.measured`. Raises `InputError`
        without any valid LAT.
        """
        maps = [self.map(name) for name in names] if names is not None else list(self.maps)
        parts = [(each.name, each.measured()) for each in maps]
        if names is None:
            parts = [(name, points) for name, points in parts if points.valid.any()]
        empty = [name for name, points in parts if not points.valid.any()]
        if empty or not parts:
            raise InputError(
                f"{'map ' + repr(empty[0]) if empty else 'a study'} without a valid LAT",
                "at least one point with an activation time",
                "Choose another map, or annotate its waveforms (jaxtwin import --annotate)",
            )  # fmt: skip
        points = [each for _, each in parts]
        joined = {
            name: np.concatenate([getattr(each, name) for each in points])
            for name in ("positions", "lat_ms", "sigma_ms", "bipolar_mv", "unipolar_mv", "woi_ms", "valid")
        }
        reasons = [why for each in points for why in each.reason]
        notes = tuple(f"{reasons.count(why)} points not used: {why}" for why in dict.fromkeys(reasons) if why)
        return MappingData(
            **joined, map_index=np.repeat(np.arange(len(points)), [len(each) for each in points]),
            names=tuple(name for name, _ in parts), notes=notes,
        )  # fmt: skip
