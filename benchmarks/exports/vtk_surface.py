"""A surface with LATs at its nodes, in the forms of VTK and of openCARP."""

from pathlib import Path
from typing import Any

import numpy as np

FORMS = "ascii", "binary", "5.1", "vtp", "vtu", "opencarp"


def make(
    folder: Path,
    *,
    points: int = 12,
    seed: int = 0,
    form: str = "binary",
    name: str | None = "LAT",
    sentinel: bool = False,
    silent: bool = False,
    negative: bool = False,
    more: dict[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Writes `map.vtk`, `.vtp`, `.vtu` or the files of openCARP, and returns what is in it, in mm and ms.

    `points`: nodes around; `name`: of the array of LATs, None for none; `sentinel`: with -10000 where there
    is none; `silent`: with -1 for not activated; `negative`: LATs below 0 besides.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    ring = np.stack([25 * np.cos(angles), 25 * np.sin(angles)], axis=1)
    nodes = np.concatenate([np.pad(ring, ((0, 0), (0, 1)), constant_values=12.0 * z) for z in range(3)])
    nodes = nodes.astype(np.float32).astype(np.float64)
    around = np.arange(points)
    after = (around + 1) % points
    triangles = np.concatenate([
        np.stack(each, axis=1)
        for r in (0, points)
        for each in (
            (r + around, r + after, r + points + around),
            (r + after, r + points + after, r + points + around),
        )
    ])  # fmt: skip
    lat = random.integers(5, 150, len(nodes)).astype(float) / 2
    lat[3] = np.nan
    if negative:
        lat -= 40.0
    stored = lat.copy()
    lat_ms = lat.copy()
    if sentinel:
        stored[4], lat_ms[4] = -10_000.0, np.nan
    if silent:
        stored[5], lat_ms[5] = -1.0, -1.0 if negative else np.nan
    arrays = {"Bipolar voltage": random.uniform(0, 5, len(nodes)).astype(np.float32)} | (more or {})
    if name is not None:
        arrays[name] = stored
    if form == "opencarp":
        (folder / "map.pts").write_text(
            f"{len(nodes)}\n" + "".join(f"{x:.17g} {y:.17g} {z:.17g}\n" for x, y, z in nodes * 1000)
        )
        (folder / "map.elem").write_text(
            f"{len(triangles)}\n" + "".join(f"Tr {a} {b} {c} 1\n" for a, b, c in triangles)
        )
        (folder / "map.lon").write_text("1\n" + "1 0 0\n" * len(triangles))
    elif form in ("vtp", "vtu"):
        (folder / f"map.{form}").write_text(_xml(nodes, triangles, arrays, form))
    else:
        (folder / "map.vtk").write_bytes(_legacy(nodes, triangles, arrays, form))
    return {
        "nodes": nodes, "triangles": triangles, "lat_ms": lat_ms,
        "arrays": {key: values for key, values in arrays.items() if key != name},
    }  # fmt: skip


def _legacy(nodes, triangles, arrays, form: str) -> bytes:
    """POLYDATA: as text, as numbers with the highest byte first, and with the offsets of version 5.1."""
    ascii_ = form == "ascii"

    def numbers(values, dtype: str) -> bytes:
        values = np.asarray(values)
        text = " ".join(f"{each:.17g}" for each in values.ravel()).encode()
        return (text if ascii_ else values.astype(dtype).tobytes()) + b"\n"

    head = f"# vtk DataFile Version {'5.1' if form == '5.1' else '4.2'}\nmade up\n"
    head += "ASCII\n" if ascii_ else "BINARY\n"
    out = (head + f"DATASET POLYDATA\nPOINTS {len(nodes)} float\n").encode() + numbers(nodes, ">f4")
    if form == "5.1":
        count = 3 * len(triangles)
        out += f"POLYGONS {len(triangles) + 1} {count}\nOFFSETS vtktypeint64\n".encode()
        out += numbers(np.arange(0, count + 1, 3), ">i8") + b"CONNECTIVITY vtktypeint64\n"
        out += numbers(triangles, ">i8")
    else:
        out += f"POLYGONS {len(triangles)} {4 * len(triangles)}\n".encode()
        out += numbers(np.pad(triangles, ((0, 0), (1, 0)), constant_values=3), ">i4")
    out += f"POINT_DATA {len(nodes)}\nFIELD FieldData {len(arrays)}\n".encode()
    for key, values in arrays.items():
        kind, dtype = ("float", ">f4") if values.dtype == np.float32 else ("double", ">f8")
        columns = values.size // len(nodes)
        out += f"{key.replace(' ', '%20')} {columns} {len(nodes)} {kind}\n".encode() + numbers(values, dtype)
    return out


def _xml(nodes, triangles, arrays, form: str) -> str:
    def data(kind: str, key: str, values, columns: int = 1) -> str:
        text = " ".join(f"{each:.17g}" for each in np.asarray(values).ravel())
        place = f'type="{kind}" Name="{key}" NumberOfComponents="{columns}" format="ascii"'
        return f"<DataArray {place}>{text}</DataArray>"

    count = len(triangles)
    cells = data("Int64", "connectivity", triangles) + data("Int64", "offsets", 3 * np.arange(1, count + 1))
    if form == "vtu":
        cells = f"<Cells>{cells}{data('UInt8', 'types', np.full(count, 5))}</Cells>"
        kind, sizes = "UnstructuredGrid", f'NumberOfCells="{count}"'
    else:
        cells, kind, sizes = f"<Polys>{cells}</Polys>", "PolyData", f'NumberOfPolys="{count}"'
    values = "".join(data("Float64", key, each, each.size // len(nodes)) for key, each in arrays.items())
    return (
        f'<?xml version="1.0"?>\n<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian">\n<{kind}>'
        f'<Piece NumberOfPoints="{len(nodes)}" {sizes}><Points>{data("Float64", "points", nodes, 3)}</Points>'
        f"{cells}<PointData>{values}</PointData></Piece></{kind}></VTKFile>\n"
    )
