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
from jaxtwin.inference import Fit
from jaxtwin.inference.objective import simulated_assessment
from jaxtwin.inference.sampling import log_posterior
from tests.inference.theta import laplace_of, placed_on, problem_of

MESH = jt.sheet(6.0, 6.0, 1.0, fibre_angle=0.4)
NODES = len(MESH.points)
SIGMA_MS, LOG_D = 0.2, 0.2
CORNERS = [0.0, 0.0], [6.0, 6.0]


def make(maps: int = 1, **more) -> jt.Twin:
    return jt.Twin(
        MESH, cells=jt.MitchellSchaeffer(), times=jt.Times(30.0, 0.25),
        tissue_map=jt.LogDiffusivity(
            jt.uniform(NODES), reference=0.2, floor=0.05, ceiling=1.0, ratio=2.0
        ),
        beats=tuple(jt.pulse(jt.in_sphere(MESH, site, 1.6), NODES) for site in CORNERS[:maps]), **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def twin():
    return make(estimate_mesh_error=False)


@pytest.fixture(scope="module")
def data(twin):
    """A map of the nodes by the twin itself, with quantiles of the noise that the likelihood has."""
    theta = twin.mean() | {"tissue": {"diffusivity": jnp.asarray([LOG_D])}}
    levels = (np.arange(NODES) + 0.5) / NODES
    noise = np.random.default_rng(0).permutation(stats.t.ppf(levels, jt.StudentT().degrees))
    return jt.MappingData(MESH.points, np.asarray(twin.predict(theta)) + SIGMA_MS * noise).with_sigma(
        SIGMA_MS
    )


def fitted(twin, data, theta=None) -> Fit:
    """A fit that ended at theta, or at the prior mean."""
    problem = problem_of(twin)
    theta = problem.prior.mean if theta is None else theta
    placed = placed_on(problem, data)
    activation = simulated_assessment(problem, placed, theta).activation
    return Fit(theta, problem.counted(0.0, 0.0), data, placed, 0.0, 0, 0.0, activation, (), "")


def test_where_times_are_all_but_linear_the_draws_are_those_of_the_laplace_posterior(twin, data):
    """Means within four standard errors and a tenth of a deviation, deviations within a fifth. The top is
    searched without a gradient, in less time than one takes to compile."""
    mean = problem_of(twin).prior.mean
    start, back = ravel_pytree(mean | {"tissue": {"diffusivity": jnp.asarray([LOG_D])}})
    density = log_posterior(fitted(twin, data), back(start))
    loss = eqx.filter_jit(lambda density, numbers: -density(back(numbers)))
    top = minimize(
        lambda numbers: float(loss(density, jnp.asarray(numbers))), start, method="Nelder-Mead",
        options={"initial_simplex": np.asarray(start) + 0.05 * np.eye(4, 3), "xatol": 1e-4, "fatol": 1e-4},
    )  # fmt: skip
    theta = back(jnp.asarray(top.x))
    fit = fitted(twin, data, theta)
    posterior = jt.posterior(fit)
    found = jt.sample(fit, posterior, draws=250, warmup=40)
    assert found.divergences == 0
    assert found.theta["tissue"]["diffusivity"].shape == (250, 1)
    for group, name in (("tissue", "diffusivity"), ("maps", "offset")):
        drawn = np.asarray(found.theta[group][name])[:, 0]
        sd = float(posterior.variance()[group][name][0]) ** 0.5
        assert sd < 0.1, "narrow beside the prior, so that times are all but linear"
        effective = float(found.effective[group][name][0])
        assert effective > 100
        assert drawn.mean() == pytest.approx(
            float(theta[group][name][0]), abs=(4.0 * effective**-0.5 + 0.1) * sd
        )
        assert drawn.std() == pytest.approx(sd, rel=0.2)


def test_the_density_is_that_of_the_fit_but_for_what_the_fit_used_up(data):
    """The loss of the same observations, with the error of the mesh in them; the noise is freed by drawing
    all numbers, so that nothing is taken off for them."""
    twin = make(maps=2)
    data = jt.MappingData(
        np.tile(MESH.points, (2, 1)), np.tile(data.lat_ms, 2), map_index=np.repeat([0, 1], NODES),
        names=("one", "two"),
    )  # fmt: skip
    mean = problem_of(twin).prior.mean
    maps = mean["maps"] | {"mesh_error": 0.3 * jnp.ones_like(mean["maps"]["mesh_error"])}
    theta = mean | {"maps": maps}
    density = log_posterior(fitted(twin, data.with_sigma(SIGMA_MS)), theta)
    assert all(np.abs(np.asarray(one.mesh_error)).max() > 0.01 for one in density.placed)
    assert float(density.problem.arrival.lost) == 0.0
    loss = simulated_assessment(density.problem, density.placed, theta).loss
    stepped = eqx.tree_at(lambda d: d.problem, density, density.problem.stepped_for(theta))
    assert float(stepped(theta)) == pytest.approx(-loss)


def test_without_blackjax_the_error_names_the_extra(twin, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    posterior = laplace_of(problem_of(twin).prior.mean, jnp.zeros((3, 0)), jnp.zeros(0))
    with pytest.raises(jt.InputError, match=r'without blackjax.*pip install "jaxtwin\[bayes\]"'):
        jt.sample(fitted(twin, data), posterior)
