"""CARTO 3 exports: the study, its maps and points. Layout as found in real files, see
docs/reference/formats.md."""

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np

from ..._results import InputError
from ...anatomy import Surface
from ..study import AbstractSignals, Map, Points, Signals, Study
from . import carto_mesh, carto_signals
from .files import Files
from .xml import number, numbers, parse_xml, read_xml

MISSING = -10_000.0  # of a LAT, relative to the reference: the annotation itself is this plus the reference
CAR = re.compile(rb"VERSION_(\d+)_(\d+)")
LOCATION_ONLY = "Location Only"


def recognises(files: Files) -> bool:
    """Whether there is a study, a mesh or a table of points of CARTO."""
    return bool(_studies(files)) or any(
        files.head(name, 40).startswith(mark)
        for suffix, mark in ((".mesh", carto_mesh.MARK), ("_car.txt", b"VERSION_"))
        for name in files.find(suffix)[:1]
    )


def read(files: Files, identity: bool) -> Study:
    """The study of an export. Raises `InputError` for several studies in one place, for parts that are
    missing or belong to other versions, and for damage, with file and line or element."""
    studies = _studies(files)
    if len(studies) > 1:
        raise InputError(
            f"{files.path} with {len(studies)} studies",
            "the folder or zip of one",
            "Give each study on its own",
        )
    if len(files.names) == 1 and not files.path.is_dir() and files.path.suffix.lower() == ".xml":
        files = Files(files.path.parent)  # the study of a folder was given by its name
        studies = _studies(files)
    notes = list(files.notes)
    if studies:
        root = read_xml(files, studies[0])
        units = root.find("Units")
        unit = "mm" if units is None else units.get("Distance", "mm")
        if unit != "mm":
            raise InputError(
                f"{files.path}: {studies[0]} with distances in {unit[:20]!r}", "mm", "Export it in mm"
            )
        tags = {each.get("ID", ""): each.get("Full_Name", "") for each in root.iter("Tag")}
        parts = [_Part.of_study(each, studies[0], tags) for each in root.iter("Map")]
        name = root.get("name", "")
    else:
        notes.append("no study file (Study*.xml): tags and places on the surface are not known")
        tables, meshes = files.find("_car.txt"), files.find(".mesh")
        stems = {each[: -len("_car.txt")]: each for each in tables} | {
            each[: -len(".mesh")]: each for each in meshes
        }
        parts = [_Part(stem.rpartition("/")[2], beside=stems[stem]) for stem in sorted(stems)]
        name = ""
    maps = []
    for part in parts:
        one = _read_map(files, part)
        if one.surface is None and not len(one.points):
            notes.append(f"map {part.name!r} not read: it has neither a surface nor points")
        else:
            maps.append(one)
    if not maps:
        raise InputError(
            f"{files.path}, a CARTO study without a map", "a map with its .mesh or its points",
            "Export the maps of the study too",
        )  # fmt: skip
    version = next((part.version for part in parts if part.version), "")
    return Study(
        "CARTO 3", version, tuple(maps), name if identity else "", tuple(notes),
        files.sources,
    )  # fmt: skip


def _studies(files: Files) -> list[str]:
    # one for each point, of which there may be 20,000
    names = [name for name in files.find(".xml") if not name.lower().endswith("_point_export.xml")]
    return [name for name in names if re.search(rb"<Study\s", files.head(name, 2048))]


