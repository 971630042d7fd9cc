"""OpenEP: one map as the MATLAB structure `userdata`, in version 5 or 7.3 of the format."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

OBJECT = "TriRep"


def make(
    folder: Path,
    *,
    points: int = 12,
    seed: int = 0,
    version: str = "5",
    rate: float | None = 1000.0,
    missing: tuple[int, ...] = (1,),
    nan: tuple[int, ...] = (2,),
    outside: tuple[int, ...] = (3,),
    excluded: tuple[int, ...] = (4,),
    without: tuple[str, ...] = (),
    foreign: bool = False,
    compress: bool = True,
    first: int = 1,
    samples: int = 40,
) -> dict[str, Any]:
    """Writes `map.mat` and returns what is in it, in mm, ms and mV.

    `missing`: points whose mapAnnot is -10000 relative to their reference; `nan`: without a mapAnnot;
    `outside` of their window; `excluded`: with include = 0. `without`: fields left out, such as
    "electric.egmUni". `foreign`: an object in place of the surface. `first`: the number of the first node.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    rings = [
        np.stack([30 * np.cos(angles), 30 * np.sin(angles), np.full(8, 12.0 * z)], axis=1) for z in range(4)
    ]
    nodes = np.concatenate(rings)
    around = np.arange(8)
    quads = [
        np.stack([r * 8 + around, r * 8 + (around + 1) % 8, r * 8 + 8 + around], axis=1) for r in range(3)
    ]
    quads += [
        np.stack([r * 8 + (around + 1) % 8, r * 8 + 8 + (around + 1) % 8, r * 8 + 8 + around], axis=1)
        for r in range(3)
    ]
    triangles = np.concatenate(quads)
    hertz = rate or 1000.0
    reference = 15.0 + np.arange(points) % 5
    lat = random.integers(-8, 12, points).astype(float)
    woi = np.tile([-10.0, 14.0], (points, 1))
    mapped = reference + lat
    include = np.ones(points)
    for rows, values in (
        (missing, -10_000.0 + reference),
        (nan, np.full(points, np.nan)),
        (outside, reference + 20.0),
    ):
        for row in rows:
            if row < points:
                mapped[row] = values[row]
    for row in excluded:
        if row < points:
            include[row] = 0.0
    egm = random.normal(size=(points, samples)).round(3)
    pair = random.normal(size=(points, samples, 2)).round(3)
    ecg = random.normal(size=(points, samples, 2)).round(3)
    lat_field, bipolar_field = random.uniform(0, 100, (2, len(nodes)))
    lat_field[0] = -10_000.0
    tree: dict[str, Any] = {
        "cartoFolder": "C:\\exports\\Doe Jane 01_02_1950", "systemName": "carto",
        "notes": _cells(["of Jane Doe"]),
        "surface": {
            "triRep": {"X": nodes, "Triangulation": triangles + float(first)},
            "isVertexAtRim": np.isin(np.arange(len(nodes)), np.r_[:8, 24:32])[:, None],
            "act_bip": np.stack([lat_field, bipolar_field], axis=1),
            "uni_imp_frc": np.stack([2 * bipolar_field, np.nan * lat_field, bipolar_field / 3], axis=1),
        },
        "electric": {
            "tags": _cells([("" if k % 3 else "Scar") for k in range(points)]),
            "names": _cells([f"P{k + 1}" for k in range(points)]), "include": include[:, None],
            "sampleFrequency": np.array([[hertz]]),
            "electrodeNames_bip": _cells(["M1-M2" if k % 2 else "M3-M4" for k in range(points)]),
            "electrodeNames_uni": _cells(
                [pair[1 - k % 2] for pair in (("M1", "M3"), ("M2", "M4")) for k in range(points)]
            ).reshape((points, 2), order="F"),
            "egmX": random.normal(size=(points, 3)) * 20, "egm": egm, "egmUni": pair,
            "egmRef": egm[:, ::-1].copy(),
            "egmUniX": random.normal(size=(points, 3, 2)), "ecg": ecg, "ecgNames": _cells(["V1", "V6"]),
            "egmSurfX": random.normal(size=(points, 3)) * 21,
            "annotations": {"woi": woi, "referenceAnnot": reference[:, None], "mapAnnot": mapped[:, None]},
            "voltages": {
                "bipolar": np.ptp(egm, axis=1)[:, None], "unipolar": np.ptp(pair[..., 0], axis=1)[:, None],
            },
            "impedances": {"time": np.zeros((1, points)), "value": 100.0 + np.arange(points)[None, :]},
            "force": {"force": np.arange(points)[:, None] / 2.0},
        },
        "rf": {"originaldata": {}},
    }  # fmt: skip
    if rate is None:
        without = (*without, "electric.sampleFrequency")
    for name in without:
        *path, leaf = name.split(".")
        part = tree
        for each in path:
            part = part[each]
        del part[leaf]
    write(folder / "map.mat", tree, version, foreign, compress)
    scale = 1000.0 / hertz
    with np.errstate(invalid="ignore"):
        known = np.where(mapped - reference <= -9000, np.nan, (mapped - reference) * scale)
        out = (known < woi[:, 0] * scale) | (known > woi[:, 1] * scale)
    reason = np.select(
        [include == 0, np.isnan(known), out], ["not included", "no LAT", "outside the window of interest"], ""
    )
    return {
        "nodes": nodes, "triangles": triangles, "lat_field": np.where(lat_field < -9000, np.nan, lat_field),
        "bipolar_field": bipolar_field, "lat_ms": known, "reference_ms": reference * scale,
        "woi_ms": woi * scale,
        "reason": tuple(reason.tolist()), "rate_hz": hertz, "egm": egm, "egmUni": pair, "ecg": ecg,
        "electric": tree.get("electric", {}),
    }  # fmt: skip


