"""Closest points against brute force, and interpolation as a linear map."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from jaxtwin._results import InputError
from jaxtwin.anatomy.closest import closest_on_simplex
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.fem.locate import locate


def sphere(count=300, seed=0):
    """A closed surface of triangles with radius 10 mm."""
    from scipy.spatial import ConvexHull

    points = np.random.default_rng(seed).normal(size=(count, 3))
    points *= 10.0 / np.linalg.norm(points, axis=1, keepdims=True)
    return Mesh(points, ConvexHull(points).simplices)


def soup(dim, corners, seed=0, cells=60):
    """Unconnected simplices of very different sizes."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-10, 10, (cells, 1, dim))
    size = 10.0 ** rng.uniform(-2, 1, (cells, 1, 1))
    points = (centre + size * rng.normal(size=(cells, corners, dim))).reshape(-1, dim)
    return Mesh(points, np.arange(len(points)).reshape(cells, corners))


def distance_to_simplex(point, corner):
    """The same by a method of its own: least squares with weights >= 0 and their sum held at 1."""
    heavy = 1e4
    matrix = np.vstack([corner.T, np.full(len(corner), heavy)])
    weights, _ = nnls(matrix, np.append(point, heavy))
    return np.linalg.norm(weights @ corner - point)


@pytest.mark.parametrize(("dim", "corners"), [(1, 2), (2, 2), (3, 2), (2, 3), (3, 3), (3, 4)])
def test_closest_point_is_the_one_of_brute_force(dim, corners):
    mesh = soup(dim, corners)
    positions = np.random.default_rng(1).uniform(-15, 15, (40, dim))
    found = locate(mesh, positions)
    wanted = [min(distance_to_simplex(p, c) for c in mesh.points[mesh.cells]) for p in positions]
    np.testing.assert_allclose(found.distance, wanted, atol=2e-5)
    foot = np.einsum("pc,pcd->pd", found.weights, mesh.points[found.nodes])
    np.testing.assert_allclose(np.linalg.norm(foot - positions, axis=1), found.distance, atol=1e-12)
    assert (found.weights >= 0).all()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, atol=1e-14)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(2, 3), (3, 3), (3, 4)]), st.booleans())
def test_one_simplex_even_degenerate(seed, shape, flat):
    dim, corners = shape
    rng = np.random.default_rng(seed)
    corner, point = rng.normal(size=(corners, dim)), 3 * rng.normal(size=dim)
    if flat:
        corner[-1] = 0.3 * corner[0] + 0.7 * corner[1]
    weights, distance = closest_on_simplex(point[None], corner[None])
    assert distance[0] == pytest.approx(distance_to_simplex(point, corner), abs=1e-5)
    assert np.linalg.norm(weights[0] @ corner - point) == pytest.approx(distance[0], abs=1e-12)


def test_nodes_and_centre_of_a_closed_surface():
    mesh = sphere()
    at_nodes = locate(mesh, mesh.points)
    np.testing.assert_allclose(at_nodes.distance, 0.0, atol=1e-12)
    np.testing.assert_allclose(at_nodes(jnp.asarray(mesh.points[:, 0])), mesh.points[:, 0], atol=1e-12)
    # The centre is about equally far from every cell: the worst case of the search.
    centre = locate(mesh, np.zeros((1, 3)))
    assert 9.0 < centre.distance[0] < 10.0


def test_a_node_that_no_cell_uses_is_not_part_of_the_mesh():
    mesh = Mesh([[0.0, 0], [1, 0], [0, 1], [5, 5]], [[0, 1, 2]])
    found = locate(mesh, [[5.0, 5.0]])
    assert found.distance[0] == pytest.approx(np.hypot(4.5, 4.5))


def test_linear_fields_are_exact_and_the_map_is_differentiable():
    mesh = sphere()
    positions = mesh.centroids
    place = locate(mesh, positions)
    slope = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    values = jnp.asarray(slope @ mesh.points.T)
    np.testing.assert_allclose(place(values), slope @ positions.T, atol=1e-12)
    grad = jax.grad(lambda u: place(u).sum())(values[0])
    np.testing.assert_allclose(grad.sum(), len(positions), rtol=1e-12)
    assert place(values.astype(jnp.float32)).dtype == jnp.float32


def test_a_corner_without_weight_has_no_part_in_a_point():
    """A point on a node, or on an edge, beside a node that was not reached; value and derivative."""
    mesh = Mesh(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([[0, 1, 2]]))
    place = locate(mesh, np.array([[0.0, 0.0], [0.5, 0.0], [0.2, 0.2]]))
    values = jnp.asarray([3.0, 5.0, jnp.nan])
    np.testing.assert_array_equal(place(values), [3.0, 4.0, np.nan])
    both = place(jnp.stack([values, values + 1.0]))
    np.testing.assert_array_equal(both, [[3.0, 4.0, np.nan], [4.0, 5.0, np.nan]])
    slope = jax.grad(lambda v: place(v)[:2].sum())(values)
    np.testing.assert_array_equal(slope, [1.5, 0.5, 0.0])


def test_many_points_in_several_chunks(monkeypatch):
    mesh = sphere()
    positions = np.random.default_rng(2).normal(size=(500, 3)) * 8
    whole = locate(mesh, positions)
    monkeypatch.setattr(
        sys.modules["jaxtwin.anatomy.closest"], "PAIRS", 50
    )  # the package exports the function
    np.testing.assert_array_equal(whole.distance, locate(mesh, positions).distance)


def test_bad_positions_are_refused_by_name():
    mesh = sphere()
    with pytest.raises(InputError, match=r"shape \(4, 2\)"):
        locate(mesh, np.zeros((4, 2)))
    bad = np.zeros((4, 3))
    bad[2, 1] = np.nan
    with pytest.raises(InputError, match="index 2"):
        locate(mesh, bad)
