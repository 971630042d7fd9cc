"""Small random meshes and damaged files for the tests of readers and writers."""

import numpy as np
from hypothesis import strategies as st

from jaxtwin._results import InputError
from jaxtwin.anatomy.mesh import Mesh


def random_mesh(seed: int, corners: int) -> Mesh:
    """Up to 12 cells of 50 mm with tangent unit fibres and any region tags."""
    rng = np.random.default_rng(seed)
    nodes, count = rng.integers(corners, 12), rng.integers(1, 12)
    points = rng.uniform(-25.0, 25.0, (nodes, 3))
    points[0], points[1] = -25.0, 25.0
    cells = np.stack([rng.permutation(nodes)[:corners] for _ in range(count)])
    span = points[cells[:, 1:]] - points[cells[:, :1]]
    fibres = np.einsum("ck,ckd->cd", rng.choice([-1.0, 1.0], (count, corners - 1)), span)
    fibres /= np.linalg.norm(fibres, axis=1, keepdims=True)
    return Mesh(points, cells, fibres, rng.integers(-(2**31), 2**31, count))


meshes = st.builds(random_mesh, st.integers(0, 2**32), st.integers(2, 4))


def assert_same(found: Mesh, wanted: Mesh, rtol: float = 1e-12):
    np.testing.assert_allclose(found.points, wanted.points, rtol=rtol, atol=0)
    np.testing.assert_array_equal(found.cells, wanted.cells)
    np.testing.assert_allclose(found.fibres, wanted.fibres, atol=1e-9)
    np.testing.assert_array_equal(found.regions, wanted.regions)


PIECES = [
    b"-1",
    b"99999999999999999999",
    b"nan",
    b"1e999",
    b"\n",
    b" ",
    b"x",
    b"\x7f\xff\xff\xff",
    b"0",
    b'"',
    b"<",
]
ANY_BYTES = st.binary(min_size=1, max_size=9)


@st.composite
def damage(draw, alphabet=ANY_BYTES):
    """A function that cuts, overwrites, inserts or removes some bytes."""
    kind = draw(st.sampled_from(["cut", "overwrite", "insert", "remove"]))
    where, piece = draw(st.floats(0, 1)), draw(st.one_of(alphabet, st.sampled_from(PIECES)))

    def apply(content: bytes) -> bytes:
        at = int(where * len(content))
        if kind == "cut":
            return content[:at]
        if kind == "remove":
            return content[:at] + content[at + len(piece) :]
        return content[:at] + piece + content[at + (len(piece) if kind == "overwrite" else 0) :]

    return apply


def read_or_refuse(read, *arguments):
    """Whatever the bytes: a mesh that holds together, or an InputError."""
    try:
        found = read(*arguments)
    except InputError:
        return
    assert found.mesh.cells.max() < len(found.mesh.points)
    assert all(len(array) == len(found.mesh.cells) for array in found.cell_data.values())
    assert all(len(array) == len(found.mesh.points) for array in found.point_data.values())
