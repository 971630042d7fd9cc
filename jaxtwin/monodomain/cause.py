"""Diagnosis of a failed solve: the most likely cause, and what to do."""

import jax.numpy as jnp
import numpy as np

from .._types import nodal_leaves
from .stepper import AbstractStepper
from .stimulus import Stimulus
from .times import Times
from .tissue import Tissue, spectral_bound


def why_diverged(tissue: Tissue, stepper: AbstractStepper, times: Times, u, time: float) -> str:
    """Where and when a solve diverged, the most likely cause, and what to do."""
    u, (low, high) = np.asarray(u, np.float64), tissue.ionic.bounds
    beyond = np.where(np.isfinite(u), np.maximum(u - high, low - u), np.inf)
    worst = int(beyond.argmax())
    what = (
        f"The solve diverged before {time:g} ms: u = {u[worst]:.3g} at node {worst} where values between "
        f"{low:g} and {high:g} are possible ({(beyond > 0.0).sum()} nodes in all). "
    )
    for part in (tissue.stimulus, tissue.ionic):
        for place, leaf, _ in nodal_leaves(part):
            if not np.isfinite(np.asarray(leaf, np.float64)).all():
                return f"{what}{type(part).__name__}{place} is not finite: correct it."
    if isinstance(tissue.stimulus, Stimulus):
        strongest = float(jnp.abs(tissue.stimulus.strength).max())
        lift = strongest * float(tissue.stimulus.duration.max())
        if lift > high - low:
            return (
                f"{what}The stimulus of {strongest:g} /ms would change u by {lift:.3g}: lower its strength "
                f"({tissue.ionic.strength:g} /ms over 2 ms excites tissue at rest)."
            )
    bound = float(spectral_bound(tissue))
    if times.dt * bound > stepper.reach():
        return (
            f"{what}With {stepper.stages} stages a step of at most {stepper.reach() / bound:.2g} ms is "
            "stable on this mesh with this diffusivity: shorten the step, or leave the number of stages to "
            "be chosen."
        )
    return (
        f"{what}The step is stable for diffusion, so that a cell parameter is out of range or the reaction "
        "is stiffer than the model says: check the parameters, or shorten the step."
    )


def why_silent(tissue: Tissue, times: Times) -> str:
    """The most likely cause of a solve in which no node activated, and what to do."""
    what, stimulus = "No node was activated. ", tissue.stimulus
    if not isinstance(stimulus, Stimulus):
        return f"{what}Check the stimulus and the cells."
    strength = np.asarray(stimulus.strength, np.float64)
    begin, end = (np.asarray(x, np.float64) for x in (stimulus.onset, stimulus.onset + stimulus.duration))
    if not strength.any():
        return f"{what}The stimulus drives no node: its strength is 0 everywhere."
    if strength.max() <= 0.0:
        return f"{what}The strength of the stimulus is negative ({strength.min():g} /ms): turn its sign."
    if begin.min() >= times.stop or end.max() <= times.start:
        return (
            f"{what}The stimulus lasts from {begin.min():g} to {end.max():g} ms and the run from "
            f"{times.start:g} to {times.stop:g} ms: move its onset, or run for longer."
        )
    lift, nodes = strength.max() * float(stimulus.duration.max()), int((strength > 0.0).any(axis=0).sum())
    return (
        f"{what}The stimulus of {strength.max():g} /ms, which would lift u by {lift:.3g} in cells that "
        f"activate at {tissue.ionic.threshold:g}, stays below threshold on its {nodes} nodes: make it "
        f"stronger ({tissue.ionic.strength:g} /ms over 2 ms excites tissue at rest), longer or larger, or "
        "check that the cells are excitable."
    )
