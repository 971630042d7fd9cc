"""The layout of a space: tables of neighbours, cuts into slices, and meshes that are refused."""

from itertools import combinations, pairwise

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

import jaxtwin as jt
from jaxtwin.anatomy import Mesh
from jaxtwin.fem import Space
from jaxtwin.fem.layout import cuts, padded


def cloud(seed: int, dim: int, count: int) -> Mesh:
    """The Delaunay triangulation of random points: nodes of very different degree, in random order."""
    points = np.random.default_rng(seed).uniform(0, 10, (count, dim))
    return Mesh(points, Delaunay(points).simplices)


CLOUDS = st.builds(cloud, st.integers(0, 10**6), st.sampled_from([2, 3]), st.integers(5, 40))


def stored(space: Space) -> int:
    """Places in the tables of all slices, used or not."""
    return sum(s.neighbours.size for s in space.layout.slices)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.booleans())
def test_a_padded_table_holds_each_value_once_under_its_key(keys, per_column):
    """In the order they came, the rest filled, with one number or with one per column."""
    fill = -1 - np.arange(10) if per_column else -1
    (table,) = padded(np.array(keys), 10, (np.arange(len(keys)), fill))
    assert len(table) == max(keys.count(k) for k in keys)
    for key in range(10):
        values = [i for i, k in enumerate(keys) if k == key]
        empty = [-1 - key if per_column else -1] * (len(table) - len(values))
        assert table[:, key].tolist() == values + empty


@given(st.lists(st.integers(1, 12), min_size=2, max_size=25), st.integers(2, 3))
def test_cuts_of_falling_degrees_are_the_cheapest_of_all(degree, most):
    """Against every way to cut into 2 to `most` runs."""
    degree = np.sort(degree)[::-1]

    def cost(bounds):
        return sum(degree[a:b].max() * (b - a) for a, b in pairwise(bounds))

    nodes = len(degree)
    every = [
        [0, *inner, nodes]
        for k in range(1, min(most, nodes))
        for inner in combinations(range(1, nodes), k)
    ]  # fmt: skip
    found = cuts(degree, most)
    assert found in every
    assert cost(found) == min(map(cost, every))


@settings(max_examples=15, deadline=None)
@given(CLOUDS)
def test_slices_hold_each_neighbour_once_and_name_its_edge(mesh):
    """Empty slots point to the node itself and to no edge; runs cover all nodes in order."""
    space = Space(mesh)
    start, edges = 0, np.vstack([mesh.edges, [-1, -1]])
    links = {(i, j) for i, j in mesh.edges.tolist()} | {(j, i) for i, j in mesh.edges.tolist()}
    for piece in space.layout.slices:
        neighbours, edge = np.asarray(piece.neighbours), np.asarray(piece.edges)
        own = np.broadcast_to(start + np.arange(neighbours.shape[1]), neighbours.shape)
        used = edge < len(mesh.edges)
        np.testing.assert_array_equal(used, neighbours != own)
        assert used.sum(axis=0).max() == len(neighbours)  # no slot is empty throughout
        found = np.sort(np.stack([own, neighbours], -1)[used], axis=1)
        np.testing.assert_array_equal(found, edges[edge[used]])
        here = set(zip(own[used].tolist(), neighbours[used].tolist(), strict=True))
        assert len(here) == used.sum()
        assert here <= links
        links -= here
        start += neighbours.shape[1]
    assert not links
    assert start == space.nodes


@settings(max_examples=15, deadline=None)
@given(CLOUDS)
def test_each_edge_is_owned_by_one_end_or_loose(mesh):
    """`owners` finds the two ends of each edge among the owned slots, slice by slice, and the loose ones."""
    space, ends, start = Space(mesh), [], 0
    for piece in space.layout.slices:
        run = piece.neighbours.shape[1]
        for row in np.asarray(piece.neighbours[: piece.owned]):
            ends.append(np.stack([np.arange(start, start + run), row], 1))
        start += run
    ends = np.sort(np.concatenate([*ends, np.asarray(space.layout.loose).T]), axis=1)
    np.testing.assert_array_equal(ends[space.layout.owners], mesh.edges)
    assert len(set(space.layout.owners.tolist())) == len(mesh.edges)


