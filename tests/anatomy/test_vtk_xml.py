"""VTK XML: every encoding written here by a few lines and read back, and our writer read by meshio."""

import base64
import tracemalloc
import zlib
from itertools import product

import meshio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_meshes import assert_same, damage, meshes, random_mesh, read_or_refuse

from jaxtwin._results import InputError
from jaxtwin.anatomy.simplices import SIMPLEX
from jaxtwin.anatomy.vtk_xml import DTYPES, read_vtk_xml, write_vtu

BLOCK = 100  # bytes: small, so that the arrays of a test take several blocks


class Writer:
    """A writer of one encoding."""

    def __init__(self, form, order="<", width=4, compressed=False):
        self.form, self.order, self.compressed = form, order, compressed
        self.size, self.header_type = np.dtype(f"{order}u{width}"), f"UInt{8 * width}"
        self.appended = b""

    def encode(self, array):
        """Header and content, each in its own run of base64 where compressed, as VTK does."""
        raw = array.tobytes()
        if not self.compressed:
            parts = [np.array([len(raw)], self.size).tobytes() + raw]
        else:
            pieces = [raw[i : i + BLOCK] for i in range(0, len(raw), BLOCK)]
            packed = [zlib.compress(piece) for piece in pieces]
            sizes = [len(pieces), BLOCK, len(raw) % BLOCK, *map(len, packed)]
            parts = [np.array(sizes, self.size).tobytes(), b"".join(packed)]
        return b"".join(parts) if self.form == "raw" else b"".join(map(base64.b64encode, parts))

    def array(self, name, kind, array):
        array = np.asarray(array).astype(self.order + DTYPES[kind])
        columns = array.shape[1] if array.ndim > 1 else 1
        tag = f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{columns}"'
        if self.form == "ascii":
            return f'{tag} format="ascii">{" ".join(map(repr, array.ravel().tolist()))}</DataArray>'
        if self.form == "inline":
            return f'{tag} format="binary">\n  {self.encode(array).decode()}\n</DataArray>'
        tag += f' format="appended" offset="{len(self.appended)}"/>'
        self.appended += self.encode(array)
        return tag

    def file(self, kind, piece, content):
        compressor = ' compressor="vtkZLibDataCompressor"' if self.compressed else ""
        order = "LittleEndian" if self.order == "<" else "BigEndian"
        text = (
            f'<?xml version="1.0"?>\n<VTKFile type="{kind}" version="1.0" byte_order="{order}" '
            f'header_type="{self.header_type}"{compressor}>\n'
            f"<{kind}><Piece {piece}>{content}</Piece></{kind}>\n"
        ).encode()
        if self.appended:
            encoding = b"raw" if self.form == "raw" else b"base64"
            text += (
                b'<AppendedData encoding="' + encoding + b'">\n   _' + self.appended + b"\n</AppendedData>\n"
            )
        return text + b"</VTKFile>\n"

    def vtu(self, mesh):
        count = len(mesh.cells)
        ends = np.arange(1, count + 1) * mesh.corners
        content = (
            f"<Points>{self.array('Points', 'Float64', mesh.points)}</Points><Cells>"
            f"{self.array('connectivity', 'Int64', mesh.cells.ravel())}{self.array('offsets', 'Int32', ends)}"
            f"{self.array('types', 'UInt8', np.full(count, SIMPLEX[mesh.corners]))}</Cells><CellData>"
            f"{self.array('f0', 'Float64', mesh.fibres)}"
            f"{self.array('elemTag', 'Int32', mesh.regions)}</CellData>"
        )
        return self.file(
            "UnstructuredGrid", f'NumberOfPoints="{len(mesh.points)}" NumberOfCells="{count}"', content
        )


ENCODINGS = [("ascii", "<", 4, False), *product(["inline", "raw", "base64"], "<>", [4, 8], [False, True])]


def read(folder, content):
    path = folder / "mesh.vtu"
    path.write_bytes(content)
    return read_vtk_xml(path)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(mesh=meshes)
@settings(max_examples=6, deadline=None)
def test_every_encoding(tmp_path_factory, encoding, mesh):
    found = read(tmp_path_factory.mktemp("vtu"), Writer(*encoding).vtu(mesh))
    assert_same(found.mesh, mesh)
    assert list(found.cell_data) == ["f0", "elemTag"]


@pytest.mark.parametrize("encoding", [ENCODINGS[0], *ENCODINGS[1::5]])
def test_surface_of_polygons(tmp_path, encoding):
    write = Writer(*encoding)
    points = [[0, 0, 0], [9, 0, 0], [9, 9, 0], [0, 9, 0]]
    content = (
        f"<PointData>{write.array('LAT', 'Float32', [1.5, 2, np.nan, 4])}</PointData>"
        f"<CellData>{write.array('scar', 'UInt8', [7, 8, 9])}"
        '<DataArray type="String" Name="who" format="ascii">1 2 3</DataArray></CellData>'
        f"<Points>{write.array('Points', 'Float32', points)}</Points>"
        f"<Lines>{write.array('connectivity', 'Int32', [0, 1])}{write.array('offsets', 'Int32', [2])}</Lines>"
        f"<Polys>{write.array('connectivity', 'Int32', [0, 1, 2, 3, 0, 1, 3])}"
        f"{write.array('offsets', 'Int32', [4, 7])}</Polys>"
    )
    piece = 'NumberOfPoints="4" NumberOfVerts="0" NumberOfLines="1" NumberOfStrips="0" NumberOfPolys="2"'
    found = read(tmp_path, write.file("PolyData", piece, content))
    np.testing.assert_array_equal(found.mesh.cells, [[0, 1, 2], [0, 2, 3], [0, 1, 3]])
    np.testing.assert_array_equal(found.cell_data["scar"], [8, 8, 9])
    np.testing.assert_array_equal(found.point_data["LAT"], [1.5, 2, np.nan, 4])
    assert "array 'who' of type String dropped" in found.notes


