"""Where and when current enters the tissue."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import InputError
from .._types import nodal
from ..anatomy import Mesh


class AbstractStimulus(eqx.Module):
    """A current per capacitance, 1/ms, as a function of time; node by node.

    Fields with arrays over the nodes are `nodal`."""

    @abstractmethod
    def mean(self, start: Float[Array, ""], stop: Float[Array, ""]) -> Float[Array, " nodes"]:
        """The mean over a step."""


class Stimulus(AbstractStimulus):
    """Square pulses of current, each node with its own onset.

    - `strength`: (pulses, nodes), du/dt while the pulse lasts, 1/ms (0 where a node is not excited).
    - `onset`: (pulses, nodes), ms. `duration`: (pulses,), ms.
    """

    strength: Float[Array, "pulses nodes"] = nodal()
    onset: Float[Array, "pulses nodes"] = nodal()
    duration: Float[Array, " pulses"] = eqx.field()

    def mean(self, start: Float[Array, ""], stop: Float[Array, ""]) -> Float[Array, " nodes"]:
        """The mean over a step, as the difference of what each pulse has given at its two ends: no pulse is
        lost or doubled between two steps, nor a derivative where an end of a pulse meets that of a step."""
        drive = jnp.zeros_like(self.strength[0])
        for strength, onset, duration in zip(self.strength, self.onset, self.duration, strict=True):

            def given(time, onset=onset, duration=duration):
                since = time - onset
                return jnp.where(since >= duration, duration, jnp.where(since <= 0.0, 0.0, since))

            drive = drive + strength * ((given(stop) - given(start)) * (1.0 / (stop - start)))
        return drive

    def __add__(self, other: "Stimulus") -> "Stimulus":
        """Both trains of pulses."""
        return Stimulus(
            jnp.concatenate([self.strength, other.strength]),
            jnp.concatenate([self.onset, other.onset]),
            jnp.concatenate([self.duration, other.duration]),
        )


def pulse(nodes, size: int, *, onset=0.0, duration: float = 2.0, strength=0.5) -> Stimulus:
    """One pulse at the given nodes.

    `nodes`: indices or a mask of `size` nodes. `onset`, ms: a number or one per index. `strength`, 1/ms:
    0.5 over 2 ms lifts u from rest to well above any threshold. Raises `InputError` if no node is hit.
    """
    nodes = np.asarray(nodes)
    nodes = nodes if nodes.size else nodes.astype(int)
    if nodes.dtype == bool and nodes.shape != (size,):
        raise InputError(
            f"a mask of shape {nodes.shape}", f"one entry for each of {size} nodes", "Make it from this mesh"
        )
    nodes = np.flatnonzero(nodes) if nodes.dtype == bool else nodes
    if not np.issubdtype(nodes.dtype, np.integer):
        raise InputError(f"stimulus nodes of type {nodes.dtype}", "whole numbers or a mask", "Convert them")
    if nodes.size == 0:
        raise InputError(
            "a stimulus that hits no node", "at least one node inside it",
            "Move its centre onto the mesh or enlarge its radius (coordinates are in mm)",
        )  # fmt: skip
    if nodes.min() < 0 or nodes.max() >= size:
        raise InputError(
            f"stimulus nodes {nodes.min()} to {nodes.max()}", f"nodes between 0 and {size - 1}",
            "Check that the list of nodes belongs to this mesh and counts from 0",
        )  # fmt: skip
    strengths, onsets = np.zeros((1, size)), np.zeros((1, size))
    strengths[0, nodes] = strength
    onsets[0, nodes] = onset
    return Stimulus(jnp.asarray(strengths, float), jnp.asarray(onsets, float), jnp.asarray([duration], float))


def in_sphere(mesh: Mesh, centre, radius: float) -> np.ndarray:
    """Mask of the nodes within `radius` mm of `centre`."""
    return np.linalg.norm(mesh.points - np.asarray(centre, float)[None], axis=1) <= radius


def in_regions(mesh: Mesh, regions) -> np.ndarray:
    """Mask of the nodes of the cells with one of these region tags."""
    mask = np.zeros(len(mesh.points), bool)
    mask[mesh.cells[np.isin(mesh.regions, regions)]] = True
    return mask
