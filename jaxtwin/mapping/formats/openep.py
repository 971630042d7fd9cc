"""OpenEP data sets: one map as the MATLAB structure `userdata`, in versions 5 to 7.3.

Source: the fields as openep-core and openep-py name them (openep.io).
"""

from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ..._results import InputError
from ...anatomy import Surface
from ..data import SENTINEL
from ..study import AbstractSignals, Map, Points, Signals, Study
from .files import Files
from .matlab5 import Foreign, Level5
from .matlab73 import FOLDERS, WAVEFORMS, Later, read_later
from .openep_cells import text_of, trace_reader

RATE_HZ = 1000.0  # if the file does not give it
MISSING = -10_000.0  # of a LAT in samples, as CARTO has it
DERIVED = "", "no LAT", "outside the window of interest"  # reasons that a reader finds again by itself
HDF5 = b"\x89HDF\r\n\x1a\n"


def recognises(files: Files) -> bool:
    """Whether there is a MAT-file of version 5 or later."""
    return any(_layout(files.head(name, 520)) for name in files.find(".mat"))


def _layout(head: bytes) -> str:
    if head.startswith(HDF5) or head[512:].startswith(HDF5):
        return "7.3"
    return "5" if head[:6] == b"MATLAB" and head[126:128] in (b"IM", b"MI") else ""


def read(files: Files, identity: bool) -> Study:
    """The map of a data set. `identity` keeps the folder it was made from, as the name of the study.

    LATs are mapAnnot less referenceAnnot, from samples to ms; those of -10000 samples are missing. The
    waveforms of a point stand under the names of its electrodes, or else as "bipolar", "unipolar 1",
    "unipolar 2"; the others as "reference" and by the names of the ECG. Of version 7.3 they are read when
    asked for. Triangles count as cut out only where `write_openep` said so: `isVertexAtRim` marks the rim of
    holes, where triangles are no more.

    Raises `InputError` for damage, for MATLAB objects in place of the surface, for columns of another
    length, and for several data sets in one place.
    """
    names = [name for name in files.find(".mat") if _layout(files.head(name, 520))]
    if len(names) != 1:
        raise InputError(
            f"{files.path} with {len(names)} MAT-files", "one data set of OpenEP", "Give the .mat of one map"
        )
    where = f"{files.path}: {names[0]}"
    version = _layout(files.head(names[0], 520))
    tree = (
        read_later(files, names[0], where)
        if version == "7.3"
        else Level5(files.read(names[0]), where).userdata()
    )
    with np.errstate(all="ignore"):  # damaged files may hold any bit pattern
        return _Userdata(tree, where).study(version, identity, files)