@dataclass
class _Part:
    """A map as listed in the study. `beside`: a file in the folder of the others. `version`: of its table."""

    name: str
    beside: str
    mesh: str = ""
    version: str = ""
    ids: list[str] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)
    virtual: list[np.ndarray] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    @classmethod
    def of_study(cls, element: Element, file: str, tags: dict[str, str]) -> "_Part":
        name = element.get("Name", "")
        part = cls(name, file, mesh=element.get("FileNames", ""))
        for point in element.iter("Point"):
            where = f"{file}: map {name!r}, point {point.get('Id', '?')}"
            part.ids.append(point.get("Id", ""))
            part.positions.append(numbers(point.get("Position3D"), 3, where))
            virtual = point.find("VirtualPoint")
            place = None if virtual is None else virtual.get("Position3D")
            part.virtual.append(np.full(3, np.nan) if place is None else numbers(place, 3, where))
            marked = " ".join(each.text or "" for each in point.iter("Tags")).split()
            part.tags.append("; ".join(tags.get(each, each) or each for each in marked))
        return part


def _read_map(files: Files, part: _Part) -> Map:
    surface, notes = _surface(files, part)
    table = _car(files, part)
    ids, positions = part.ids, np.array(part.positions).reshape(-1, 3)
    virtual, tags = np.array(part.virtual).reshape(-1, 3), part.tags
    if not ids and len(table):
        ids, positions = [f"{row[2]:.0f}" for row in table], table[:, 4:7]
        virtual, tags = np.full((len(ids), 3), np.nan), [""] * len(ids)
    if not ids:
        return Map(part.name, surface, notes=tuple(notes))
    if len(set(ids)) < len(ids):
        raise InputError(
            f"{files.path}: map {part.name!r} with points that share an Id", "one each", "Export it again"
        )
    acquired = _Acquired(len(ids))
    rows = {each: row for row, each in enumerate(ids)}
    _of_car(acquired, table, rows, notes)
    names = _point_files(files, part, rows)
    for row, file in names.items():
        _of_point(acquired, files, file, row, notes)
    signals, channels = _signals(files, part, ids, names)
    reason = acquired.reasons(tags)
    points = Points(
        positions, surface_positions=virtual, lat_ms=acquired.lat, reference_ms=acquired.reference,
        woi_ms=acquired.woi, bipolar_mv=acquired.bipolar, unipolar_mv=acquired.unipolar,
        impedance_ohm=acquired.impedance, force_g=acquired.force, ids=ids, tags=tags, reason=reason,
        **channels, more=_electrodes(files, part, ids),
    )  # fmt: skip
    return Map(part.name, surface, points, signals, tuple(dict.fromkeys(notes)))


class _Acquired:
    """Columns of the points of a map, filled file by file."""

    def __init__(self, count: int):
        self.lat, self.reference, self.bipolar, self.unipolar, self.impedance, self.force = np.full(
            (6, count), np.nan
        )
        self.woi = np.full((count, 2), np.nan)

    def reasons(self, tags: list[str]) -> list[str]:
        """Why each LAT cannot be used. The end of the window is exclusive, as in the system."""
        found = []
        for lat, (first, last), tag in zip(self.lat, self.woi, tags, strict=True):
            if not np.isfinite(lat):
                found.append("no LAT")
            elif lat <= first or lat >= last:
                found.append("outside the window of interest")
            else:
                found.append("location only" if LOCATION_ONLY in tag.split("; ") else "")
        return found


def _surface(files: Files, part: _Part) -> tuple[Surface | None, list[str]]:
    name = files.beside(part.beside, PurePosixPath(part.mesh or f"{part.name}.mesh").name)
    if name is None:
        return None, ["no surface: its .mesh is not in the export"]
    return carto_mesh.read_carto_mesh(files, name)


