"""The event-consistent gate: exact in the moment the voltage crosses the gate threshold."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Parameter


def fraction_below(
    before: Float[Array, "..."], after: Float[Array, "..."], threshold: Parameter
) -> Float[Array, "..."]:
    """Part of a step, 0 to 1, that u spends below the threshold when it runs linearly through the step."""
    low, high = jnp.minimum(before, after), jnp.maximum(before, after)
    moved = high - low > 1e-12
    # the double `where` keeps the derivative of the branch not taken finite
    span = jnp.where(moved, high - low, 1.0)
    inside = jnp.clip((threshold - low) / span, 0.0, 1.0)
    return jnp.where(moved, inside, jnp.where(low < threshold, 1.0, 0.0).astype(inside.dtype))


def relax_gate(
    h: Float[Array, "..."],
    before: Float[Array, "..."],
    after: Float[Array, "..."],
    dt: float,
    *,
    threshold: Parameter,
    tau_open: Parameter,
    tau_close: Parameter,
) -> Float[Array, "..."]:
    """h after a step of dt ms in which u runs linearly from `before` to `after`.

    h' = f (1 - h)/tau_open - (1 - f) h/tau_close with f the fraction of the step spent below the
    threshold, by the trapezoidal rule (second order; an exponential costs more and gains nothing where
    dt is a hundredth of the gate's times). With a hard switch per step the discrete map is piecewise
    constant in the switching time and its derivative misses that sensitivity; this one is continuous in
    everything and leaves the model as it is.
    """
    f = fraction_below(before, after, threshold)
    opening = f * (dt / tau_open)
    half = 0.5 * (opening + (1.0 - f) * (dt / tau_close))
    return (h * (1.0 - half) + opening) / (1.0 + half)
