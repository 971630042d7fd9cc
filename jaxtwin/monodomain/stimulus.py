"""Stimuli: where and when current enters the tissue."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._results import InputError
from .._types import nodal
from ..anatomy import Mesh


class AbstractStimulus(eqx.Module):
    """A current per capacitance, 1/ms, as a function of time; node-local.

    Fields with arrays over the nodes are `nodal`.
    """

    @abstractmethod
    def mean(self, start: Float[Array, ""], stop: Float[Array, ""]) -> Float[Array, " nodes"]:
        """The mean over a step."""


class Stimulus(AbstractStimulus):
    """Square pulses of current at one or more sites: a single pulse, or a whole pacing protocol (see
    `protocol`).

    Pulse p drives node i with `strength[s, i]`, s = `site[p]`, from `onset[p] + delay[s, i]` on for
    `duration[p]`. A train from one site without delays costs no more per time step than a single pulse.

    - `site`: (pulses,), index of the site of each pulse.
    - `onset`, `duration`: (pulses,), ms; they may be traced, differentiated and batched.
    - `strength`: (sites, nodes), du/dt during a pulse, 1/ms times the unit of u; 0 at other nodes.
    - `delay`: (sites, nodes), ms, onset of each node relative to the pulse; None: all nodes at once.
    """

    site: tuple[int, ...] = eqx.field(static=True)
    onset: Float[Array, " pulses"]
    duration: Float[Array, " pulses"]
    strength: Float[Array, "sites nodes"] = nodal()
    delay: Float[Array, "sites nodes"] | None = nodal(default=None)

    @property
    def pulses(self) -> int:
        """Number of pulses."""
        return len(self.site)

    def mean(self, start: Float[Array, ""], stop: Float[Array, ""]) -> Float[Array, " nodes"]:
        """Mean over a step, as the difference of the charge that each pulse has delivered at its two ends. No
        pulse is lost or counted twice between two steps, and no derivative is lost where a pulse ends at a
        step boundary."""
        drive, sites = jnp.zeros_like(self.strength[0]), np.asarray(self.site)
        for site, strength in enumerate(self.strength):
            of_site = slice(None) if len(self.strength) == 1 else np.flatnonzero(sites == site)
            onset, duration = self.onset[of_site], self.duration[of_site]
            if self.delay is None:
                lasted = self._lasted(start, stop, onset, duration)
                lasted = lasted[0] if len(lasted) == 1 else lasted.sum()
            else:
                each = zip(self.delay[site][None] + onset[:, None], duration, strict=True)
                lasted = sum((self._lasted(start, stop, *one) for one in each), jnp.zeros_like(drive))
            drive = drive + strength * (lasted * (1.0 / (stop - start)))
        return drive

    @staticmethod
    def _lasted(start, stop, onset, duration):
        """Duration of the pulses within a step."""

        def until(time):
            since = time - onset
            return jnp.where(since >= duration, duration, jnp.where(since <= 0.0, 0.0, since))

        return until(stop) - until(start)

    def starts(self, pulse: int = 0) -> tuple[Int[np.ndarray, " starts"], Float[np.ndarray, " starts"]]:
        """The nodes that a pulse excites, and its onset at each, ms. `pulse`: its number, from 0."""
        if not 0 <= pulse < self.pulses:
            raise InputError(
                f"pulse number {pulse} of a stimulus of {self.pulses}", f"0 to {self.pulses - 1}",
                "Beats are counted by the pulses that start them, from 0: correct the number",
            )  # fmt: skip
        site = self.site[pulse]
        nodes = np.flatnonzero(np.asarray(self.strength[site]) > 0)
        delay = 0.0 if self.delay is None else np.asarray(self.delay[site], np.float64)[nodes]
        return nodes, np.float64(self.onset[pulse]) + delay + np.zeros(len(nodes))

    def __add__(self, other: "Stimulus") -> "Stimulus":
        """All pulses of both stimuli."""
        delay = None
        if self.delay is not None or other.delay is not None:
            delay = jnp.concatenate(
                [jnp.zeros_like(s.strength) if s.delay is None else s.delay for s in (self, other)]
            )
        return Stimulus(
            self.site + tuple(len(self.strength) + site for site in other.site),
            jnp.concatenate([self.onset, other.onset]), jnp.concatenate([self.duration, other.duration]),
            jnp.concatenate([self.strength, other.strength]), delay,
        )  # fmt: skip


def pulse(nodes, size: int, *, onset=0.0, duration: float = 2.0, strength: Any = 0.5) -> Stimulus:
    """Returns a stimulus of one square pulse at the given nodes.

    **Arguments:**

    - `nodes`: indices, or a mask of `size` nodes. `size`: number of nodes of the mesh.
    - `onset`: ms, a number or one per index. `duration`: ms.
    - `strength`: du/dt, 1/ms, a number or one per index. 0.5 /ms for 2 ms raises u of a two-variable cell
      from rest to well above threshold; other cell models define a `strength` of their own.

    **Raises:** `InputError` if no node is selected, a value is not finite, or the duration is not positive.

    **Example:**

    ```python
    site = jt.pulse(jt.in_sphere(mesh, (10.0, 0.0, 0.0), 3.0), len(mesh.points), onset=5.0)
    ```
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
    numbers = {"onset": onset, "duration": duration, "strength": strength}
    for name, value in numbers.items():
        value = np.asarray(value, float)
        if not np.isfinite(value).all() or (name == "duration" and not (value > 0).all()):
            raise InputError(
                f"a stimulus with {name} = {value}", "finite numbers and a duration above 0 ms",
                f"Correct the {name}",
            )  # fmt: skip
    first = float(np.min(onset))
    strengths = np.zeros((1, size))
    strengths[0, nodes] = strength
    delay = None
    if np.ndim(onset):
        delays = np.zeros((1, size))
        delays[0, nodes] = np.asarray(onset, float) - first
        delay = jnp.asarray(delays, float)
    return Stimulus(
        (0,), jnp.asarray([first], float), jnp.asarray([duration], float), jnp.asarray(strengths, float),
        delay,
    )  # fmt: skip


def in_sphere(mesh: Mesh, centre, radius: float) -> np.ndarray:
    """Mask, (nodes,), of the nodes within `radius` mm of `centre` (mm)."""
    return np.linalg.norm(mesh.points - np.asarray(centre, float)[None], axis=1) <= radius


def in_regions(mesh: Mesh, regions) -> np.ndarray:
    """Mask, (nodes,), of the nodes of all cells with one of these region tags.

    `regions`: one tag or several. Tags that the mesh does not have select nothing; `pulse` refuses a mask
    without nodes.
    """
    mask = np.zeros(len(mesh.points), bool)
    mask[mesh.cells[np.isin(mesh.regions, regions)]] = True
    return mask
