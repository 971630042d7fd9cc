"""How a solve ended."""

import enum

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..cells import AbstractIonicModel
from .recorder import AbstractRecorder


class Result(enum.IntEnum):
    """How a solve ended: `Solution.result` holds one of these values in an array, also under `jit` and
    `vmap`."""

    SUCCESS = 0
    DIVERGED = 1  # u is not finite, or outside the bounds of the cell model
    SILENT = 2  # activation was recorded, and no node was activated
    ESCAPED = 3  # a front reached an edge of its travelling window


MESSAGES = {
    Result.SUCCESS: "The solve ended well.",
    Result.DIVERGED: "The solve diverged: its numbers mean nothing. Look for a stimulus or a parameter out "
    "of range, then shorten the step or raise the number of stages.",
    Result.SILENT: "No node was activated: look at the stimulus (strength, nodes, onset) and at the cells.",
    Result.ESCAPED: "A front left its travelling window: the predicted arrival is wrong there, or there is "
    "more than one wave. Widen the window, or solve without one.",
}


def result_of(
    ionic: AbstractIonicModel,
    recorders: tuple[AbstractRecorder, ...],
    u: Float[Array, " nodes"],
    records,
    escaped: Bool[Array, ""] | bool = False,
) -> Int[Array, ""]:
    """The `Result` of a solve, from its final u, its records, and whether a front escaped from its window."""
    told = [r.activated(record) for r, record in zip(recorders, records, strict=True)]
    told = [activated for activated in told if activated is not None]
    silent = ~jnp.stack(told).any() if told else jnp.asarray(False)
    sound = jnp.all(_within(jax.lax.stop_gradient(u), ionic))
    ended = jnp.where(silent, int(Result.SILENT), int(Result.SUCCESS))
    ended = jnp.where(escaped, int(Result.ESCAPED), ended)
    return jnp.where(sound, ended, int(Result.DIVERGED))


def _within(u, ionic: AbstractIonicModel) -> Bool[Array, " nodes"]:
    low, high = ionic.bounds
    return (u >= low) & (u <= high)
