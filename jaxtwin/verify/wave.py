"""Mesh-independent properties of a travelling wave: speed, invariance under rotation, conservation."""

import jax.numpy as jnp
import numpy as np

from ..anatomy import Mesh, sheet
from ..cells import AbstractIonicModel, MitchellSchaeffer, ModifiedMitchellSchaeffer
from ..fem import Space, diffusion_operator
from ..monodomain import Stimulus, Times, Tissue, diffusion_tensor, pulse, simulate
from ..signals import ActivationTimes, plane_wave_speed
from .order import Order


def _activation(
    space: Space, ionic: AbstractIonicModel, tensor, stimulus: Stimulus, stop: float, dt: float
) -> np.ndarray:
    tissue = Tissue(space, ionic, tensor, stimulus)
    return np.asarray(simulate(tissue, Times(stop, dt), recorders=(ActivationTimes(),)).records[0])


def speed_order(consistent_mass: float = 0.0) -> Order:
    """Relative error of the speed against the closed form, which is exact for a gate that stands still.

    Modified Mitchell-Schaeffer with a gate slower than the wave by 10^8, D = 0.1 mm2/ms, edges of 0.4, 0.2
    and 0.1 mm; the step shrinks with the square of the edge, so that the error in space is seen. The order
    is 2 with lumped mass and higher with half of the consistent one, which cancels the leading term.
    """
    cell, edges = ModifiedMitchellSchaeffer(tau_open=1e9, tau_close=1e9), (0.4, 0.2, 0.1)
    exact = float(cell.speed(jnp.asarray(0.1)))
    found = [
        plane_wave_speed(cell, edge=edge, dt=0.64 * edge**2, consistent_mass=consistent_mass)
        for edge in edges
    ]
    return Order(edges, tuple(abs(speed / exact - 1.0) for speed in found))


def rotation_difference(dim: int) -> float:
    """Largest change of an activation time, ms, if a distorted anisotropic sheet is rotated with its fibres.

    `dim` 2: in its plane. `dim` 3: out of it, into space.
    """
    flat = sheet(6.0, 6.0, 0.4, fibre_angle=0.7, distortion=0.2, seed=1)
    axes, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    if dim == 2:
        axes = np.array([[np.cos(1.1), np.sin(1.1)], [-np.sin(1.1), np.cos(1.1)]])
    turned = Mesh(flat.points @ axes[:2], flat.cells, flat.fibres @ axes[:2])
    start = pulse((flat.points < 1.0).all(axis=1), len(flat.points))
    lats = [
        _activation(Space(m), MitchellSchaeffer(), diffusion_tensor(m.fibres, 0.3, 4.0), start, 25.0, 0.05)
        for m in (flat, turned)
    ]
    return float(np.abs(lats[1] - lats[0]).max())


class Inert(MitchellSchaeffer):
    """A cell model without reaction, for pure diffusion."""

    def reaction(self, u, gates):
        return 0.0 * u


def total_drift(mesh: Mesh) -> float:
    """Relative change of the total of u in 20 ms of diffusion from a point; it is conserved exactly."""
    space = Space(mesh)
    tensor = diffusion_tensor(mesh.fibres, 0.3, 4.0)
    start = pulse([0], len(mesh.points), strength=0.5, duration=2.0)
    end = simulate(Tissue(space, Inert(), tensor, start), Times(20.0, 0.1)).state
    put_in = space.mass[0]
    flux = jnp.abs(jnp.sum(space.mass * diffusion_operator(space, tensor)(end.u)))
    return float(jnp.maximum(jnp.abs(jnp.sum(space.mass * end.u) / put_in - 1.0), flux / put_in))
