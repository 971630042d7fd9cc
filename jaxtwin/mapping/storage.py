"""Study files: HDF5 that plain h5py reads. The layout is documented in docs/reference/study.md.

The first 512 bytes, which HDF5 leaves to the user, contain the name of the format and the hash of everything
that follows: HDF5 itself may not terminate on a damaged file, so damage is detected before HDF5 opens it.
"""

import hashlib
import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .._files import atomic_write, read_bytes
from .._processors import processors
from .._results import InputError, naming
from ..anatomy import Surface
from .study import NUMBERS, TEXTS, AbstractSignals, Map, Points, Signals, Study

FORMAT = "jaxtwin study 1"
HEAD = 512  # bytes
MOST = 200_000_000  # numbers of one array that is read whole
CHUNK = 2**20  # bytes
AHEAD = 4  # chunks that are read ahead


def write_study(path: str | Path, study: Study, report=lambda done, traces: None) -> None:
    """Writes a study atomically to an HDF5 file.

    **Arguments:** `report`: called with (done, traces) while waveforms are copied one by one.

    **Raises:** `InputError` if the folder is not writable, and for waveforms that cannot be read.

    **Example:** `jt.write_study("study.h5", jt.read_mapping("export.zip"))`
    """
    traces = sum(len(s.rows) for one in study.maps for s in one.signals)
    with atomic_write(path) as stream:
        with h5py.File(stream, "w", userblock_size=HEAD) as file:
            _write(file, study, lambda n: report(n, traces))
        stream.seek(HEAD)
        head = f"{FORMAT}\nsha256 {_hash(stream)}\n".encode()
        stream.seek(0)
        stream.write(head.ljust(HEAD, b"\0"))


def ours(path: Path) -> bool:
    """Whether a file has the signature of a jaxtwin study."""
    return path.is_file() and read_bytes(path, 14) == FORMAT[:14].encode()


def _hash(stream) -> str:
    """Hash of the rest of an open file."""
    return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(file: h5py.File, study: Study, report) -> None:
    done = 0
    file.attrs.update(format=FORMAT, system=study.system, version=study.version, name=study.name)
    file.attrs.update(notes=json.dumps(study.notes), sources=json.dumps(study.sources))
    for number, one in enumerate(study.maps):
        group = file.create_group(f"maps/{number:03d}")
        group.attrs.update(name=one.name, notes=json.dumps(one.notes))
        if one.surface is not None:
            _write_surface(group.create_group("surface"), one.surface)
        _write_points(group.create_group("points"), one.points)
        for block, signals in enumerate(one.signals):
            place = f"signals/{block:03d}"
            kind = signals.raw(0).dtype if len(signals.rows) else np.dtype(np.float32)
            # systems digitise to 16 bits: waveforms that do not fit are written again in full precision
            kinds = (np.dtype(np.int16), kind) if kind.kind in "iu" else (kind,)
            for each in kinds:
                if _stream(group.create_group(place), signals, each, lambda n, d=done: report(d + n)):
                    break
                del group[place]
            done += len(signals.rows)


def _write_surface(group: h5py.Group, surface: Surface) -> None:
    group["points"], group["triangles"], group["cut_out"] = surface.points, surface.triangles, surface.cut_out
    group["regions"] = surface.regions
    if surface.fibres is not None:
        group["fibres"] = surface.fibres
    for name, values in surface.fields.items():
        group[f"fields/{name}"] = values


def _write_points(group: h5py.Group, points: Points) -> None:
    for name in ("positions", "surface_positions", "woi_ms", *NUMBERS):
        group[name] = getattr(points, name)
    for name, values in points.more.items():
        group[f"more/{name}"] = values
    for name in TEXTS:
        group.create_dataset(name, data=list(getattr(points, name)), dtype=h5py.string_dtype())