class _Userdata:
    """The structure, of either version, as a study."""

    def __init__(self, tree: Any, where: str):
        if not isinstance(tree, dict):
            raise InputError(
                f"{where}, whose userdata is no structure", "a data set of OpenEP", "Save it again"
            )
        self.tree, self.where, self.notes = tree, where, []

    def at(self, *names: str) -> Any:
        """The value there; None if it is missing or empty."""
        found = self.tree
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        empty = (
            0 in found.shape if isinstance(found, np.ndarray | Later) else found is None or found in ("", {})
        )
        return None if empty else found

    def numbers(self, *names: str) -> np.ndarray | None:
        found = self.at(*names)
        if found is None:
            return None
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
            kind = f" ({found.kind})" if isinstance(found, Foreign) else ""
            raise self.refused(f"{'.'.join(names)}, which is no array of numbers{kind}", "numbers")
        return found.astype(np.float64)

    def refused(self, got: str, wanted: str) -> InputError:
        return InputError(f"{self.where}: {got}", wanted, "Save the data set again, or correct that field")

    def rows(self, width: int, count: int | None, *names: str) -> np.ndarray | None:
        """(count, width) numbers."""
        found = self.numbers(*names)
        if found is None:
            return None
        if (
            found.size % width
            or found.shape[-1] != width
            or (count is not None and found.size != count * width)
        ):
            wanted = f"shape ({'any' if count is None else count}, {width})"
            raise self.refused(f"{'.'.join(names)} of shape {found.shape}", wanted)
        return found.reshape(-1, width)

    def column(self, count: int, *names: str) -> np.ndarray:
        """A number for each point, NaN where the field is missing; of several columns the first."""
        found = self.numbers(*names)
        if found is None:
            return np.full(count, np.nan)
        if found.ndim == 2 and found.shape[0] == count and count > 1:
            found = found[:, 0]
        if found.size != count:
            raise self.refused(
                f"{'.'.join(names)} of shape {found.shape}", f"one number for each of {count} points"
            )
        return found.ravel()

    def texts(self, count: int, *names: str) -> list[str]:
        found = self.at(*names)
        if found is None:
            return [""] * count
        if isinstance(found, str):
            return [found] * count
        each = found.ravel(order="F").tolist() if isinstance(found, np.ndarray) else []
        if len(each) % max(count, 1) or len(each) < count:
            raise self.refused(
                f"{'.'.join(names)} with {len(each)} entries", f"one for each of {count} points"
            )
        return [text_of(value) for value in each]

    def study(self, version: str, identity: bool, files: Files) -> Study:
        surface = self.surface()
        points, kept, rate = self.points()
        points, signals = self.signals(points, kept, rate)
        if surface is None and not len(points):
            raise self.refused("neither a surface nor points", "surface.triRep or electric.egmX")
        system = self.at("systemName")
        if isinstance(system, str):
            self.notes.append(f"exported from {system}")
        folders = [each for name in FOLDERS if isinstance(each := self.at(name), str)]
        name = PurePosixPath(folders[0].replace("\\", "/")).name if identity and folders else ""
        label = self.at("mapName")
        label = label if isinstance(label, str) else "map"
        return Study(
            "OpenEP", version, (Map(label, surface, points, signals, tuple(self.notes)),), name,
            tuple(files.notes), files.sources,
        )  # fmt: skip

    def surface(self) -> Surface | None:
        found = self.at("surface", "triRep")
        if isinstance(found, Foreign):
            raise InputError(
                f"{self.where}: surface.triRep, which is a MATLAB object ({found.kind}) that only MATLAB "
                "can read", "a structure with X and Triangulation",
                "In MATLAB: t = userdata.surface.triRep; userdata.surface.triRep = struct('X', t.X, "
                "'Triangulation', t.Triangulation) (of a triangulation: t.Points, t.ConnectivityList), and "
                "save it",
            )  # fmt: skip
        tree = ("surface", "triRep")
        nodes = self.rows(3, None, *tree, "X" if self.at(*tree, "X") is not None else "Points")
        if nodes is None:
            return None
        names = [
            each
            for each in ("Triangulation", "ConnectivityList", "Connectivity")
            if self.at(*tree, each) is not None
        ]
        triangles = self.rows(3, None, *tree, *names[:1]) if names else np.zeros((0, 3))
        assert triangles is not None
        if triangles.size and (
            not (triangles == np.round(triangles)).all()
            or not 1 <= triangles.min() <= triangles.max() <= len(nodes)
        ):
            raise self.refused(
                f"triangles with corners {np.min(triangles)} to {np.max(triangles)} on {len(nodes)} nodes",
                f"whole numbers from 1 to {len(nodes)}",
            )
        fields = {}
        for field, names in (
            ("act_bip", ("lat_ms", "bipolar_mv")),
            ("uni_imp_frc", ("unipolar_mv", "impedance_ohm", "force_g")),
        ):
            table = self.rows(len(names), len(nodes), "surface", field)
            if table is not None:
                table[~np.isfinite(table) | (table <= SENTINEL)] = np.nan
                fields |= {
                    name: each for name, each in zip(names, table.T, strict=True) if np.isfinite(each).any()
                }
        cut = self.numbers("surface", "isCutOut")
        if cut is not None and cut.size != len(triangles):
            raise self.refused(
                f"surface.isCutOut with {cut.size} values", f"one for each of {len(triangles)} triangles"
            )
        return Surface(
            nodes,
            triangles.astype(np.int64) - 1,
            fields=fields,
            cut_out=None if cut is None else cut.ravel() != 0,
        )

    def points(self) -> tuple[Points, np.ndarray, float]:
        """The points, their rows in the file, and the sampling rate in Hz."""
        positions = self.rows(3, None, "electric", "egmX")
        count = 0 if positions is None else len(positions)
        rate = self.numbers("electric", "sampleFrequency")
        hertz = RATE_HZ if rate is None or not np.isfinite(rate.flat[0]) else float(rate.flat[0])
        if not 1.0 <= hertz <= 1e6:
            raise self.refused(f"electric.sampleFrequency {hertz:g} Hz", "a rate from 1 Hz to 1 MHz")
        if rate is None and count:
            self.notes.append(f"sampling rate not given: taken as {RATE_HZ:g} Hz")
        if positions is None:
            return Points(np.zeros((0, 3))), np.zeros(0, np.int64), hertz
        reference = self.column(count, "electric", "annotations", "referenceAnnot")
        mapped = self.column(count, "electric", "annotations", "mapAnnot")
        woi = self.rows(2, count, "electric", "annotations", "woi")
        include = self.column(count, "electric", "include")
        samples = mapped - reference
        samples[~np.isfinite(samples) | (samples <= SENTINEL) | (mapped <= SENTINEL)] = np.nan
        lat, reference = samples * 1000.0 / hertz, reference * 1000.0 / hertz
        woi = np.full((count, 2), np.nan) if woi is None else woi * 1000.0 / hertz
        out = (lat < woi[:, 0]) | (lat > woi[:, 1])
        reason = np.select(
            [include == 0, np.isnan(lat), out], ["not included", DERIVED[1], DERIVED[2]], ""
        ).tolist()
        surface = self.rows(3, count, "electric", "egmSurfX")
        voltages = [self.column(count, "electric", "voltages", each) for each in ("bipolar", "unipolar")]
        for each in voltages:
            each[each <= SENTINEL] = np.nan
        columns: dict[str, Any] = dict(
            lat_ms=lat, reference_ms=reference, woi_ms=woi, reason=reason, bipolar_mv=voltages[0],
            unipolar_mv=voltages[1], surface_positions=surface, impedance_ohm=self.impedance(count),
            force_g=self.column(count, "electric", "force", "force"),
            tags=self.texts(count, "electric", "tags")[:count],
            ids=self.texts(count, "electric", "names")[:count],
            bipolar_channel=self.texts(count, "electric", "electrodeNames_bip")[:count],
            unipolar_channel=self.texts(count, "electric", "electrodeNames_uni")[:count],
            reference_channel=self.references(count),
        )  # fmt: skip
        there = np.asarray(np.isfinite(positions).all(axis=1))
        kept = np.flatnonzero(there)
        if len(kept) < count:
            self.notes.append(f"{count - len(kept)} points not read: they have no position")
        whole = Points(np.where(there.reshape(-1, 1), positions, 0.0), **columns)
        return whole.subset(kept), kept, hertz

    def impedance(self, count: int) -> np.ndarray:
        """One number for each point: the mean of its trace."""
        found = self.at("electric", "impedances", "value")
        if isinstance(found, np.ndarray) and found.dtype.kind == "O":
            traces = found.ravel(order="F").tolist()
        else:
            table = self.numbers("electric", "impedances", "value")
            if table is None:
                return np.full(count, np.nan)
            # OpenEP keeps points in columns here, its Python edition in rows
            traces = list(table.T if table.shape[-1] == count else table)
        if len(traces) != count:
            raise self.refused(
                f"electric.impedances.value with {len(traces)} traces", f"one for each of {count} points"
            )
        means = np.full(count, np.nan)
        for k, trace in enumerate(traces):
            known = (
                np.asarray(trace, np.float64)
                if getattr(trace, "dtype", np.dtype("O")).kind in "biuf"
                else np.zeros(0)
            )
            known = known[np.isfinite(known)]
            if known.size:
                means[k] = known[0] if (known == known[0]).all() else np.clip(known, -1e9, 1e9).mean()
        return means

    def signals(
        self, points: Points, kept: np.ndarray, rate: float
    ) -> tuple[Points, tuple[AbstractSignals, ...]]:
        """Waveforms in groups of the same electrodes, and the points with the names of their channels."""
        count = self.rows(3, None, "electric", "egmX")
        count = 0 if count is None else len(count)
        arrays = {}
        for name in WAVEFORMS:
            found = self.at("electric", name)
            if found is None or not count:
                continue
            if not isinstance(found, Later) and (
                not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf"
            ):
                raise self.refused(f"electric.{name}, which is no array of numbers", "waveforms")
            if found.ndim not in (2, 3) or found.shape[0] != count:
                raise self.refused(f"electric.{name} of shape {found.shape}", f"waveforms of {count} points")
            arrays[name] = found
        lengths = {name: found.shape[1] for name, found in arrays.items()}
        groups: list[AbstractSignals] = []
        points_channels = {
            each: list(getattr(points, each))
            for each in ("bipolar_channel", "unipolar_channel", "reference_channel")
        }
        for samples in dict.fromkeys(lengths.values()):
            alike = {name: found for name, found in arrays.items() if lengths[name] == samples}
            groups += self.group(alike, points_channels, kept, rate, samples, count)
        gains = [self.at("electric", name) for name in ("egmGain", "egmUniGain", "egmRefGain", "ecgGain")]
        if any(
            isinstance(each, np.ndarray) and each.dtype.kind in "iuf" and (each != 1).any() for each in gains
        ):
            self.notes.append("gains of the display not applied to waveforms")
        heard = {int(row) for group in groups for row in group.rows}
        # without a waveform, a reference of 0 has no time base
        silent = [k not in heard and points.reference_ms[k] == 0.0 for k in range(len(points))]
        reference = np.where(np.array(silent, bool), np.nan, points.reference_ms)
        return points.changed(reference_ms=reference, **points_channels), tuple(groups)

    def group(self, arrays: dict[str, Any], texts, kept, rate, samples, count) -> list[AbstractSignals]:
        there, columns = [], []  # where each channel has numbers, by its first and last sample
        for name, found in arrays.items():
            ends = [np.asarray(found[:, k], np.float64).reshape(count, -1)[kept] for k in (0, samples - 1)]
            known = np.isfinite(ends[0]) | np.isfinite(ends[1])
            for channel in range(known.shape[1]):
                if known[:, channel].any():
                    columns.append((name, channel))
                    there.append(known[:, channel])
        if not columns:
            return []
        names = {
            "egm": [self.texts(count, "electric", "electrodeNames_bip")],
            "egmUni": self.pairs(count), "egmRef": [self.references(count)],
        }  # fmt: skip
        ecg = self.at("electric", "ecgNames")
        ecg = [
            text_of(each)
            for each in (ecg.ravel(order="F").tolist() if isinstance(ecg, np.ndarray) else [ecg or ""])
        ]
        members: dict[tuple[str, ...], list[int]] = {}
        for row, place in enumerate(kept.tolist()):
            if not any(each[row] for each in there):
                continue
            channels = []
            for name, channel in columns:
                known = names.get(name, [])
                own = known[channel][place] if channel < len(known) else ""
                if name == "ecg":
                    own = ecg[channel] if channel < len(ecg) else ""
                plain = {"egm": "bipolar", "egmUni": f"unipolar {channel + 1}", "egmRef": "reference"}.get(
                    name
                )
                own = own or plain or f"ECG {channel + 1}"
                channels.append(own if own not in channels else f"{own} ({name} {channel + 1})")
                column = {
                    "egm": "bipolar_channel",
                    "egmUni": "unipolar_channel",
                    "egmRef": "reference_channel",
                }.get(name)
                if column and channel == 0 and there[columns.index((name, channel))][row]:
                    texts[column][row] = channels[-1]
            members.setdefault(tuple(channels), []).append(row)
        return [
            Signals(
                rows, channels, rate_hz=rate, samples=samples, gain_mv=1.0,
                read=trace_reader(arrays, columns, [int(kept[row]) for row in rows]),
            )
            for channels, rows in members.items()
        ]  # fmt: skip

    def references(self, count: int) -> list[str]:
        """The name of the reference of each point; one name is that of all, and no other count is a name."""
        found = self.at("electric", "egmRefNames")
        each = found.ravel(order="F").tolist() if isinstance(found, np.ndarray) else [found or ""]
        each = each * count if len(each) == 1 else each
        return [text_of(value) for value in each] if len(each) == count else [""] * count

    def pairs(self, count: int) -> list[list[str]]:
        """Names of the first and the second electrode of each point."""
        each = self.texts(count, "electric", "electrodeNames_uni")
        return [each[k : k + count] for k in range(0, len(each), count)]
