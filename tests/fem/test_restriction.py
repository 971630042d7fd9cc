"""Sets of nodes cut out of a mesh: the operator between them, and the edges that leave them."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxtwin as jt
from jaxtwin.fem import EdgeOperator, diffusion_operator, restrict

MESH = jt.reorder(jt.sheet(6.0, 5.0, 0.5, fibre_angle=0.3, distortion=0.2)).mesh
NODES = len(MESH.points)
SPACE = jt.Space(MESH)
SETS = [MESH.points[:, 0] < 2.5, abs(MESH.points[:, 1] - 2.0) < 1.2, np.zeros(NODES, bool)]


def restricted(found, k: int, of_edges):
    """The diffusion operator of one set, its nodes, and which of these are no padding."""
    layout = jax.tree.map(lambda leaf: leaf[k], found.layout)
    nodes = np.minimum(np.asarray(found.nodes[k]), NODES - 1)
    coefficients = jnp.append(of_edges, 0.0)[found.edges[k]]
    return EdgeOperator(coefficients, 1.0 / SPACE.mass[nodes], layout), nodes, found.nodes[k] < NODES


def test_a_restricted_operator_is_that_of_the_edges_inside():
    """Against the operator of the whole mesh without the edges that leave the set; every cut edge is
    listed."""
    found = restrict(SPACE.layout, SETS)
    whole = diffusion_operator(SPACE, jt.diffusion_tensor(MESH.fibres, 0.2, 3.0))
    u = jnp.asarray(np.random.default_rng(0).normal(size=NODES))
    for k, chosen in enumerate(SETS):
        operator, nodes, real = restricted(found, k, whole.of_edges)
        assert sorted(nodes[real]) == np.flatnonzero(chosen).tolist()
        inside = chosen[MESH.edges].all(axis=1)
        expected = whole.with_edges(jnp.where(inside, whole.of_edges, 0.0))(u)
        np.testing.assert_allclose(operator(u[nodes])[real], expected[nodes[real]], atol=1e-12)
        cut = np.asarray(found.outside[k]) < NODES
        pairs = np.stack([nodes[np.asarray(found.inside[k])[cut]], np.asarray(found.outside[k])[cut]], axis=1)
        leaving = MESH.edges[chosen[MESH.edges].sum(axis=1) == 1]
        assert {tuple(sorted(p)) for p in pairs.tolist()} == {tuple(sorted(e)) for e in leaving.tolist()}


def test_each_edge_inside_is_counted_once():
    """The sum of (u_i - u_j)^2 over the edges, as the adjoint computes it, and its way back to the mesh."""
    found = restrict(SPACE.layout, SETS)
    whole = diffusion_operator(SPACE, jt.diffusion_tensor(MESH.fibres, 0.2, 3.0))
    u = jnp.asarray(np.random.default_rng(1).normal(size=NODES))
    for k, chosen in enumerate(SETS):
        operator, nodes, _ = restricted(found, k, whole.of_edges)
        there = u[nodes]
        squares = operator.to_edges(operator.edge_products([1.0], [there], [there]))
        back = jnp.zeros(len(MESH.edges) + 1).at[found.edges[k]].add(squares)[:-1]
        inside = chosen[MESH.edges].all(axis=1)
        np.testing.assert_allclose(
            back, np.where(inside, (u[MESH.edges[:, 0]] - u[MESH.edges[:, 1]]) ** 2, 0.0), atol=1e-12
        )


def test_sets_may_take_the_shape_of_others():
    large = restrict(SPACE.layout, [np.ones(NODES, bool)])
    small = restrict(SPACE.layout, [SETS[0]], large.widths)
    assert jax.tree.map(np.shape, small) == jax.tree.map(np.shape, large)