def _car(files: Files, part: _Part) -> np.ndarray:
    """The table of points, (points, columns), NaN for entries that are not numbers. Stores its version in the
    part."""
    name = files.beside(part.beside, f"{part.name}_car.txt")
    if name is None:
        return np.zeros((0, 0))
    lines = files.read(name).splitlines()
    version = CAR.match(lines[0]) if lines else None
    if version is None:
        raise InputError(
            f"{files.path}: {name} line 1: {(lines[0] if lines else b'')[:40].decode('cp1252', 'replace')!r}",
            "VERSION_ and the name of the map", "Export it again",
        )  # fmt: skip
    rows, width = [], 0
    for line, raw in enumerate(lines[1:], 2):
        cells = raw.decode("cp1252", "replace").split("\t")
        if not raw.strip():
            continue
        width = width or len(cells)
        if cells[0].strip() != "P" or len(cells) != width or width < 14:
            raise InputError(
                f"{files.path}: {name} line {line} with {len(cells)} columns, {cells[0][:10]!r} first",
                f"P and {max(width, 14)} columns", "The file was cut short or mixed: export it again",
            )  # fmt: skip
        rows.append([_float(cell) for cell in cells])
        if not np.isfinite([rows[-1][k] for k in (2, 4, 5, 6)]).all():
            raise InputError(
                f"{files.path}: {name} line {line} without a number or a place of the point", "four numbers",
                "Export it again",
            )  # fmt: skip
    part.version = f"{int(version[1])}.{int(version[2])}"
    return np.array(rows).reshape(len(rows), width)


def _float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _of_car(acquired: _Acquired, table: np.ndarray, rows: dict[str, int], notes: list[str]) -> None:
    strangers = 0
    for values in table:
        row = rows.get(f"{values[2]:.0f}")
        if row is None:
            strangers += 1
            continue
        unipolar, bipolar, lat, impedance = np.where(values[10:14] <= MISSING, np.nan, values[10:14])
        acquired.unipolar[row], acquired.bipolar[row] = unipolar, bipolar
        acquired.lat[row], acquired.impedance[row] = lat, impedance
        if len(values) > 45:  # version 6
            acquired.woi[row] = values[32:34]
            acquired.reference[row] = values[45]
    if strangers:
        notes.append(f"{strangers} points of the table (_car.txt) not read: the study does not know them")


def _point_files(files: Files, part: _Part, rows: dict[str, int]) -> dict[int, str]:
    """Row -> the file of its point."""
    listed = files.beside(part.beside, f"{part.name}_Points_Export.xml")
    wanted = {}
    if listed is not None:
        for each in read_xml(files, listed).iter("Point"):
            row = rows.get(each.get("ID", ""))
            if row is not None:
                wanted[row] = PurePosixPath(each.get("File_Name", "")).name
    else:
        wanted = {row: f"{part.name}_P{each}_Point_Export.xml" for each, row in rows.items()}
    found = {row: files.beside(part.beside, name) for row, name in wanted.items()}
    missing = [wanted[row] for row, name in found.items() if name is None]
    if listed is not None and missing:
        raise InputError(
            f"{files.path}: {listed} and no {missing[0][:80]}, one of {len(missing)} that are missing",
            "all files of the export", "Export the study again: a part of it is missing",
        )  # fmt: skip
    return {row: name for row, name in found.items() if name is not None}


def _of_point(acquired: _Acquired, files: Files, name: str, row: int, notes: list[str]) -> None:
    where = f"{files.path}: {name}"
    point = parse_xml(files.read(name), where)
    found = {tag: point.find(tag) for tag in ("Annotations", "WOI", "Voltages")}
    marks, woi, volts = ({} if each is None else each.attrib for each in found.values())
    reference = number(marks.get("Reference_Annotation"), where)
    mapped = number(marks.get("Map_Annotation"), where)
    lat = mapped - reference
    if lat <= MISSING or mapped <= MISSING:
        lat = np.nan
    known = acquired.lat[row]
    if np.isfinite(known) and np.isfinite(lat) and abs(known - lat) > 1.0:
        notes.append(
            "LATs of points differ from those of the table (_car.txt): those of the points are taken"
        )
    if marks:
        acquired.lat[row], acquired.reference[row] = lat, reference
    if woi:
        acquired.woi[row] = number(woi.get("From"), where), number(woi.get("To"), where)
    for column, key in ((acquired.unipolar, "Unipolar"), (acquired.bipolar, "Bipolar")):
        value = number(volts.get(key), where)
        if value > MISSING:
            column[row] = value
    if not np.isfinite(acquired.impedance[row]):
        each = [
            (number(one.get("Time"), where), number(one.get("Value"), where))
            for one in point.iter("Impedance")
        ]
        if each:
            acquired.impedance[row] = _nearest(np.array(each), reference + np.nan_to_num(lat))
    force = files.beside(name, PurePosixPath(name).name.replace("_Point_Export.xml", "_ContactForce.txt"))
    if force is not None:
        acquired.force[row] = _force(files, force, reference + np.nan_to_num(lat))