def _cells(texts: list[str]) -> np.ndarray:
    cells = np.empty((len(texts), 1), object)
    cells[:, 0] = texts
    return cells


def write(
    path: Path, tree: dict[str, Any], version: str = "5", foreign: bool = False, compress: bool = True
) -> None:
    """Writes a structure; `foreign`: with an object of MATLAB in place of its surface."""
    if version == "5":
        if foreign:
            shape = tree["surface"]["triRep"]
            dtype = [(name, object) for name in shape]
            fields = np.empty((1, 1), dtype)
            for name, values in shape.items():
                fields[name][0, 0] = values
            tree = tree | {
                "surface": tree["surface"] | {"triRep": scipy.io.matlab.MatlabObject(fields, OBJECT)}
            }
        scipy.io.savemat(path, {"userdata": tree}, do_compression=compress, oned_as="column")
        return
    with h5py.File(path, "w", userblock_size=512) as file:
        _group(file, file.create_group("userdata"), tree)
        if foreign:
            del file["userdata/surface/triRep"]
            data = file["userdata/surface"].create_dataset(
                "triRep", data=np.arange(6, dtype=np.uint32)[None, :]
            )  # type: ignore[union-attr]
            data.attrs["MATLAB_class"] = np.bytes_(OBJECT)
            data.attrs["MATLAB_object_decode"] = np.int32(3)
    head = b"MATLAB 7.3 MAT-file, made up".ljust(124) + b"\x00\x02IM"
    with path.open("r+b") as stream:
        stream.write(head)


def _group(file: h5py.File, group: h5py.Group, tree: dict[str, Any]) -> None:
    group.attrs["MATLAB_class"] = np.bytes_("struct")
    for name, value in tree.items():
        if isinstance(value, dict):
            _group(file, group.create_group(name), value)
        else:
            _dataset(file, group, name, value)


def _dataset(file: h5py.File, group: h5py.Group, name: str, value: Any) -> None:
    """Arrays with their axes in the opposite order, texts as numbers, cells as references."""
    if isinstance(value, str):
        text = np.frombuffer(value.encode("utf-16-le"), np.uint16)
        data, kind = (text[:, None], "char") if value else (np.array([0, 0], np.uint64), "char")
        made = group.create_dataset(name, data=data)
        if not value:
            made.attrs["MATLAB_empty"] = np.uint8(1)
    elif value.dtype == object:
        refs = np.empty(value.shape, object)
        for index, each in np.ndenumerate(value):
            place = file.require_group("#refs#")
            key = f"c{len(place)}"
            _dataset(file, place, key, each)
            refs[index] = place[key].ref
        kind, made = "cell", group.create_dataset(name, data=refs.T, dtype=h5py.ref_dtype)
    elif not value.size:
        kind, made = "double", group.create_dataset(name, data=np.array(value.shape, np.uint64))
        made.attrs["MATLAB_empty"] = np.uint8(1)
    else:
        kind = "logical" if value.dtype == bool else "double"
        made = group.create_dataset(name, data=value.T.astype(np.uint8) if value.dtype == bool else value.T)
    made.attrs["MATLAB_class"] = np.bytes_(kind)
