"""Draws of predictions: as simulations of the same draws have them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from tests.inference.theta import laplace_of

MESH = jt.sheet(8.0, 8.0, 0.5, fibre_angle=0.4)
NODES = len(MESH.points)


@pytest.fixture(scope="module")
def known():
    """A twin of a field, and a Gaussian that leaves a third of the prior's standard deviation."""
    modes = jt.matern_modes(MESH, correlation_length=6.0, count=6)
    tissue_map = jt.LogDiffusivity(jt.field(modes, 0.5), reference=0.2, floor=0.02, ceiling=1.0, ratio=2.0)
    twin = jt.Twin(
        MESH, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, times=jt.Times(60.0, 0.2),
        beats=(jt.pulse(jt.in_sphere(MESH, [0.0, 0.0], 1.2), NODES),),
        discrepancy=jt.Discrepancy(0.5 * modes.modes[:, 1:]),
    )  # fmt: skip
    theta = twin.mean()
    size = sum(leaf.size for leaf in jax.tree.leaves(theta))
    return twin, laplace_of(theta, jnp.eye(size), jnp.full(size, 8.0))


@pytest.mark.parametrize("what", ["map", "unseen"])
def test_draws_are_close_to_simulations_of_the_same_numbers(known, what):
    twin, posterior = known
    site = jt.pulse(jt.in_sphere(MESH, [8.0, 0.0], 1.2), NODES)
    found = jt.predict(twin, posterior, 0 if what == "map" else site, draws=5, seed=3)
    drawn = posterior.sample(jax.random.key(3), 5)
    each = [jax.tree.map(lambda leaf, k=k: leaf[k], drawn) for k in range(5)]
    exact = np.stack([twin.predict(t) if what == "map" else twin.predict(t, site) for t in each])
    start = np.asarray(
        twin.predict(posterior.theta) if what == "map" else twin.predict(posterior.theta, site)
    )
    moved = exact - start[None]
    assert np.sqrt(np.mean(moved**2)) > 0.5, "or there is nothing to foretell"
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.15 * np.sqrt(np.mean(moved**2))


def test_no_wave_is_predicted_where_none_comes():
    """A sheet in two parts, of which one has no stimulus."""
    left = jt.sheet(4.0, 2.0, 0.5)
    right = jt.anatomy.Mesh(left.points + np.asarray([10.0, 0.0]), left.cells, left.fibres, left.regions)
    both = jt.anatomy.Mesh(
        np.concatenate([left.points, right.points]),
        np.concatenate([left.cells, right.cells + len(left.points)]),
        np.concatenate([left.fibres, right.fibres]), np.concatenate([left.regions, right.regions]),
    )  # fmt: skip
    count = len(both.points)
    twin = jt.Twin(
        both, cells=jt.MitchellSchaeffer(), times=jt.Times(30.0, 0.2), estimate_mesh_error=False,
        tissue_map=jt.LogDiffusivity(jt.uniform(count, 0.3), reference=0.2, floor=0.02, ceiling=1.0),
        beats=(jt.pulse(jt.in_sphere(both, [0.0, 0.0], 1.0), count),),
    )  # fmt: skip
    size = sum(leaf.size for leaf in jax.tree.leaves(twin.mean()))
    found = jt.predict(twin, laplace_of(twin.mean(), jnp.eye(size), jnp.ones(size)), draws=3)
    np.testing.assert_array_equal(np.isfinite(found), np.tile(np.arange(count) < len(left.points), (3, 1)))