def _nearest(table: np.ndarray, time: float) -> float:
    """The value at the nearest time: columns time and value."""
    return (
        float(table[np.nanargmin(np.abs(table[:, 0] - time)), 1])
        if np.isfinite(table[:, 0]).any()
        else np.nan
    )


def _force(files: Files, name: str, time: float) -> float:
    """Contact force at the annotation, g. Times are those of the waveform, within its range."""
    rows = []
    for line in files.read(name).splitlines():
        cells = line.decode("cp1252", "replace").split("\t")
        if len(cells) >= 7 and cells[0].strip().isdigit() and len(cells[1]) <= len(cells[2]):
            rows.append((_float(cells[1]), _float(cells[3])))
    table = np.array([row for row in rows if np.isfinite(row).all()]).reshape(-1, 2)
    return _nearest(table, time) if len(table) and np.isfinite(time) else np.nan


def _signals(files: Files, part: _Part, ids: list[str], names: dict[int, str]):
    """Waveforms in groups of the same channels, and the channels of each point."""
    groups: dict[tuple, list[tuple[int, str, carto_signals.Head]]] = {}
    columns = {f"{each}_channel": [""] * len(ids) for each in ("unipolar", "bipolar", "reference")}
    for row, each in enumerate(ids):
        stem = PurePosixPath(names.get(row, f"{part.name}_P{each}_Point_Export.xml")).name
        file = files.beside(part.beside, stem.replace("_Point_Export.xml", "_ECG_Export.txt"))
        if file is None:
            continue
        head = carto_signals.read_head(files, file)
        groups.setdefault((head.channels, head.gain_mv), []).append((row, file, head))
        for key in columns:
            columns[key][row] = getattr(head, key.removesuffix("_channel"))
    signals: list[AbstractSignals] = []
    for (channels, gain), members in groups.items():

        def read(trace: int, members=members) -> np.ndarray:
            return carto_signals.read_trace(files, *members[trace][1:])

        signals.append(Signals(
            [row for row, _, _ in members], channels, rate_hz=carto_signals.RATE_HZ, gain_mv=gain,
            samples=len(read(0)), read=partial(read),
        ))  # fmt: skip
    return tuple(signals), columns


def _electrodes(files: Files, part: _Part, ids: list[str]) -> dict[str, np.ndarray]:
    """Positions of the electrodes of the catheter at the annotation, mm: three columns for each."""
    columns: dict[str, np.ndarray] = {}
    stem = re.compile(re.escape(part.name) + r"_P(\d+)_.*Positions_OnAnnotation\.txt$", re.I)
    rows = {each: row for row, each in enumerate(ids)}
    for name in files.find("positions_onannotation.txt"):
        found = stem.match(name.rpartition("/")[2])
        if found is None or found[1] not in rows or "sensor" in name.lower():
            continue
        for line in files.read(name).splitlines()[2:]:
            cells = line.decode("cp1252", "replace").split()
            if len(cells) < 5 or not cells[0].isdigit() or len(cells[0]) > 3:
                continue
            for axis, cell in zip("xyz", cells[2:5], strict=True):
                column = columns.setdefault(f"electrode_{int(cells[0])}_{axis}_mm", np.full(len(ids), np.nan))
                column[rows[found[1]]] = _float(cell)
    return columns
