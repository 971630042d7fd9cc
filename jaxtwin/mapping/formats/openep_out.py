"""OpenEP data sets, written: one map as the MATLAB structure `userdata`, version 5."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from ..._files import atomic_write
from ..._results import InputError
from ...anatomy import Surface
from ..study import Map, Points, Study
from .matlab5 import cells
from .openep import DERIVED, MISSING, RATE_HZ


def write_openep(path: str | Path, study: Study, map_name: str | None = None) -> None:
    """Writes one map as a data set of OpenEP, a MAT-file of version 5, whole or not at all.

    `map_name` chooses the map where the study has several. Times are written in samples, as doubles and
    not rounded, at the rate of the waveforms (1000 Hz without them). The bipolar waveform of a point is that
    of its `bipolar_channel`, or of a channel "bipolar"; the unipolar ones are that of its `unipolar_channel`
    and of the second electrode of the bipolar one, or of channels "unipolar 1" and "unipolar 2"; the
    reference is that of its `reference_channel`, or of "reference"; all other channels go to the ECG.

    The format cannot hold: reasons (points with one of their own are written with include = 0), `sigma_ms`,
    `more`, fields of the surface other than LAT, voltages, impedance and force, gains (waveforms are
    written in mV), notes and sources, and a reference annotation that is not known (written as 0). It has
    no place for triangles that are cut out either: they stay in the surface, a field `isCutOut` of ours
    marks them, and `isVertexAtRim` the nodes they share with the rest.

    Raises `InputError` where the map is not named or not there, where the folder cannot be written, for
    waveforms of several rates or lengths and for more than 2 GB of them.
    """
    if map_name is None and len(study.maps) != 1:
        raise InputError(
            f"a study with {len(study.maps)} maps", "one map in each file", "Choose a map by its name"
        )
    one = study.maps[0] if map_name is None else study.map(map_name)
    surface: dict[str, Any] = {"triRep": {"X": np.zeros((0, 3)), "Triangulation": np.zeros((0, 3))}}
    if one.surface is not None:
        surface = _surface_out(one.surface)
    userdata = {
        "systemName": study.system, "mapName": one.name, "notes": _strings([]), "surface": surface,
        "electric": _electric_out(one), "rf": {},
    }  # fmt: skip
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"userdata": userdata}, do_compression=True, oned_as="column")
    with atomic_write(path) as target:
        target.write(stream.getbuffer())


def _strings(texts) -> np.ndarray:
    return cells(list(texts), (len(texts), 1))


def _surface_out(surface: Surface) -> dict[str, Any]:
    absent = np.full(len(surface.points), np.nan)

    def table(*names: str) -> np.ndarray:
        return np.stack([surface.fields.get(name, absent) for name in names], axis=1)

    cut = np.zeros((2, len(surface.points)), bool)  # nodes of triangles that are there, and of those cut out
    for row, triangles in zip(cut, (~surface.cut_out, surface.cut_out), strict=True):
        row[surface.triangles[triangles]] = True
    return {
        "triRep": {"X": surface.points, "Triangulation": surface.triangles + 1.0},
        "isVertexAtRim": (cut[0] & cut[1])[:, None], "isCutOut": surface.cut_out[:, None],
        "act_bip": table("lat_ms", "bipolar_mv"),
        "uni_imp_frc": table("unipolar_mv", "impedance_ohm", "force_g"),
    }  # fmt: skip


def _electric_out(one: Map) -> dict[str, Any]:
    points, count = one.points, len(one.points)
    rates = {each.rate_hz for each in one.signals if len(each.rows)}
    lengths = {each.samples for each in one.signals if len(each.rows)}
    if len(rates) > 1 or len(lengths) > 1:
        raise InputError(
            f"waveforms at {sorted(rates)} Hz of {sorted(lengths)} samples",
            "one rate and one length for all", "Leave out the waveforms of the other kind",
        )  # fmt: skip
    rate = rates.pop() if rates else RATE_HZ
    reference = np.nan_to_num(points.reference_ms) * rate / 1000.0
    mapped = reference + np.where(np.isfinite(points.lat_ms), points.lat_ms * rate / 1000.0, MISSING)
    electric = {
        "tags": _strings(points.tags), "names": _strings(points.ids),
        "include": np.array([why in DERIVED for why in points.reason], np.float64),
        "sampleFrequency": rate, "egmX": points.positions, "egmSurfX": points.surface_positions,
        "annotations": {
            "woi": points.woi_ms * rate / 1000.0, "referenceAnnot": reference, "mapAnnot": mapped,
        },
        "voltages": {"bipolar": points.bipolar_mv, "unipolar": points.unipolar_mv},
        "impedances": {"time": np.zeros((1, count)), "value": points.impedance_ohm[None, :]},
        "force": {"force": points.force_g}, "barDirection": np.zeros((0, 0)),
    }  # fmt: skip
    return electric | _waveforms_out(one, lengths.pop() if lengths else 0)


def _waveforms_out(one: Map, samples: int) -> dict[str, Any]:
    points, count = one.points, len(one.points)
    chosen = [
        (each, trace, _roles(each.channels, points, int(row)))
        for each in one.signals
        for trace, row in enumerate(each.rows)
    ]
    taken = {id(each): set() for each in one.signals}
    for each, _, roles in chosen:
        taken[id(each)] |= set(roles.values())
    others: dict[str, int] = {}
    for each in one.signals:
        for channel in each.channels:
            if channel not in taken[id(each)]:
                others.setdefault(channel, len(others))
    bytes_each = 8 * count * samples
    if bytes_each * max(2, len(others)) >= 2**31:
        raise InputError(
            f"waveforms of {count} points, {samples} samples and {len(others)} channels of ECG",
            "less than 2 GB of each kind, as version 5 of the format can hold",
            "Write fewer points or channels",
        )  # fmt: skip
    names = {key: [""] * count for key in ("bipolar", "unipolar 1", "unipolar 2", "reference")}
    names["bipolar"], names["unipolar 1"] = list(points.bipolar_channel), list(points.unipolar_channel)
    names["reference"] = list(points.reference_channel)
    shape = (count, samples)
    arrays = {key: np.full(shape, np.nan) for key in names} if samples else {}
    ecg = np.full((*shape, len(others)), np.nan) if samples and others else np.zeros((0, 0))
    for each, trace, roles in chosen:
        row, values = int(each.rows[trace]), each.mv(trace)
        for key, channel in roles.items():
            arrays[key][row] = values[:, each.channels.index(channel)]
            names[key][row] = channel
        for channel, place in others.items():
            if channel in each.channels and channel not in taken[id(each)]:
                ecg[row, :, place] = values[:, each.channels.index(channel)]
    none = np.zeros((0, 0))
    known = {key: found for key, found in arrays.items() if np.isfinite(found).any()}
    unipolar = (
        [arrays[key] for key in ("unipolar 1", "unipolar 2")]
        if {"unipolar 1", "unipolar 2"} & set(known)
        else []
    )
    pairs = np.stack([_strings(names[key])[:, 0] for key in ("unipolar 1", "unipolar 2")], axis=1)
    return {
        "egm": known.get("bipolar", none), "egmRef": known.get("reference", none),
        "egmUni": np.stack(unipolar, axis=2) if unipolar else none,
        "egmUniX": np.full((count, 3, 2), np.nan) if unipolar else none,
        "ecg": ecg, "ecgNames": _strings(list(others)), "egmRefNames": _strings(names["reference"]),
        "electrodeNames_bip": _strings(names["bipolar"]), "electrodeNames_uni": pairs,
    }  # fmt: skip


def _roles(channels: tuple[str, ...], points: Points, row: int) -> dict[str, str]:
    """What channels of a group are to a point."""
    bipolar = points.bipolar_channel[row]
    parts = bipolar.split("-")
    ends = [("-".join(parts[:k]), "-".join(parts[k:])) for k in range(1, len(parts))]
    pair = next((each for each in ends if each[0] in channels and each[1] in channels), ("", ""))
    wanted = {
        "bipolar": (bipolar, "bipolar"), "unipolar 1": (points.unipolar_channel[row], pair[0], "unipolar 1"),
        "unipolar 2": (pair[1], "unipolar 2"), "reference": (points.reference_channel[row], "reference"),
    }  # fmt: skip
    roles: dict[str, str] = {}
    for key, names in wanted.items():
        found = [name for name in names if name in channels and name not in roles.values()]
        if found:
            roles[key] = found[0]
    return roles
