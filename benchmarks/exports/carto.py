"""CARTO 3: a study of maps with their surfaces, points and waveforms."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

GAIN = 0.003
CHANNELS = "M1(1)", "M2(2)", "M1-M2(92)", "I(110)"
TAGS = {"6": ("PS", "Pacing Site"), "10": ("SCR", "Scar"), "11": ("LO", "Location Only")}
NAMES = (
    "Unipolar", "Bipolar", "LAT", "Impedance", "A1", "A2", "A2-A1", "SCI", "ICL", "ACL", "Force", "Paso",
    "µBi",
)  # fmt: skip


@dataclass
class CartoMap:
    """What a map of the synthetic study holds. `raw`: (points, samples, channels), integers; None without
    waveforms. `tags`: for each point the IDs of its tags. `colours`: of the vertices, (nodes, 13)."""

    name: str
    vertices: np.ndarray
    triangles: np.ndarray
    positions: np.ndarray
    lat_ms: np.ndarray
    bipolar_mv: np.ndarray
    unipolar_mv: np.ndarray
    raw: np.ndarray | None = None
    tags: list[str] = field(default_factory=list)
    vertex_group: np.ndarray | None = None
    triangle_group: np.ndarray | None = None
    colours: np.ndarray | None = None
    reference: int = 2000
    woi: tuple[int, int] = (-100, 200)


def write_study(
    folder: Path,
    maps: list[CartoMap],
    *,
    name: str = "Study 1 Doe Jane 01_02_1950",
    version: int = 5,
    glitch: bool = True,
    channels: tuple[str, ...] = CHANNELS,
    named_channels: bool = True,
    point_files: bool = True,
    fixed_width: bool = True,
) -> None:
    """Writes the study file, and for each map its mesh, table, points and waveforms, with Windows line
    ends."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f'<Study name="{name}">',
        '    <Units Distance="mm" Angle="radian" />',
        f'    <Maps Count="{len(maps)}">',
    ]
    lines += [f'        <TagsTable Count="{len(TAGS)}">']
    lines += [f'            <Tag ID="{k}" Short_Name="{a}" Full_Name="{b}" />' for k, (a, b) in TAGS.items()]
    lines += ["        </TagsTable>"]
    for one in maps:
        lines += [f'        <Map Name="{one.name}" NumFiles="1" FileNames="{one.name}.mesh">']
        lines += [f'            <CartoPoints Count="{len(one.positions)}">']
        for k, place in enumerate(one.positions):
            lines += [f'                <Point Id="{k + 1}" Position3D="{_blank(place)}">']
            lines += [f'<VirtualPoint Position3D="{_blank(place + 1.0)}" ProjectionDistance="1.7" />']
            if k < len(one.tags) and one.tags[k]:
                lines += [f'                    <Tags Count="1">{one.tags[k]}</Tags>']
            lines += ["                </Point>"]
        lines += [
            "            </CartoPoints>",
            '            <RefAnnotationConfig Algorithm="0" Channel="110" />',
        ]
        lines += ["        </Map>"]
        _mesh(folder / f"{one.name}.mesh", one, glitch)
        _table(folder / f"{one.name}_car.txt", one, version)
        if point_files and len(one.positions):
            _points(folder, one, channels, named_channels, fixed_width)
    lines += ["    </Maps>", "</Study>"]
    _text(folder / f"{name}.xml", lines)


def _blank(values) -> str:
    return " ".join(f"{v:.6g}" for v in values)


def _text(path: Path, lines: list[str]) -> None:
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode("cp1252"))


