"""A heart from a file: what stands at its nodes survives repair, refinement and order."""

import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin._results import InputError
from jaxtwin.anatomy import Mesh, atrial_shell, refine_to, refine_with_map, remesh, reorder, write_mesh
from jaxtwin.anatomy.missing import missing
from jaxtwin.anatomy.opencarp import write_vtx
from jaxtwin.anatomy.size import size_warnings


@pytest.fixture(scope="module")
def shell():
    return atrial_shell(4.0)


def lat_of(points):
    return 50.0 + points @ [0.5, -0.3, 0.8]


@pytest.mark.parametrize("mark", [np.nan, -10000.0, -10237.0, -1.0, 1e30])
@pytest.mark.parametrize("refine", [0, 1, 2])
def test_no_value_is_made_from_a_missing_one(shell, tmp_path, mark, refine):
    lost = np.linalg.norm(shell.points - shell.points[100], axis=1) < 9.0
    write_mesh(tmp_path / "heart.vtu", shell, {"LAT": np.where(lost, mark, lat_of(shell.points))})
    heart = jt.read_heart(tmp_path / "heart.vtu", refine=refine)
    found, own = heart.point_data["LAT"], heart.origin >= 0
    exact = lat_of(heart.mesh.points)
    kept = lost[heart.origin[own]]
    np.testing.assert_array_equal(found[own][kept], np.full(kept.sum(), mark))
    np.testing.assert_allclose(found[own][~kept], exact[own][~kept])
    added = found[~own]
    known = np.isfinite(added)
    np.testing.assert_allclose(added[known], exact[~own][known])
    inside = heart.carry_set(lost)
    assert np.isnan(found[inside & ~own]).all()
    if refine:
        assert known.any()
        assert not known.all()
        assert any("missing; no node that refinement added" in note for note in heart.notes)


def test_what_counts_as_missing():
    lat = np.array([-20.0, 3.0, 180.0])
    assert not missing(lat).any()
    assert (
        missing(np.array([*lat, np.nan, -10000, -10180, np.inf, 99999])).tolist() == [False] * 3 + [True] * 5
    )
    assert missing(np.array([-1, 0, 5, 90])).tolist() == [True, False, False, False]
    assert missing(np.array([-1.0, 0.0, -0.5])).sum() == 0
    micrometres = np.linspace(-45000.0, 60000.0, 300)
    assert not missing(micrometres).any()
    assert not missing(micrometres - 60000.0).any()
    assert not missing(np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])).any()
    assert not missing(np.arange(20000)).any()


def test_every_carry_keeps_missing_ones_missing():
    mesh = Mesh([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], [[0, 1, 2]])
    for step in (refine_with_map(mesh), refine_to(mesh, 3.0), remesh(mesh, 3.0)):
        values = step.carry(np.array([np.nan, 1.0, 3.0]))
        touched = np.isclose(step.mesh.points.sum(axis=1), 4.0)  # on the side without the missing corner
        np.testing.assert_array_equal(np.isfinite(values), touched)
    ordered = reorder(mesh)
    np.testing.assert_array_equal(ordered.carry(mesh.points), ordered.mesh.points)


def test_a_set_of_nodes_is_refined_with_the_mesh(shell, tmp_path):
    write_mesh(tmp_path / "heart.pts", shell)
    near = np.linalg.norm(shell.points - shell.points[50], axis=1) < 8.0
    write_vtx(tmp_path / "site.vtx", np.flatnonzero(near))
    whole = near[shell.cells].all(axis=1)
    for refine in range(3):
        heart = jt.read_heart(tmp_path / "heart.pts", refine=refine, vertices={"site": tmp_path / "site.vtx"})
        chosen = heart.node_sets["site"]
        inside = chosen[heart.mesh.cells].all(axis=1)
        assert heart.mesh.measures[inside].sum() == pytest.approx(shell.measures[whole].sum(), rel=1e-9)
        np.testing.assert_array_equal(chosen, heart.carry_set(near))
    assert heart.warnings == ()


