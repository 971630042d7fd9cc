"""The rasteriser against shapes whose pictures are known."""

import gc
import weakref

import numpy as np
import pytest
from view_shapes import cube, plane, sphere

from jaxtwin._results import InputError
from jaxtwin.anatomy import Mesh
from jaxtwin.view import canvas
from jaxtwin.view import surface as drawn


def raster_of(mesh, pixels=200, view=0, directions="principal"):
    surface = drawn.surface_of(mesh)
    views = drawn.views_of(surface, directions)
    windows = drawn.windows_of(surface, views, pixels)
    return drawn.rasterise(surface, views[view], windows[view])


def pixel_centres(window):
    x = window.left + (np.arange(window.columns) + 0.5) * window.pixel
    y = window.bottom + (np.arange(window.rows) + 0.5) * window.pixel
    return np.meshgrid(x, y)


def test_a_rectangle_covers_its_pixels_and_values_are_linear():
    mesh = plane()
    raster = raster_of(mesh)
    x, y = pixel_centres(raster.window)
    inside = (np.abs(x) < 10) & (np.abs(y) < 5)
    np.testing.assert_array_equal(raster.triangle >= 0, inside)
    picture = drawn.sample(raster, mesh.points @ [2.0, 3.0])
    np.testing.assert_allclose(picture[inside], 2 * (x[inside] + 10) + 3 * (y[inside] + 5), atol=1e-9)
    assert np.isnan(picture[~inside]).all()


def test_cell_values_are_those_of_the_cell_seen():
    mesh = plane(3, 2, 20.0, 10.0)
    raster = raster_of(mesh)
    picture = drawn.sample(raster, np.arange(4.0))
    assert set(np.unique(picture[np.isfinite(picture)])) == {0.0, 1.0, 2.0, 3.0}


def test_chunks_do_not_change_the_picture(monkeypatch):
    mesh = sphere()
    whole = raster_of(mesh)
    monkeypatch.setattr(drawn, "_CHUNK", 500)
    np.testing.assert_array_equal(raster_of(mesh).triangle, whole.triangle)


def test_the_boundary_of_tetrahedra():
    n = 4
    mesh = cube(n)
    surface = drawn.surface_of(mesh)
    assert len(surface.triangles) == 6 * 2 * n**2
    on_boundary = (np.isin(surface.points[surface.triangles], [0.0, n])).all(axis=1).any(axis=1)
    assert on_boundary.all()
    owners = mesh.cells[surface.owner]
    assert (surface.triangles[:, :, None] == owners[:, None, :]).any(axis=2).all()


def test_the_nearest_wall_hides_the_farther():
    raster = raster_of(sphere(), directions="patient")  # seen from -y
    seen = raster.triangle >= 0
    x, z = pixel_centres(raster.window)
    expected = np.sqrt(np.maximum(100 - x**2 - z**2, 0))
    inner = x**2 + z**2 < 8**2
    assert seen[inner].all()
    np.testing.assert_allclose(raster.depth[inner], expected[inner], atol=0.2)
    np.testing.assert_allclose(seen.mean() * x.size * raster.window.pixel**2, np.pi * 100, rtol=0.01)


def test_patient_views_show_the_named_side():
    mesh = sphere()
    surface = drawn.surface_of(mesh)
    views = {view.name: view.frame for view in drawn.views_of(surface, "patient")}
    np.testing.assert_array_equal(
        views["anterior (AP)"][0], [1, 0, 0]
    )  # the patient's left at the viewer's right
    np.testing.assert_array_equal(views["posterior (PA)"][0], [-1, 0, 0])
    np.testing.assert_array_equal(views["left"][2], [1, 0, 0])
    np.testing.assert_array_equal(views["right"][2], [-1, 0, 0])
    for frame in views.values():
        np.testing.assert_array_equal(frame[1], [0, 0, 1])


