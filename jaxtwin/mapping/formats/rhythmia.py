"""Rhythmia study backups: parts Study_*.000, .001, ... that together are XML with binary blocks inside.

Layout as found by two public readers; untested on real exports: SlicerEAMapReader for surfaces and their
values; a reader compared with the system's own MATLAB export for the meaning of the values (an activation
counts samples of the beat, voltages are logarithms) and for the table of measurements.
"""

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from ..._results import InputError
from ...anatomy import Surface
from ..study import Map, Points, Study
from .files import Files
from .rhythmia_archive import Archive, finite
from .xml import number, numbers

PART = re.compile(r"(.*)\.(\d{3})", re.DOTALL)

SAMPLE_MS = 1000.0 / 953.674  # of the activation, as the system's export takes it
FLOOR = np.log(10.0) - 0.06  # ln(uV): the smallest measured voltage is 10 uV, less means missing
# columns of the table of measurements
COLUMNS = 28
POSITION, ELECTRODE, LAT_UNIPOLAR, LAT_BIPOLAR, LN_UNIPOLAR, LN_BIPOLAR = slice(1, 4), 6, 7, 8, 11, 12
SURFACE, INCLUDED = slice(21, 24), 27


def recognises(files: Files) -> bool:
    """Whether there is the first part of a backup."""
    return any(files.head(name, 64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" for name in files.find(".000"))


def read(files: Files, identity: bool) -> Study:
    """The anatomies of a backup, each a map: its surface with what was interpolated to it, and its
    measurements. `identity` keeps the label of the study.

    Of the parts no more is held than the XML and the blocks that are needed. LATs are ms from the marker of
    the beat; without the beat of a map its activation is kept as the field "activation", in samples.

    Raises `InputError` for missing parts, for damage, with the byte or the element, and for blocks of
    another length than the surface asks for.
    """
    names = _parts(files)
    with Archive(files, names) as archive:
        root = archive.root
        notes = list(files.notes)
        maps = []
        for k, anatomy in enumerate(root.iter("Anatomy")):
            label = (anatomy.findtext("Properties/Label") or "").strip() or f"anatomy {k + 1}"
            one = _Anatomy(archive, anatomy, label).map()
            if one.surface is None and not len(one.points):
                notes.append(f"anatomy {label!r} not read: it has neither a surface nor measurements")
            else:
                maps.append(one)
    if not maps:
        raise InputError(
            f"{files.path}, a backup without an anatomy that has a surface", "a study with a map",
            "Check that all parts of the study are there",
        )  # fmt: skip
    project = root if root.tag == "Project" else next(root.iter("Project"), root)
    label = next((each.findtext("Properties/Label") or "" for each in root.iter("Study")), "")
    version = (project.findtext("Properties/Version") or "").strip()
    return Study(
        "Rhythmia", version, tuple(maps), label.strip() if identity else "", tuple(notes), files.sources
    )


def _parts(files: Files) -> list[str]:
    """The parts in their order."""
    firsts = [
        name for name in files.find(".000") if files.head(name, 64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"
    ]
    if len(firsts) != 1:
        raise InputError(
            f"{files.path} with {len(firsts)} first parts (.000)", "the parts of one study", "Give one study"
        )
    stem = firsts[0][: -len(".000")]
    found = {}
    for name in files.names:
        part = PART.fullmatch(name)
        if part and part[1] == stem:
            found[int(part[2])] = name
    missing = sorted(set(range(max(found))) - set(found))
    if missing:
        raise InputError(
            f"{files.path} without part .{missing[0]:03d} of {stem.rpartition('/')[2]}",
            "all parts of the study", "Copy the whole backup",
        )  # fmt: skip
    return [found[k] for k in sorted(found)]


@dataclass(frozen=True)
class _Beat:
    """The beat of a map: its first sample relative to the marker, and its number of samples."""

    start: int
    samples: int


class _Anatomy:
    """One anatomy of the study."""

    def __init__(self, archive: Archive, element: Element, label: str):
        self.archive, self.element, self.label = archive, element, label
        self.notes: list[str] = []
        self.where = f"{archive.where}: anatomy {label!r}"
        text = element.findtext("Transform")
        self.matrix = np.eye(4)
        if text and text.strip():
            self.matrix = numbers(text, 16, f"{self.where}, Transform").reshape(4, 4).T  # stored by columns

    def refused(self, got: str, wanted: str) -> InputError:
        return InputError(f"{self.where}, {got}", wanted, "Copy the backup again")

    def map(self) -> Map:
        vertices, triangles = self.mesh()
        engines = list(self.element.iter("EngineOutput"))
        fields, points = {}, Points(np.zeros((0, 3)))
        if len(engines) > 1:
            self.notes.append(f"{len(engines)} results not read: nothing says which of them is the map")
        elif engines:
            beat = self.beat(engines[0])
            if vertices is not None:
                fields = self.fields(engines[0], beat, len(vertices))
            points = self.points(engines[0], beat)
        surface = None
        if vertices is not None:
            surface = Surface(self.placed(vertices[:, :3]), triangles, fields=fields)
        return Map(self.label, surface, points, notes=tuple(self.notes))

    def placed(self, positions: np.ndarray) -> np.ndarray:
        """Positions where the workstation showed them, mm."""
        if (self.matrix == np.eye(4)).all():
            return positions
        with np.errstate(all="ignore"):
            return positions @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def mesh(self) -> tuple[np.ndarray | None, np.ndarray]:
        """Vertices (position and normal) and triangles of the last mesh that has both."""
        vertices, triangles = None, np.zeros((0, 3), np.int32)
        for mesh in self.element.iter("Mesh"):
            nodes = self.archive.values(mesh.find("vertices"), "<f4", f"{self.label!r}, vertices", 6)
            cells = self.archive.values(mesh.find("triangles"), "<i4", f"{self.label!r}, triangles", 3)
            if nodes is None or cells is None or not len(nodes):
                continue
            if cells.size and not 0 <= cells.min() <= cells.max() < len(nodes):
                raise self.refused(
                    f"triangles with corners {cells.min()} to {cells.max()}", f"from 0 to {len(nodes) - 1}"
                )
            if vertices is not None:
                self.notes.append("an earlier mesh not read: the last one is the surface")
            vertices, triangles = nodes, cells
            flags = self.archive.find(mesh.find("triangle_flags"), f"{self.label!r}, triangle_flags")
            if flags is not None and flags.size:
                self.notes.append("triangle_flags not read: what they mean is not known")
        return vertices, triangles

    def beat(self, engine: Element) -> _Beat | None:
        offset, duration = (
            number(engine.findtext(f"Properties/{name}"), f"{self.where}, {name}")
            for name in ("BeatOffset", "BeatDuration")
        )
        block = self.archive.find(
            engine.find("SurfaceElectrodesNode/SurfElectrodesConfidenceWF"), "SurfElectrodesConfidenceWF"
        )
        columns = "" if block is None else block.more.get("cols", "")
        samples = float(columns) if re.fullmatch(r"\d{1,9}", columns) else duration / SAMPLE_MS
        if not (abs(offset) < 1e6 and 0.5 <= samples < 1e6):
            return None
        if np.isfinite(duration) and abs(duration / SAMPLE_MS - samples) > 1.0:
            self.notes.append(f"a beat of {duration:g} ms and {samples:g} samples: not used")
            return None
        return _Beat(int(np.floor(offset / SAMPLE_MS + 0.5)), int(np.floor(samples + 0.5)))

    def fields(self, engine: Element, beat: _Beat | None, count: int) -> dict[str, np.ndarray]:
        """The fields interpolated to the vertices."""
        fields: dict[str, np.ndarray] = {}
        for kind in ("Voltage", "Activation"):
            for each in engine.findall(kind):
                source = (each.findtext("Properties/SrcEgmType") or "").strip().lower() or "bipolar"
                what = f"{kind} {source[:20]}"
                values = self.archive.values(each.find("values"), "<f4", f"{self.label!r}, {what}")
                if values is None:
                    continue
                if len(values) != count:
                    raise self.refused(
                        f"{what} with {len(values)} values", f"one for each of {count} vertices"
                    )
                name, found = self.field(kind, source, values[:, 0], beat)
                if name in fields:
                    self.notes.append(f"a second {what} not read")
                else:
                    fields[name] = found
        return fields

    def field(self, kind: str, source: str, values: np.ndarray, beat: _Beat | None) -> tuple[str, np.ndarray]:
        if kind == "Voltage":
            name = f"{source}_mv" if source in ("bipolar", "unipolar") else f"voltage_{source}_mv"
            return name, _millivolt(values)
        known = values[np.isfinite(values)]
        if beat is not None and (known >= 0).all() and (known < beat.samples + 1).all():
            name = "lat_ms" if source == "bipolar" else f"lat_{source}_ms"
            return name, (values + beat.start) * SAMPLE_MS
        reason = "the beat is not given" if beat is None else "it does not fit the beat"
        self.notes.append(f"activation ({source}) kept in samples, not as LAT: {reason}")
        return ("activation" if source == "bipolar" else f"activation_{source}"), values

    def points(self, engine: Element, beat: _Beat | None) -> Points:
        """The measurements of the map: one electrode on one accepted beat each."""
        place = engine.find("SurfaceElectrodesNode/SurfElectrodes")
        block = self.archive.find(place, "SurfElectrodes")
        none = Points(np.zeros((0, 3)))
        if block is None:
            return none
        if (block.more.get("type"), block.more.get("cols")) != ("Float64", str(COLUMNS)):
            self.notes.append("measurements not read: their table is not of the layout that is known")
            return none
        table = self.archive.values(place, "<f8", f"{self.label!r}, SurfElectrodes", COLUMNS)
        assert table is not None
        if block.more.get("rows", str(len(table))) != str(len(table)):
            raise self.refused(f"SurfElectrodes with {len(table)} rows", f"{block.more['rows'][:20]}")
        if not np.isin(table[:, INCLUDED], (0.0, 1.0)).all():
            self.notes.append("measurements not read: their table is not of the layout that is known")
            return none
        counted = np.flatnonzero(table[:, INCLUDED] == 1.0)
        there = counted[np.isfinite(table[counted, POSITION]).all(axis=1)]
        if len(there) < len(table):
            self.notes.append(
                f"{len(table) - len(there)} of {len(table)} measurements left out: not accepted"
            )
        table = table[there]
        lat, lat_unipolar = self.times(table, beat)
        woi = np.full((len(table), 2), np.nan)
        if beat is not None:
            woi[:] = beat.start * SAMPLE_MS, (beat.start + beat.samples) * SAMPLE_MS
        surface = self.placed(table[:, SURFACE])
        return Points(
            self.placed(table[:, POSITION]), surface_positions=finite(surface),
            lat_ms=lat, reason=np.where(np.isnan(lat), "no LAT", "").tolist(), woi_ms=woi,
            bipolar_mv=_millivolt(table[:, LN_BIPOLAR], FLOOR),
            unipolar_mv=_millivolt(table[:, LN_UNIPOLAR], FLOOR),
            ids=[str(row + 1) for row in there],
            more={"lat_unipolar_ms": lat_unipolar, "electrode": table[:, ELECTRODE]},
        )  # fmt: skip

    def times(self, table: np.ndarray, beat: _Beat | None) -> list[np.ndarray]:
        """LATs of the bipolar and of the unipolar waveform, ms; samples are counted from 1."""
        found = [table[:, LAT_BIPOLAR], table[:, LAT_UNIPOLAR]]
        with np.errstate(all="ignore"):
            fits = [
                beat is not None
                and bool(((each >= 1) & (each <= beat.samples) & (each == np.round(each))).all())
                for each in found
            ]
        if beat is None or not all(fits):
            if len(table):
                self.notes.append(
                    "LATs of measurements left out: "
                    + ("the beat is not given" if beat is None else "they do not fit the beat")
                )
            return [np.full(len(table), np.nan)] * 2
        return [(each - 1.0 + beat.start) * SAMPLE_MS for each in found]


def _millivolt(logarithms: np.ndarray, least: float = -np.inf) -> np.ndarray:
    """mV from ln(uV); NaN below `least` and where it is no voltage."""
    with np.errstate(all="ignore"):
        found = np.exp(logarithms) / 1000.0
        return np.where(np.isfinite(found) & (logarithms >= least), found, np.nan)