@pytest.mark.parametrize("mesh", [jt.slab(4.0, 4.0, 4.0, 0.5), jt.sheet(8.0, 8.0, 0.5, distortion=0.2)])
def test_owned_slots_are_few(mesh):
    """Loose edges counted twice, less than a fifth more places than edges."""
    space = Space(jt.reorder(mesh).mesh)
    places = (
        sum(s.owned * s.neighbours.shape[1] for s in space.layout.slices) + 2 * space.layout.loose.shape[1]
    )
    assert places < 1.2 * len(mesh.edges)


@settings(max_examples=15, deadline=None)
@given(CLOUDS)
def test_terms_gather_the_pairs_of_corners_of_each_edge(mesh):
    pairs = mesh.cells[:, np.stack(np.triu_indices(mesh.corners, 1), 1)].reshape(-1, 2)
    terms = np.asarray(Space(mesh).edge_terms)
    assert sorted(terms[terms < len(pairs)].tolist()) == list(range(len(pairs)))
    for edge, column in zip(mesh.edges, terms.T, strict=True):
        assert (np.sort(pairs[column[column < len(pairs)]], axis=1) == edge).all()


@settings(max_examples=15, deadline=None)
@given(CLOUDS)
def test_reordering_keeps_the_mesh_and_never_widens_its_tables(mesh):
    ordered = jt.reorder(mesh)
    np.testing.assert_array_equal(ordered.mesh.points, mesh.points[ordered.origin])
    np.testing.assert_array_equal(ordered.origin[ordered.mesh.cells], mesh.cells)
    assert stored(Space(ordered.mesh)) <= stored(Space(mesh))


@pytest.mark.parametrize("mesh", [jt.slab(4.0, 4.0, 4.0, 1.0), jt.atrial_shell(3.0), cloud(0, 2, 500)])
def test_reordering_makes_slices_tight(mesh):
    """At least four places of five hold a neighbour; with the nodes at random fewer do."""
    used = 2 * len(mesh.edges)
    shuffle = np.random.default_rng(0).permutation(len(mesh.points))
    random = Mesh(mesh.points[np.argsort(shuffle)], shuffle[mesh.cells], mesh.fibres)
    tight, loose = (used / stored(Space(m)) for m in (jt.reorder(random).mesh, random))
    assert tight > max(0.8, loose)


@pytest.mark.parametrize(
    "mesh", [jt.sheet(3.0, 2.0, 0.5, distortion=0.2), jt.slab(2.0, 1.0, 1.0, 0.5, distortion=0.2)]
)
def test_mass_is_the_size_and_cells_take_linear_functions_at_their_centre(mesh):
    space = Space(mesh, dtype=jnp.float32)
    assert space.mass.dtype == space.gradients.dtype == space.measures.dtype == jnp.float32
    assert float(space.mass.sum()) == pytest.approx(6.0 if mesh.dim == 2 else 2.0, rel=1e-6)
    slope = np.arange(1.0, mesh.dim + 1.0)
    np.testing.assert_allclose(
        Space(mesh).to_cells(jnp.asarray(mesh.points @ slope)), mesh.centroids @ slope, rtol=1e-12
    )


def test_cells_of_no_size_and_nodes_without_a_cell_are_refused():
    points = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]
    with pytest.raises(jt.InputError, match=r"1 cells of no size and 1 nodes without a cell.*repair"):
        Space(Mesh(points, [[0, 1, 2], [0, 1, 3]]))
    with pytest.raises(jt.InputError, match="0 cells of no size and 1 nodes"):
        Space(Mesh(points, [[0, 1, 2]]))
