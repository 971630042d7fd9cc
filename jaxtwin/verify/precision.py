"""Single against double precision: the effect of 24-bit arithmetic on activation times."""

from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np

from ..anatomy import Mesh, atrial_shell, reorder, sheet, slab
from ..cells import ModifiedMitchellSchaeffer
from ..fem import Space
from ..monodomain import ForwardMode, Times, Tissue, diffusion_tensor, pulse, simulate
from ..signals import ActivationTimes

PRECISION_MESHES: dict[str, tuple[Callable[[], Mesh], float]] = {
    "sheet": (lambda: sheet(20.0, 20.0, 0.4, fibre_angle=0.5, distortion=0.2), 0.3),
    "atrial shell": (lambda: atrial_shell(2.0), 3.0),
    "slab": (lambda: slab(12.0, 6.0, 3.0, 0.5, distortion=0.2), 0.3),
}
"""Meshes by name, and the diffusivity along the fibres that suits their edges, mm2/ms; the ratio is 4."""


class Difference(eqx.Module):
    """Activation times, ms: how far apart two solves are, and the `last` of them."""

    largest: float
    rms: float
    last: float


def precision_difference(name: str, stop: float = 120.0, dt: float = 0.05) -> Difference:
    """Activation times of one of `PRECISION_MESHES` in float32 compared with float64.

    Both solves run the same program. All nodes must activate before `stop`, ms; otherwise the difference is
    NaN. JAX's own precision is set for each solve and restored.
    """
    make, along = PRECISION_MESHES[name]
    mesh = reorder(make()).mesh
    near = np.linalg.norm(mesh.points - mesh.points.min(axis=0)[None], axis=1)
    first = near <= np.sort(near)[len(near) // 100]
    lats = []
    for double in (False, True):
        with jax.enable_x64(double):
            tissue = Tissue(
                Space(mesh), ModifiedMitchellSchaeffer(),
                diffusion_tensor(mesh.fibres, along, 4.0), pulse(first, len(near)),
            )  # fmt: skip
            solution = simulate(
                tissue, Times(stop, dt), recorders=(ActivationTimes(),), adjoint=ForwardMode()
            )
            lats.append(np.asarray(solution.records[0], np.float64))
    gap = np.abs(lats[0] - lats[1])
    return Difference(float(gap.max()), float(np.sqrt(np.mean(gap**2))), float(lats[1].max()))
