"""Draws from the posterior of a twin, beside its Gaussian where that is all but exact."""

import sys

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats
from scipy.optimize import minimize

import jaxtwin as jt
from jaxtwin.posterior import Laplace
from jaxtwin.twin.sampling import log_posterior
from jaxtwin.twin.search import simulated

MESH = jt.sheet(6.0, 6.0, 1.0, fibre_angle=0.4)
NODES = len(MESH.points)
SIGMA_MS, LOG_D = 0.2, 0.2
CORNERS = [0.0, 0.0], [6.0, 6.0]


def make(maps: int = 1, **more) -> jt.Twin:
    return jt.Twin(
        MESH, ionic=jt.MitchellSchaeffer(), times=jt.Times(30.0, 0.25),
        conductivity=jt.LogConductivity(
            jt.uniform(NODES), reference=0.2, floor=0.05, ceiling=1.0, ratio=2.0
        ),
        stimuli=tuple(jt.pulse(jt.in_sphere(MESH, site, 1.6), NODES) for site in CORNERS[:maps]), **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def twin():
    return make(mesh_error=False)


@pytest.fixture(scope="module")
def data(twin):
    """A map of the nodes by the twin itself, with quantiles of the noise that the likelihood has."""
    theta = twin.mean() | {"conductivity": jnp.asarray([LOG_D])}
    levels = (np.arange(NODES) + 0.5) / NODES
    noise = np.random.default_rng(0).permutation(stats.t.ppf(levels, twin.likelihood.degrees))
    return jt.MappingData(MESH.points, np.asarray(twin.predict(theta)) + SIGMA_MS * noise)


def test_where_times_are_all_but_linear_the_draws_are_those_of_the_laplace_posterior(twin, data):
    """Means within four standard errors and a tenth of a deviation, deviations within a fifth. The top is
    searched without a gradient, in less time than one takes to compile."""
    start, back = ravel_pytree(twin.mean() | {"conductivity": jnp.asarray([LOG_D])})
    density = log_posterior(twin, data, back(start), SIGMA_MS)
    loss = eqx.filter_jit(lambda density, numbers: -density(back(numbers)))
    top = minimize(
        lambda numbers: float(loss(density, jnp.asarray(numbers))), start, method="Nelder-Mead",
        options={"initial_simplex": np.asarray(start) + 0.05 * np.eye(4, 3), "xatol": 1e-4, "fatol": 1e-4},
    )  # fmt: skip
    theta = back(jnp.asarray(top.x))
    posterior = twin.posterior(data, theta, sigma_ms=SIGMA_MS)
    found = twin.sample(data, posterior, draws=250, warmup=40, sigma_ms=SIGMA_MS)
    assert found.divergences == 0
    assert found.theta["conductivity"].shape == (250, 1)
    for name in ("conductivity", "offset"):
        drawn = np.asarray(found.theta[name])[:, 0]
        sd = float(posterior.variance()[name][0]) ** 0.5
        assert sd < 0.1, "narrow beside the prior, so that times are all but linear"
        effective = float(found.effective[name][0])
        assert effective > 100
        assert drawn.mean() == pytest.approx(float(theta[name][0]), abs=(4.0 * effective**-0.5 + 0.1) * sd)
        assert drawn.std() == pytest.approx(sd, rel=0.2)


def test_the_density_is_that_of_the_fit_but_for_what_the_fit_used_up(data):
    """The loss of the same observations, with the error of the mesh in them; the noise is freed by drawing
    all numbers, so that nothing is taken off for them."""
    twin = make(maps=2)
    data = jt.MappingData(
        np.tile(MESH.points, (2, 1)), np.tile(data.lat_ms, 2), map_index=np.repeat([0, 1], NODES),
        names=("one", "two"),
    )  # fmt: skip
    theta = twin.mean() | {"mesh_error": 0.3 * jnp.ones_like(twin.mean()["mesh_error"])}
    density = log_posterior(twin, data, theta, SIGMA_MS)
    assert all(np.abs(np.asarray(o.mesh_error)).max() > 0.01 for o in density.observations)
    assert [float(o.lost) for o in density.observations] == [0.0, 0.0]
    assert float(density(theta)) == pytest.approx(-simulated(twin, density.observations, theta).loss)


def test_without_blackjax_the_error_names_the_extra(twin, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    posterior = Laplace(twin.mean(), jnp.zeros((3, 0)), jnp.zeros(0))
    with pytest.raises(jt.InputError, match=r'without blackjax.*pip install "jaxtwin\[bayes\]"'):
        twin.sample(data, posterior)
