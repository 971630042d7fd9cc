"""Fields of uncertainty: in closed form for one number."""

import jax.numpy as jnp
import numpy as np

import jaxtwin as jt
from jaxtwin.inference.spread import spread_of
from tests.inference.theta import laplace_of

NODES = 5


def tissue(**more) -> jt.LogDiffusivity:
    return jt.LogDiffusivity(jt.uniform(NODES, 0.5), reference=0.2, floor=1e-4, ceiling=1e3, **more)


def measured() -> jt.Laplace:
    """z of log D = log 0.2 + 0.5 z, measured to a tenth of its prior; two parameters that are not."""
    theta = {"tissue": {"diffusivity": jnp.asarray([0.4])}, "maps": {"offset": jnp.zeros(2)}}
    order = jnp.asarray([[0.0], [0.0], [1.0]])
    return laplace_of(theta, order, jnp.asarray([99.0]))


def test_spread_at_nodes_of_a_single_number():
    found = spread_of(tissue(), measured(), draws=4000)
    np.testing.assert_allclose(found.log_sd, 0.05, rtol=0.05)
    np.testing.assert_allclose(found.information, 0.99, atol=0.002)
    middle = 0.2 * np.exp(0.2)
    np.testing.assert_allclose(found.low, middle * np.exp(-1.645 * 0.05), rtol=0.01)
    np.testing.assert_allclose(found.high, middle * np.exp(1.645 * 0.05), rtol=0.01)
    assert not np.asarray(found.scar).any()


def test_spread_takes_the_discretisation_error():
    error = np.linspace(0.0, 0.12, NODES)
    found = spread_of(tissue(), measured(), error=error, draws=4000)
    np.testing.assert_allclose(found.log_sd, np.hypot(0.05, error), rtol=0.05)


def test_spread_where_the_data_say_nothing_is_that_of_the_prior():
    theta = {"tissue": {"diffusivity": jnp.zeros(1), "scar": jnp.asarray([5.0 / 6.0])}}
    with_scar = tissue(scar_basis=jt.uniform(NODES, 6.0), scar_bias=-5.0)
    found = spread_of(with_scar, laplace_of(theta, jnp.eye(2), jnp.zeros(2)), draws=4000)
    assert float(found.information.max()) < 0.05
    # the scar fraction is above a half where -5 + 6 z > 0, z ~ N(5/6, 1)
    np.testing.assert_allclose(found.scar, 0.5, atol=0.03)