def _stream(group: h5py.Group, signals: AbstractSignals, kind: np.dtype, report) -> bool:
    """Writes waveforms as numbers of this kind; False if one of them does not fit."""
    group["rows"] = signals.rows
    group.attrs.update(
        channels=json.dumps(signals.channels), rate_hz=signals.rate_hz, gain_mv=signals.gain_mv
    )
    shape = (len(signals.rows), signals.samples, len(signals.channels))
    row = max(signals.samples * len(signals.channels) * kind.itemsize, 1)
    chunk = (max(1, min(CHUNK // row, shape[0])), *shape[1:]) if all(shape) else None
    target = group.create_dataset("values", shape, kind, chunks=chunk)
    step, count = (chunk[0] if chunk else 1), len(signals.rows)

    def narrowed(first: int) -> tuple[np.ndarray, bool]:
        rows = range(first, min(first + step, count))
        found = np.empty((len(rows), *shape[1:]), kind)
        whole = True
        for k, trace in enumerate(rows):
            values = signals.raw(trace)
            found[k] = values.astype(kind)
            whole &= kind.kind != "i" or bool((found[k] == values).all())
        return found, whole

    # the next chunks are read while one is written, with one thread per processor
    with ThreadPoolExecutor(processors()) as pool:
        ahead = deque(pool.submit(narrowed, first) for first in range(0, min(AHEAD * step, count), step))
        for first in range(0, count, step):
            values, whole = ahead.popleft().result()
            if first + AHEAD * step < count:
                ahead.append(pool.submit(narrowed, first + AHEAD * step))
            if not whole:
                pool.shutdown(cancel_futures=True)
                return False
            target[first : first + step] = values
            report(min(first + step, count))
    return True


def read_study(path: str | Path) -> Study:
    """Reads a study that `write_study` wrote. Waveforms stay in the file until they are accessed.

    **Returns:** a `Study`.

    **Raises:** `InputError` for other files, for arrays of absurd size, and for links to other files.

    **Example:** `data = jt.read_study("study.h5").data()`
    """
    path = Path(path)
    if not ours(path):
        raise _refused(path, "it does not begin with the name of the format")
    with path.open("rb") as stream:
        head = stream.read(HEAD).rstrip(b"\0").decode("ascii", "replace").split()
        if head[:3] != FORMAT.split():
            raise _refused(path, f"format {' '.join(head[:3])!r}, written by another version")
        if head[3:] != ["sha256", _hash(stream)]:
            raise _refused(path, "what it holds has changed since it was written")
    try:
        with naming(path), h5py.File(path) as file:
            if file.attrs.get("format") != FORMAT:
                raise _refused(path, f"format {str(file.attrs.get('format'))[:40]!r}")
            names = sorted(_group(path, file, "maps")) if "maps" in file else []
            maps = tuple(_read_map(path, _group(path, file, f"maps/{name}")) for name in names)
            sources = tuple((str(a), str(b), int(c)) for a, b, c in json.loads(_text(file, "sources")))
            system, version, name = (_text(file, key) for key in ("system", "version", "name"))
            return Study(system, version, maps, name, _notes(file), sources)
    except InputError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
        raise _refused(path, " ".join(str(error).split())[:200]) from error


def _read_map(path: Path, group: h5py.Group) -> Map:
    surface = None
    if "surface" in group:
        found = _group(path, group, "surface")
        fields = _group(path, found, "fields") if "fields" in found else {}
        surface = Surface(
            _array(path, found, "points", "f"), _array(path, found, "triangles", "iu").astype(np.int64),
            cut_out=_array(path, found, "cut_out", "b"),
            regions=_array(path, found, "regions", "iu"),
            fibres=_array(path, found, "fibres", "f") if "fibres" in found else None,
            fields={name: _array(path, fields, name, "f") for name in _names(fields)},
        )  # fmt: skip
    found = _group(path, group, "points")
    columns: dict[str, Any] = {
        name: _array(path, found, name, "f")
        for name in ("positions", "surface_positions", "woi_ms", *NUMBERS)
    }
    for name in TEXTS:
        columns[name] = [each.decode() for each in _array(path, found, name, "O")]
    more = _group(path, found, "more") if "more" in found else {}
    points = Points(**columns, more={name: _array(path, more, name, "f") for name in _names(more)})
    blocks = _group(path, group, "signals") if "signals" in group else {}
    signals = tuple(_read_signals(path, _group(path, blocks, name), len(points)) for name in sorted(blocks))
    return Map(_text(group, "name"), surface, points, signals, _notes(group))


def _read_signals(path: Path, group: h5py.Group, points: int) -> Signals:
    rows, values = _array(path, group, "rows", "iu"), _dataset(path, group, "values")
    channels = tuple(map(str, json.loads(_text(group, "channels"))))
    if values.ndim != 3 or values.shape[0] != len(rows) or values.shape[2] != len(channels):
        raise _refused(
            path, f"waveforms of shape {values.shape} for {len(rows)} rows, {len(channels)} channels"
        )
    if len(rows) and not 0 <= rows.min() <= rows.max() < points:
        raise _refused(path, f"waveforms of points {rows.min()} to {rows.max()} of {points}")
    if values.shape[1] * values.shape[2] > MOST or values.dtype.kind not in "if":
        raise _refused(path, f"waveforms of shape {values.shape} and type {values.dtype}")
    place = values.name

    def read(trace: int) -> np.ndarray:
        with h5py.File(path) as file:
            return file[place][trace]  # type: ignore[index]

    return Signals(
        rows, channels, rate_hz=float(_text(group, "rate_hz")), gain_mv=float(_text(group, "gain_mv")),
        samples=values.shape[1], read=read,
    )  # fmt: skip


def _text(item, name: str) -> str:
    return str(item.attrs[name])


def _names(group) -> list[str]:
    return [str(name) for name in group]


def _notes(item) -> tuple[str, ...]:
    return tuple(map(str, json.loads(_text(item, "notes"))))


def _group(path: Path, parent, name: str) -> h5py.Group:
    if isinstance(parent.get(name, getlink=True), h5py.ExternalLink) or not isinstance(
        parent[name], h5py.Group
    ):
        raise _refused(path, f"{name} is no group of this file")
    return parent[name]


def _dataset(path: Path, parent, name: str) -> h5py.Dataset:
    found = None if isinstance(parent.get(name, getlink=True), h5py.ExternalLink) else parent[name]
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual or found.shape is None:
        raise _refused(path, f"{name} is no array of this file")
    return found


def _array(path: Path, parent, name: str, kinds: str) -> np.ndarray:
    found = _dataset(path, parent, name)
    size = int(found.size or 0)
    if size > MOST or found.dtype.kind not in kinds:
        raise _refused(path, f"{name} has shape {found.shape} and type {found.dtype}")
    # an array may declare any shape without any stored bytes
    if size > 1_000_000 and found.id.get_storage_size() * 1000 < size:
        raise _refused(path, f"{name} has shape {found.shape} and {found.id.get_storage_size()} bytes")
    return found[()]


def _refused(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path}, which is no study that jaxtwin wrote, or a damaged one ({reason})",
        "an HDF5 file made by `jaxtwin import`", "Import the export of the mapping system again",
    )  # fmt: skip
