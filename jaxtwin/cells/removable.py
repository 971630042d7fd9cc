"""Quotients that are smooth although numerator and denominator vanish together."""

import jax.numpy as jnp
from jaxtyping import Array, Float

NEAR = 0.1  # argument below which a series is exact to double precision and a quotient begins to cancel


def over_expm1(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x / (exp(x) - 1), which is 1 at 0, with exact derivatives there: the voltage dependence of a
    Goldman-Hodgkin-Katz flux and of many opening rates."""
    near = jnp.abs(x) < NEAR
    small, large = jnp.where(near, x, 0.0), jnp.where(near, 1.0, x)
    s = small * small
    # Bernoulli numbers: the next term is 1e-17 at `NEAR`
    series = 1.0 - 0.5 * small + s / 12.0 * (1.0 - s / 60.0 * (1.0 - s / 42.0 * (1.0 - s / 40.0)))
    return jnp.where(near, series, large / jnp.expm1(large))


def expm1_over(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """(exp(x) - 1) / x, which is 1 at 0, with exact derivatives there: what an exponential step makes of a
    slope."""
    near = jnp.abs(x) < NEAR
    small, large = jnp.where(near, x, 0.0), jnp.where(near, 1.0, x)
    series = jnp.ones_like(x)
    for k in range(10, 1, -1):
        series = 1.0 + small / k * series
    return jnp.where(near, series, jnp.expm1(large) / large)