arrays = st.sampled_from(
    [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, bool]
)
arrays = st.one_of(arrays, st.sampled_from([np.float32, np.float64]))


@given(mesh=meshes, dtype=arrays, name=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1))
@settings(max_examples=40, deadline=None)
def test_round_trip_of_our_writer(tmp_path_factory, mesh, dtype, name):
    path = tmp_path_factory.mktemp("vtu") / "mesh.vtu"
    values = (np.arange(3 * len(mesh.points)).reshape(-1, 3) % 120).astype(dtype)
    tensors = np.arange(9.0 * len(mesh.cells)).reshape(-1, 3, 3)
    write_vtu(path, mesh, {name: values, "one": values[:, 0]}, {"tensors": tensors})
    found = read_vtk_xml(path)
    assert_same(found.mesh, mesh, rtol=0)
    np.testing.assert_array_equal(found.point_data[name], values)
    np.testing.assert_array_equal(found.cell_data["tensors"], tensors.reshape(-1, 9))
    assert found.point_data[name].dtype == (np.uint8 if dtype is bool else dtype)


@pytest.mark.parametrize("corners", [2, 3, 4])
def test_meshio_reads_what_we_write(tmp_path, corners):
    # Fixed meshes: in files of a few bytes meshio 5.3.5 may take an array for one it has moved already.
    mesh = random_mesh(7, corners)
    lat = np.arange(float(len(mesh.points)))
    write_vtu(tmp_path / "a.vtu", mesh, {"LAT": lat})
    found = meshio.read(tmp_path / "a.vtu")
    np.testing.assert_array_equal(found.points, mesh.points)
    np.testing.assert_array_equal(found.cells[0].data, mesh.cells)
    np.testing.assert_array_equal(found.point_data["LAT"], lat)
    np.testing.assert_array_equal(found.cell_data["regions"][0], mesh.regions)
    np.testing.assert_array_equal(found.cell_data["fibres"][0], mesh.fibres)


@pytest.mark.parametrize("options", [{"binary": False}, {"compression": None}, {"compression": "zlib"}])
def test_files_of_meshio(tmp_path, options):
    mesh = random_mesh(3, 4)
    cells = [("tetra", mesh.cells)]
    data = {"fibers": [mesh.fibres], "tag": [mesh.regions]}
    meshio.vtu.write(tmp_path / "a.vtu", meshio.Mesh(mesh.points, cells, cell_data=data), **options)
    assert_same(read_vtk_xml(tmp_path / "a.vtu").mesh, mesh, rtol=1e-9)


def test_a_failed_write_leaves_nothing(tmp_path):
    path = tmp_path / "mesh.vtu"
    path.write_text("precious")
    for bad in (np.array(["a"] * 20), np.zeros(99), np.zeros(20, complex)):
        with pytest.raises(InputError, match="array 'bad'"):
            write_vtu(path, random_mesh(1, 3), {"bad": bad})
    with pytest.raises(InputError, match="which cannot be written"):
        write_vtu(tmp_path / "nowhere" / "mesh.vtu", random_mesh(1, 3))
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


MESH = random_mesh(5, 3)
GOOD = Writer("ascii").vtu(MESH)
PACKED = Writer("raw", compressed=True).vtu(MESH)
ENTITY = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb">]>\n<VTKFile'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.replace(b"<VTKFile", ENTITY), "document type or entity"),
        (GOOD.replace(b"<VTKFile", b"<!DOCTYPE a>\n<VTKFile"), "document type or entity"),
        (GOOD.replace(b"<VTKFile", ENTITY).decode().encode("utf-16"), "not UTF-8"),
        (GOOD.replace(b"UnstructuredGrid", b"ImageData"), "'VTKFile' of type 'ImageData'"),
        (GOOD[: len(GOOD) // 2], "not XML"),
        (b"", "not XML"),
        (GOOD.replace(b"Float64", b"Float16"), "type Float16"),
        (GOOD.replace(b'NumberOfPoints="', b'NumberOfPoints="9'), "without the 297 numbers"),
        (GOOD.replace(b'NumberOfPoints="', b'NumberOfPoints="-'), "'-.*' for NumberOfPoints"),
        (GOOD.replace(b'"connectivity"', b'"connect"'), "Cells without connectivity"),
        (GOOD.replace(b"<Piece", b"<Piece/><Piece"), "2 pieces"),
        (PACKED.replace(b"vtkZLib", b"vtkLZ4"), "vtkLZ4DataCompressor.*zlib"),
        (PACKED[:-200], "without the .* numbers"),
        (PACKED.replace(b"\x78\x9c", b"\x00\x00"), "without the .* numbers"),
    ],
)
def test_damage_is_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, content)


def test_a_small_block_that_inflates_to_much_is_refused(tmp_path):
    write = Writer("raw", compressed=True)
    bomb = zlib.compress(bytes(10**7))
    write.encode = lambda array: np.array([1, 10**7, 0, len(bomb)], "<u4").tobytes() + bomb
    content = write.vtu(MESH)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"without the .* numbers"):
        read(tmp_path, content)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize("encoding", [ENCODINGS[0], *ENCODINGS[1::3]])
@given(seed=st.integers(0, 2**32), change=damage())
@settings(max_examples=40, deadline=None)
def test_damaged_bytes_never_crash(tmp_path_factory, encoding, seed, change):
    content = change(Writer(*encoding).vtu(random_mesh(seed, 2 + seed % 3)))
    read_or_refuse(read, tmp_path_factory.mktemp("vtu"), content)