def test_principal_views_stand_on_the_longest_axis():
    stretched = sphere()
    mesh = Mesh(stretched.points * [3.0, 1.0, 2.0], stretched.cells)
    views = drawn.views_of(drawn.surface_of(mesh))
    assert [view.name for view in views] == ["0°", "90°", "180°", "270°"]
    for view in views:
        np.testing.assert_allclose(np.abs(view.frame[1]), [1, 0, 0], atol=1e-6)
        np.testing.assert_allclose(view.frame @ view.frame.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(view.frame) == pytest.approx(1.0)  # no mirror image of a heart
    np.testing.assert_allclose(views[0].frame[2], [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(views[1].frame[2], views[0].frame[0], atol=1e-12)


def test_a_flat_patch_in_space_is_seen_face_on():
    flat = plane()
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    mesh = Mesh(np.pad(flat.points, ((0, 0), (0, 1))) @ turn.T, flat.cells)
    raster = raster_of(mesh)
    assert len(drawn.views_of(raster.surface)) == 1
    area = (raster.triangle >= 0).sum() * raster.window.pixel**2
    assert area == pytest.approx(200.0, rel=0.02)
    assert raster.window.columns > raster.window.rows


def test_points_on_the_far_side_are_hidden():
    mesh = sphere()
    points = np.array([[0, -10, 0], [0, 10, 0], [3, -9.5, 2], [0, -9.0, 0], [0, 9.0, 0]], float)
    front, back = raster_of(mesh, directions="patient"), raster_of(mesh, view=2, directions="patient")
    np.testing.assert_array_equal(drawn.visible(front, points), [True, False, True, True, False])
    np.testing.assert_array_equal(drawn.visible(back, points), [False, True, False, False, True])


def test_level_lines_lie_on_their_level_and_have_one_width():
    mesh = plane(41, 21)
    raster = raster_of(mesh, pixels=400)
    values = mesh.points @ [3.0, 1.0]
    lines = drawn.level_lines(raster, values, np.array([20.0, 40.0]), width=2.0)
    picture = drawn.sample(raster, values)
    distance = np.minimum(np.abs(picture - 20), np.abs(picture - 40)) / np.hypot(3, 1) / raster.window.pixel
    np.testing.assert_allclose(lines[distance < 0.5], 1.0)
    assert not lines[distance > 1.5].any()
    assert not drawn.level_lines(raster, np.full(len(values), 20.0), np.array([20.0]), 2.0).any()


def test_a_rim_is_the_far_side_of_a_jump_in_depth():
    near, far = plane(width=10.0), plane()
    points = np.concatenate(
        [np.pad(near.points, ((0, 0), (0, 1))), np.pad(far.points, ((0, 0), (0, 1))) - [5, 0, 3]]
    )
    surface = drawn.surface_of(Mesh(points, np.concatenate([near.cells, far.cells + len(near.points)])))
    view = drawn.View("", np.eye(3))
    raster = drawn.rasterise(surface, view, drawn.windows_of(surface, (view,), 200)[0])
    x, y = pixel_centres(raster.window)
    outside = np.abs(x) - 5  # the near plane ends at -5 and 5
    inner = np.abs(y) < 4.5
    expected = (outside > 0) & (outside < 4 * raster.window.pixel)
    np.testing.assert_array_equal(drawn.rims(raster)[inner], expected[inner])


def test_shading_is_brightest_facing_the_viewer_whatever_the_orientation():
    mesh = sphere()
    flipped = Mesh(
        mesh.points, np.where(np.arange(len(mesh.cells))[:, None] % 2, mesh.cells, mesh.cells[:, [0, 2, 1]])
    )
    for candidate in (mesh, flipped):
        raster = raster_of(candidate, directions="patient")
        bright = drawn.shade(raster)
        rows, columns = bright.shape
        assert bright[rows // 2, columns // 2] == pytest.approx(1.0, abs=0.01)
        edge = np.flatnonzero(raster.triangle[rows // 2] >= 0)[1]
        assert bright[rows // 2, edge] < 0.8


def test_a_missing_value_blanks_its_triangles():
    mesh = plane()
    values = np.ones(len(mesh.points))
    values[5] = np.nan
    raster = raster_of(mesh)
    touched = np.isin(mesh.cells, 5).any(axis=1)
    picture = drawn.sample(raster, values)
    np.testing.assert_array_equal(np.isnan(picture), (raster.triangle < 0) | touched[raster.triangle])


def test_refusals():
    with pytest.raises(InputError, match="2 corners"):
        drawn.surface_of(Mesh([[0.0], [1.0]], [[0, 1]]))
    with pytest.raises(InputError, match="'principal' or 'patient'"):
        drawn.views_of(drawn.surface_of(plane()), "above")


def test_figures_of_one_mesh_share_what_their_pixels_see_until_it_is_gone():
    mesh = plane()
    first, second = (canvas.panels(mesh, title, "principal").rasters for title in ("one", "two"))
    assert first[0] is second[0]
    assert canvas.panels(plane(), "other", "principal").rasters[0] is not first[0]
    seen = weakref.ref(canvas.panels(mesh, "one", "principal").rasters[0])
    del mesh, first, second
    gc.collect()
    assert seen() is None