def test_a_heart_is_remeshed(shell, tmp_path):
    values = shell.points @ np.array([1.0, 2.0, 3.0])
    values[:50] = np.nan
    write_mesh(tmp_path / "heart.vtu", shell, {"lat": values})
    top = np.flatnonzero(shell.points[:, 2] > 10.0)
    (tmp_path / "top.vtx").write_text(f"{len(top)}\nextra\n" + "\n".join(map(str, top)))
    (tmp_path / "one.vtx").write_text(f"1\nextra\n{int(np.argmin(np.abs(shell.points).sum(axis=1)))}")
    sets = {name: tmp_path / name for name in ("top.vtx", "one.vtx")}
    heart = jt.read_heart(tmp_path / "heart.vtu", remesh_mm=1.5, vertices=sets)
    mesh, lat = heart.mesh, heart.point_data["lat"]
    assert any(note.startswith("Remeshed to edges of 1.5 mm") for note in heart.notes)
    assert np.abs(np.median(mesh.edge_lengths) / 1.5 - 1.0) < 0.1
    known = np.isfinite(lat)
    np.testing.assert_allclose(lat[known], mesh.points[known] @ [1.0, 2.0, 3.0], atol=1e-4)
    assert 0.0 < (~known).mean() < 0.3
    chosen = heart.node_sets["top.vtx"]
    assert (chosen == (mesh.points[:, 2] > 10.0)).mean() > 0.95
    own = heart.origin >= 0
    np.testing.assert_allclose(mesh.points[own], shell.points[heart.origin[own]], atol=1e-4)
    coarse = jt.read_heart(tmp_path / "heart.vtu", remesh_mm=6.0, vertices=sets)
    assert any("one.vtx" in each for each in coarse.warnings) == (not coarse.node_sets["one.vtx"].any())


def test_nodes_that_stay_single_are_a_warning(shell, tmp_path):
    write_mesh(tmp_path / "heart.pts", shell)
    write_vtx(tmp_path / "one.vtx", np.array([50]))
    heart = jt.read_heart(tmp_path / "heart.pts", refine=1, vertices={"one.vtx": tmp_path / "one.vtx"})
    assert heart.node_sets["one.vtx"].sum() == 1
    assert "1 nodes of one.vtx span no edge" in heart.warnings[0]


def test_nodes_that_the_repair_drops_are_counted(shell, tmp_path):
    points = np.concatenate([shell.points, [[0, 0, 90], [1, 0, 90], [0, 1, 90]]])
    cells = np.concatenate([shell.cells, [len(shell.points) + np.arange(3)]])
    write_mesh(tmp_path / "heart.pts", Mesh(points, cells))
    write_vtx(tmp_path / "a.vtx", np.array([3, len(points) - 1]))
    heart = jt.read_heart(tmp_path / "heart.pts", vertices={"a.vtx": tmp_path / "a.vtx"})
    assert "1 of 2 nodes of a.vtx are not in the repaired mesh." in heart.notes
    assert heart.origin[heart.node_sets["a.vtx"]].tolist() == [3]
    (tmp_path / "b.vtx").write_text(f"1\n{len(points)}\n")
    with pytest.raises(InputError, match=rf"b.vtx with the index {len(points)}, at line 2, on a mesh of"):
        jt.read_heart(tmp_path / "heart.pts", vertices={"b.vtx": tmp_path / "b.vtx"})


def test_a_merged_node_belongs_to_a_set_if_one_of_them_did():
    mesh = Mesh(np.array([[0, 0], [1, 0], [0, 1], [1, 0], [0, 1], [1, 1.0]]), [[0, 1, 2], [3, 5, 4]])
    mended = jt.repair(mesh)
    chosen = mended.carry_set(np.array([False, False, False, True, False, False]))
    assert mended.mesh.points[chosen].tolist() == [[1.0, 0.0]]


def test_without_repair_the_mesh_is_the_one_of_the_file(shell, tmp_path):
    write_mesh(tmp_path / "heart.vtu", shell, {"LAT": lat_of(shell.points)})
    heart = jt.read_heart(tmp_path / "heart.vtu", repair=False)
    np.testing.assert_allclose(heart.mesh.points, shell.points[heart.origin])
    np.testing.assert_allclose(heart.carry(lat_of(shell.points)), heart.point_data["LAT"])
    assert [path.name for path in heart.sources] == ["heart.vtu"]


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1.0, ""),
        (0.2, "probably in centimetres: set unit"),
        (0.12, "mouse or a rat"),
        (10.0, "even of a horse"),
    ],
)
def test_sizes_of_chambers(shell, factor, said):
    warnings = size_warnings(Mesh(factor * shell.points, shell.cells), "heart.vtu")
    assert (said in warnings[0]) if said else warnings == ()


@pytest.mark.parametrize(
    "mesh",
    [jt.sheet(10.0, 10.0, 1.0), jt.slab(20.0, 7.0, 3.0, 1.0), jt.cable(4.0, 0.5), jt.sheet(2.0, 2.0, 0.5)],
)
def test_sheets_slabs_and_cables_may_have_any_size(mesh):
    assert size_warnings(mesh, "benchmark") == ()


def test_impossible_sizes_are_refused(shell):
    with pytest.raises(InputError, match=r"unit = .um., which makes heart.vtu 0.048 mm long"):
        size_warnings(Mesh(shell.points / 1000.0, shell.cells), "heart.vtu", "um")