def _mesh(path: Path, one: CartoMap, glitch: bool) -> None:
    groups = np.zeros(len(one.vertices), int) if one.vertex_group is None else one.vertex_group
    kinds = np.zeros(len(one.triangles), int) if one.triangle_group is None else one.triangle_group
    head = ["#TriangulatedMeshVersion2.0", "; Biosense Webster Triangulated Mesh file format, 2008", ""]
    head += [
        "[GeneralAttributes]",
        "MeshID                 = -1",
        f"NumVertex              = {len(one.vertices)}",
    ]
    head += [
        f"NumTriangle            = {len(one.triangles)}",
        "Matrix                 = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
    ]
    head += [f"NumVertexColors        = {0 if one.colours is None else len(NAMES)}", "", "[VerticesSection]"]
    head += [
        ";                   X             Y             Z        NormalX   NormalY   NormalZ  GroupID",
        "",
    ]
    rows = [
        f"{i:8d} = " + " ".join(f"{x:13.3f}" for x in p) + f"  0.0 0.0 1.0 {g}"
        for i, (p, g) in enumerate(zip(one.vertices, groups, strict=True))
    ]
    head += [
        *rows,
        "",
        "[TrianglesSection]",
        ";           Vertex0  Vertex1  Vertex2     NormalX   NormalY   NormalZ  GroupID",
        "",
    ]
    head += [
        f"{i:8d} = " + " ".join(map(str, t)) + f"  0.0 0.0 1.0 {g}"
        for i, (t, g) in enumerate(zip(one.triangles, kinds, strict=True))
    ]
    if one.colours is not None:
        # a real file: the last name runs into the title of another section, and a value more than names
        # follows
        names = " ".join(f"{n:>13}" for n in NAMES)
        head += [
            "",
            "[VerticesColorsSection]",
            "; Color Value= -10000 indicates invalid data for this coloring",
            "",
            f"; {names}" + ("[ColorsScaleSection]" if glitch else ""),
            "",
        ]
        extra = " -10000.00000" if glitch else ""
        head += [
            f"{i:8d} = " + " ".join(f"{v:13.5f}" for v in row) + extra for i, row in enumerate(one.colours)
        ]
    head += ["", "[VerticesAttributesSection]", ";            Scar   EML", ""]
    head += [f"{i:8d} =      0     0" for i in range(len(one.vertices))]
    _text(path, head)


def _table(path: Path, one: CartoMap, version: int) -> None:
    lines = [f"VERSION_{version}_0 {one.name}"]
    for k, place in enumerate(one.positions):
        lat = one.lat_ms[k]
        row = [
            "P",
            "0",
            k + 1,
            0,
            *(f"{x:.6g}" for x in place),
            1,
            0,
            0,
            f"{one.unipolar_mv[k]:.6g}",
            f"{one.bipolar_mv[k]:.6g}",
        ]
        row += [
            -10000 if np.isnan(lat) else f"{lat:.0f}",
            100.5,
            0,
            -1,
            1,
            "A",
            0,
            18027,
            0,
            -10000,
            -1,
            0,
            0,
            -10000,
            -10000,
        ]
        if version >= 6:
            row += [0] * (46 - len(row))
            row[32], row[33], row[45] = *one.woi, one.reference
        lines.append("\t".join(map(str, row)))
    _text(path, lines)


def _points(folder: Path, one: CartoMap, channels, named: bool, fixed: bool) -> None:
    listed = [f'<Points Map_Name="{one.name}">']
    for k in range(len(one.positions)):
        stem = f"{one.name}_P{k + 1}"
        listed += [f'    <Point ID="{k + 1}" File_Name="{stem}_Point_Export.xml" />']
        # an invalid LAT is -10000 from the reference, so that the annotation itself is -8000
        mapped = one.reference + (-10000 if np.isnan(one.lat_ms[k]) else round(one.lat_ms[k]))
        lines = [f'<Point ID="{k + 1}" Date="01/02/50" Time="15:01:33">']
        lines += [
            f'    <Annotations StartTime="7437507" Reference_Annotation="{one.reference}" '
            f'Map_Annotation="{mapped}" />'
        ]
        lines += [f'    <WOI From="{one.woi[0]}" To="{one.woi[1]}" />']
        lines += [f'    <Voltages Unipolar="{one.unipolar_mv[k]:.6g}" Bipolar="{one.bipolar_mv[k]:.6g}" />']
        lines += [
            '    <Impedances Rate="100" Number="1">',
            '        <Impedance NUM="0" Time="0" Value="100.5" />',
            "    </Impedances>",
            "</Point>",
        ]
        _text(folder / f"{stem}_Point_Export.xml", lines)
        if one.raw is not None:
            write_waveform(folder / f"{stem}_ECG_Export.txt", one.raw[k], channels, named, fixed)
    _text(folder / f"{one.name}_Points_Export.xml", [*listed, "</Points>"])


