"""The event-consistent gate: exact in the moment the voltage crosses the gate threshold."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Parameter


@jax.custom_jvp
def fraction_below(
    before: Float[Array, "..."], after: Float[Array, "..."], threshold: Parameter
) -> Float[Array, "..."]:
    """Part of a step, 0 to 1, that u spends below the threshold when it runs linearly through the step."""
    # the last term is below one unit in the last place of any step that matters, and spares a `where`
    moved = jnp.abs(after - before) + 1e-12
    return jnp.clip((threshold - jnp.minimum(before, after)) / moved, 0.0, 1.0)


@fraction_below.defjvp
def _(primals, tangents):
    """With f rising from 0 at the start: d f = (d threshold - (1 - f) d before - f d after)/|moved|.

    By hand because a step of the adjoint spends more on the derivatives of `minimum`, `clip` and a quotient
    than on all else that happens at a node.
    """
    before, after, threshold = primals
    d_before, d_after, d_threshold = tangents
    f = fraction_below(before, after, threshold)
    inside = (f > 0.0) & (f < 1.0)
    per_moved = jnp.where(inside, 1.0, 0.0) / (jnp.abs(after - before) + 1e-12)
    share = jnp.where(after > before, f, 1.0 - f)
    return f, per_moved * (d_threshold - (d_before + share * (d_after - d_before)))


def relax_gate(
    h: Float[Array, "..."],
    before: Float[Array, "..."],
    after: Float[Array, "..."],
    dt: Parameter,
    *,
    threshold: Parameter,
    tau_open: Parameter,
    tau_close: Parameter,
) -> Float[Array, "..."]:
    """h after a step of dt ms in which u runs linearly from `before` to `after`.

    h' = f (1 - h)/tau_open - (1 - f) h/tau_close with f the fraction of the step spent below the
    threshold, by the Taylor polynomial of second order (an exponential or a division costs more and gains
    nothing where dt is a hundredth of the gate's times). With a hard switch per step the discrete map is
    piecewise constant in the switching time and its derivative misses that sensitivity; this one is
    continuous in everything and leaves the model as it is.
    """
    f = fraction_below(before, after, threshold)
    opening = f * (dt / tau_open)
    rate = opening + (1.0 - f) * (dt / tau_close)
    return h + (opening - rate * h) * (1.0 - 0.5 * rate)
