"""The slab of Niederer et al. 2011 (doi 10.1098/rsta.2011.0139) with modified Mitchell-Schaeffer cells.

Geometry, conductivity, stimulus and points are those of the benchmark; the cell is not (there ten Tusscher
and Panfilov 2006), so that its published times are no reference here. The reference is the limit of finer and
finer meshes.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from .._results import InputError
from ..anatomy import Mesh, reorder, slab
from ..cells import ModifiedMitchellSchaeffer
from ..fem import Space, lumped_mass
from ..fem.p1 import mass_of
from ..monodomain import ForwardMode, Times, Tissue, diffusion_tensor, pulse, simulate
from ..signals import ActivationTimes

SIZE = (20.0, 7.0, 3.0)
"""The cuboid, mm; fibres run along its first side."""
ALONG, ACROSS = 0.0952984, 0.0125758
"""Diffusivity along and across the fibres, mm2/ms: harmonic means of 0.17, 0.62 and 0.019, 0.24 S/m."""
CUBE, DURATION = 1.5, 2.0
"""Side of the stimulated cube at P1, mm, and length of the stimulus, ms."""
STRENGTH = 0.35714
"""1/ms: the 35.714 mV/ms of the benchmark over the 100 mV that u = 1 stands for; u gets to 0.7 by itself."""
POINTS = {
    "P1": (0.0, 0.0, 0.0), "P2": (0.0, 7.0, 0.0), "P3": (20.0, 0.0, 0.0), "P4": (20.0, 7.0, 0.0),
    "P5": (0.0, 0.0, 3.0), "P6": (0.0, 7.0, 3.0), "P7": (20.0, 0.0, 3.0), "P8": (20.0, 7.0, 3.0),
    "P9": (10.0, 3.5, 1.5),
}  # fmt: skip
"""The points of the benchmark, mm."""
ALONG_BETWEEN, ACROSS_BETWEEN = ((8.0, 0.0, 0.0), (16.0, 0.0, 0.0)), ((0.0, 3.0, 0.0), (0.0, 6.0, 0.0))
"""The pairs of points that give the speeds, on the edges P1-P3 and P1-P2."""
CONVERGED = {
    "P1": 1.15, "P2": 55.29, "P3": 65.27, "P4": 86.79, "P5": 15.92, "P6": 58.67, "P7": 67.93, "P8": 88.79,
    "P9": 42.03,
}  # fmt: skip
"""Limit of the activation times, ms: of edges of 0.125 and 0.0625 mm, lumped mass (`jaxtwin verify --full`);
with half of the consistent mass it comes out at most 0.1 ms earlier."""


class SlabWave(eqx.Module):
    """Activation of the slab on one mesh.

    - `edge`, mm; `dt`, ms; `consistent_mass`: see `Space`; `nodes`: of the mesh.
    - `lat`: activation time (u = 0.5) at each of `POINTS`, ms; NaN if not activated.
    - `along`, `across`: speed between `ALONG_BETWEEN` and `ACROSS_BETWEEN`, mm/ms.
    - `silent`: number of non-activated nodes.
    """

    edge: float
    dt: float
    consistent_mass: float
    nodes: int
    lat: dict[str, float]
    along: float
    across: float
    silent: int

    @property
    def figures(self) -> dict[str, float]:
        """All measured values: the nine times and the two speeds."""
        return self.lat | {"along": self.along, "across": self.across}


def cell_averaged(
    mesh: Mesh, inside: Bool[np.ndarray, " cells"], strength: float
) -> Float[np.ndarray, " nodes"]:
    """A stimulus of `strength` in the cells `inside`, as a strength at the nodes.

    J_i m_i is the integral of J phi_i: each node gets the weighted mean over the cells around it. The total
    current then equals that of the cells, strength times their volume, on every mesh; nodes on the surface of
    the stimulated region get a part of the strength.
    """
    return strength * mass_of(mesh.cells, mesh.measures * inside, len(mesh.points)) / lumped_mass(mesh)


def slab_wave(edge: float, dt: float = 0.1, *, consistent_mass: float = 0.0, stop: float = 120.0) -> SlabWave:
    """Solves the slab on a mesh of cubes of `edge` mm, six tetrahedra each, in steps of `dt` ms.

    `edge` must divide 0.5 mm: then all points are nodes and the cube is made of whole cells. Memory grows
    with the nodes, 5 kB for each: 0.25 mm has 30,537, 0.125 mm 229,425 and 0.0625 mm 1,777,377.
    """
    if not 0 < edge <= 0.5 or abs(0.5 / edge - round(0.5 / edge)) > 1e-9:
        raise InputError(
            f"an edge of {edge:g} mm", "one that divides 0.5 mm", "Choose 0.5, 0.25, 0.125, 0.1 or 0.0625"
        )
    mesh = reorder(slab(*SIZE, edge)).mesh
    strength = cell_averaged(mesh, np.all(mesh.centroids < CUBE, axis=1), STRENGTH)
    excited = np.flatnonzero(strength)
    stimulus = pulse(excited, len(strength), duration=DURATION, strength=strength[excited])
    tensor = diffusion_tensor(mesh.fibres, ALONG, ALONG / ACROSS)
    tissue = Tissue(
        Space(mesh, consistent_mass=consistent_mass), ModifiedMitchellSchaeffer(), tensor, stimulus
    )
    solution = simulate(tissue, Times(stop, dt), recorders=(ActivationTimes(),), adjoint=ForwardMode())
    times = np.asarray(solution.records[0], np.float64)

    def at(point) -> float:
        return float(times[np.abs(mesh.points - np.asarray(point)[None]).sum(axis=1).argmin()])

    def speed(first, second) -> float:
        return float(np.linalg.norm(np.subtract(second, first))) / (at(second) - at(first))

    return SlabWave(
        edge, dt, consistent_mass, len(times), {name: at(point) for name, point in POINTS.items()},
        speed(*ALONG_BETWEEN), speed(*ACROSS_BETWEEN), int(np.isnan(times).sum()),
    )  # fmt: skip


class Limit(eqx.Module):
    """Limit of a sequence of refinements, and the order of convergence (see `richardson_limit`)."""

    value: float
    order: float


def richardson_limit(
    values: tuple[float, float, float], ratio: float = 2.0, nominal_order: float = 2.0
) -> Limit:
    """Of values on three meshes, coarse to fine, each finer than the one before by `ratio`.

    The limit is that of the finest two at the nominal order, the order that of all three: where it is not
    the nominal one, the limit is not to be trusted to more than its distance from the finest value. The order
    is NaN where the values do not approach a limit from one side.
    """
    coarse, middle, fine = values
    value = fine + (fine - middle) / (ratio**nominal_order - 1.0)
    fall = (coarse - middle) / (middle - fine) if middle != fine else np.nan
    return Limit(float(value), float(np.log(fall) / np.log(ratio)) if fall > 0 else np.nan)


def slab_closed_form() -> dict[str, float]:
    """Speed of a plane wave along and across the fibres in closed form, mm/ms."""
    cell = ModifiedMitchellSchaeffer()
    return {"along": float(cell.speed(jnp.asarray(ALONG))), "across": float(cell.speed(jnp.asarray(ACROSS)))}
