"""The next site to measure: by closed forms, and where it should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.inference.problem import prior_mean
from tests.inference.theta import laplace_of, problem_of

MESH = jt.sheet(20.0, 6.0, 1.0)
NODES = len(MESH.points)
SD = 0.3


def make(basis) -> jt.Twin:
    tissue_map = jt.LogDiffusivity(basis, reference=0.2, floor=1e-6, ceiling=1e6, ratio=2.0)
    return jt.Twin(
        MESH, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, times=jt.Times(60.0, 0.2),
        beats=(site([0.0, 3.0]),), estimate_mesh_error=False, stepper=jt.RungeKuttaChebyshev(stages=2),
    )  # fmt: skip


def site(centre):
    return jt.pulse(jt.in_sphere(MESH, centre, 1.6), NODES)


def known(twin, gain=0.0) -> jt.Laplace:
    mean = prior_mean(twin, (jt.Arrival(),))
    size = sum(leaf.size for leaf in jax.tree.leaves(mean))
    return laplace_of(mean, jnp.eye(size), jnp.full(size, gain))


def test_the_information_on_one_number_is_that_of_a_line_through_the_points():
    """T goes with D^-1/2: log(1 + SD^2 sum((T - mean)/2)^2/noise^2)/2, for an offset that may be anything."""
    twin = make(jt.uniform(NODES, SD))
    ((index, nats),) = jt.design_next(
        problem_of(twin), known(twin), (site([0.0, 3.0]),), MESH.points, sigma_ms=3.0
    )
    speed = float(twin.cells.model.speed(0.2))
    starts, onset = site([0.0, 3.0]).starts()
    time, _ = jt.monodomain.eikonal(
        MESH, np.asarray(twin.diffusivity(twin.mean())), float(twin.cells.model.speed(1.0)), starts,
        onset,
    )  # fmt: skip
    assert time.max() > 15.0 / speed
    noise = 3.0**2 * 7.0 / 5.0  # what a point tells with Student-t errors of 4 degrees
    expected = 0.5 * np.log1p(SD**2 * np.sum((0.5 * (time - time.mean())) ** 2) / noise)
    assert index == 0
    assert nats == pytest.approx(expected, rel=0.01)


def test_the_next_site_is_not_where_the_same_wave_has_been():
    """Along a strip one end tells the most; next to it again tells less than the side that it has not."""
    modes = jt.matern_modes(MESH, correlation_length=8.0, count=12)
    twin = make(jt.field(modes, 0.5))
    candidates = tuple(site(c) for c in ([0.0, 3.0], [1.0, 3.0], [20.0, 3.0], [10.0, 3.0]))
    found = jt.design_next(problem_of(twin), known(twin), candidates, MESH.points, count=4, sigma_ms=1.0)
    gains = [nats for _, nats in found]
    assert sorted(index for index, _ in found) == [0, 1, 2, 3]
    assert gains == sorted(gains, reverse=True)
    assert {found[0][0], found[1][0]} != {0, 1}
    sure = jt.design_next(
        problem_of(twin), known(twin, gain=1e3), candidates, MESH.points, count=1, sigma_ms=1.0
    )
    assert sure[0][1] < 0.5 * gains[0], "where all is known there is little to gain"


def test_more_sites_than_candidates_are_refused():
    twin = make(jt.uniform(NODES, SD))
    with pytest.raises(jt.InputError, match="2 sites of 1 candidates"):
        jt.design_next(problem_of(twin), known(twin), (site([0.0, 3.0]),), MESH.points, count=2)