def write_waveform(path: Path, raw: np.ndarray, channels, named: bool = True, fixed: bool = True) -> None:
    """One `_ECG_Export.txt`: 30 letters for each number where `fixed`."""
    lines = ["ECG_Export_4.0" if named else "ECG_Export_4.1", f"Raw ECG to MV (gain) = {GAIN:.6f}"]
    if named:
        lines += ["Unipolar Mapping Channel=M1 Bipolar Mapping Channel=M1-M2 Reference Channel=I"]
    wide = 30 if fixed else 0
    lines += ["".join(f"{c:<{wide}}" if fixed else f"{c} " for c in channels)]
    lines += ["".join(f"{v:<{wide}}" if fixed else f"{v} " for v in row) for row in raw.tolist()]
    _text(path, lines)


def voltages(raw: np.ndarray, channel: int, reference: int, woi: tuple[int, int]) -> np.ndarray:
    """Peak to peak inside the window, mV, as the system exports it."""
    inside = raw[:, max(reference + woi[0], 0) : reference + woi[1] + 1, channel]
    return np.ptp(inside, axis=1) * GAIN


def make(folder: Path, *, points: int = 12, seed: int = 0, samples: int = 60, **how) -> dict[str, Any]:
    """A study with two maps, one without points, written into `folder`; and what it holds."""
    random = np.random.default_rng(seed)
    side = 5
    x, y = np.meshgrid(np.arange(side) * 4.0, np.arange(side) * 4.0)
    vertices = np.round(np.stack([x.ravel(), y.ravel(), 5 * np.sin(0.2 * x.ravel())], axis=1), 3)
    a = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    triangles = np.concatenate(
        [np.stack([a, a + 1, a + side], 1), np.stack([a + 1, a + side + 1, a + side], 1)]
    )
    # two vertices were deleted and are still listed, with a triangle at one; two triangles are cut out
    groups = np.zeros(len(vertices) + 2, int)
    groups[[3, -1]] = -1_000_000
    kinds = np.zeros(len(triangles), int)
    kinds[[7, 9]] = -4
    vertices = np.concatenate([vertices, [[99.0, 99.0, 99.0]] * 2])
    kinds[(triangles == 3).any(axis=1)] = -1_000_000
    reference, woi = samples // 2, (-samples // 3, samples // 3)
    positions = np.round(random.uniform(0, 16, (points, 3)), 4)
    raw = random.integers(-900, 900, (points, samples, len(CHANNELS)))
    lat = random.integers(woi[0] + 1, woi[1], points).astype(float)
    lat[1], lat[2] = np.nan, woi[1] + 3.0
    tags = [""] * points
    tags[3], tags[4] = "11", "10 6"
    colours = np.round(random.uniform(0, 5, (len(vertices), len(NAMES))), 5)
    colours[5, 2] = -10000.0
    sinus = CartoMap(
        "1-LA µ", vertices, triangles, positions, lat,
        voltages(raw, 2, reference, woi), voltages(raw, 0, reference, woi),
        raw, tags, groups, kinds, colours, reference, woi,
    )  # fmt: skip
    none = np.zeros(0)
    empty = CartoMap("2-RA", vertices, triangles, np.zeros((0, 3)), none, none, none)
    write_study(folder, [sinus, empty], **how)
    valid = np.isfinite(lat) & (lat > woi[0]) & (lat < woi[1])
    valid[3] = False
    return {
        "names": ("1-LA µ", "2-RA"), "map": sinus, "valid": valid, "active": groups == 0,
        "patient": ("Doe", "Jane", "1950"),
    }  # fmt: skip
