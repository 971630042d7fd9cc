"""Orders of convergence against exact solutions.

Manufactured: u(x, t) = 0.3 + 0.25 cos(k.x) sin-like in time, with the reaction of modified
Mitchell-Schaeffer switched on and the gate driven by u itself across its threshold; the source that makes
it exact enters as a stimulus. On domains where n.D grad u = 0 at the boundary the scheme has order 2 in
space; the stepper declares its order in time.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.anatomy import Mesh
from jaxtwin.fem import Diffusion, Space, lumped_mass
from jaxtwin.monodomain import (
    AbstractStimulus,
    RungeKuttaChebyshev,
    State,
    Times,
    Tissue,
    diffusion_tensor,
    simulate,
)


def order(sizes, errors) -> float:
    """Slope of log error over log size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def in_space(mesh: Mesh, tensor: np.ndarray, u: np.ndarray, laplacian: np.ndarray) -> float:
    """Error of a heat-like steady problem: solve (1 - L) w = u - L u in P1 and compare w with u.

    The lumped operator alone is not consistent node by node on unstructured meshes; the solution is.
    """
    import scipy.sparse as sp
    from scipy.sparse.linalg import spsolve

    space = Space(mesh)
    diffusion = Diffusion(space, jnp.asarray(tensor))
    nodes = len(mesh.points)
    rows, cols, values, start = [], [], [], 0
    for piece, conductance in zip(diffusion.slices, diffusion.conductances, strict=True):
        slots, run = piece.neighbours.shape
        rows.append(np.tile(np.arange(start, start + run), slots))
        cols.append(np.asarray(piece.neighbours).ravel())
        values.append(np.asarray(conductance).ravel())
        start += run
    row, col, value = map(np.concatenate, (rows, cols, values))
    weights = sp.coo_array((value, (row, col)), (nodes, nodes)).tocsr()
    stiffness = sp.diags_array(np.asarray(weights.sum(axis=1)).ravel()) - weights
    mass = lumped_mass(mesh)
    found = spsolve((sp.diags_array(mass) + stiffness).tocsc(), mass * (u - laplacian))
    return float(np.sqrt(np.sum(mass * (found - u) ** 2) / np.sum(mass)))


@pytest.mark.parametrize("distortion", [0.0, 0.2])
def test_second_order_in_space_on_anisotropic_sheets(distortion):
    """u = cos(pi x) cos(pi y) on the unit square, D diagonal 1 : 0.25: n.D grad u = 0 on the boundary."""
    sizes, errors = [1 / 10, 1 / 20, 1 / 40], []
    for edge in sizes:
        mesh = jt.sheet(1.0, 1.0, edge, distortion=distortion)
        x, y = mesh.points.T
        u = np.cos(np.pi * x) * np.cos(np.pi * y)
        tensor = np.tile(np.diag([1.0, 0.25]), (len(mesh.cells), 1, 1))
        errors.append(in_space(mesh, tensor, u, -1.25 * np.pi**2 * u))
    assert order(sizes, errors) > 1.85


def test_second_order_in_space_on_a_curved_surface():
    """The spherical harmonic xy on the unit sphere: its Laplace-Beltrami operator is -6 times itself."""
    sizes, errors = [], []
    for frequency in (8, 16, 32):
        mesh = unit_sphere(frequency)
        u = mesh.points[:, 0] * mesh.points[:, 1]
        tensor = np.tile(np.eye(3), (len(mesh.cells), 1, 1))
        errors.append(in_space(mesh, tensor, u, -6.0 * u))
        sizes.append(1 / frequency)
    assert order(sizes, errors) > 1.85


def test_second_order_in_space_on_tetrahedra():
    """u = cos(pi x) cos(pi y) cos(pi z) on the unit cube, D diagonal 1 : 0.5 : 0.25."""
    sizes, errors = [1 / 4, 1 / 8, 1 / 16], []
    for edge in sizes:
        mesh = jt.slab(1.0, 1.0, 1.0, edge)
        u = np.cos(np.pi * mesh.points).prod(axis=1)
        tensor = np.tile(np.diag([1.0, 0.5, 0.25]), (len(mesh.cells), 1, 1))
        errors.append(in_space(mesh, tensor, u, -1.75 * np.pi**2 * u))
    assert order(sizes, errors) > 1.8


def unit_sphere(frequency: int) -> Mesh:
    """A cube of `frequency` squares a side, cut into triangles and pushed out to the sphere."""
    side = np.tan(np.linspace(-np.pi / 4, np.pi / 4, frequency + 1))
    a, b = np.meshgrid(side, side, indexing="ij")
    one = np.ones_like(a)
    faces = [(a, b, one), (b, a, -one), (one, a, b), (-one, b, a), (b, one, a), (a, -one, b)]
    points = np.concatenate([np.stack(f, -1).reshape(-1, 3) for f in faces])
    i = np.arange((frequency + 1) ** 2).reshape(frequency + 1, -1)
    p, q, r, s = i[:-1, :-1].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel(), i[:-1, 1:].ravel()
    cells = np.concatenate([np.stack([p, q, r], 1), np.stack([p, r, s], 1)])
    cells = np.concatenate([cells + k * (frequency + 1) ** 2 for k in range(6)])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    _, first, same = np.unique(np.round(points, 9), axis=0, return_index=True, return_inverse=True)
    mesh = Mesh(points[first], same.ravel()[cells])
    span = mesh.points[mesh.cells]
    tangent = span[:, 1] - span[:, 0]
    return Mesh(mesh.points, mesh.cells, tangent / np.linalg.norm(tangent, axis=1, keepdims=True))


class Manufactured(AbstractStimulus):
    """J that makes u(x, t) = m(x) (0.2 + 0.4 (t/T)^2) an exact solution of the semi-discrete equations.

    The discrete operator is used for div(D grad u), so that only the error in time is left. The gate at
    each node follows its own equation; u crosses the threshold once, at a time known in closed form.
    """

    shape: jnp.ndarray
    diffused: jnp.ndarray
    ionic: jt.ModifiedMitchellSchaeffer
    stop: float = eqx.field(static=True)

    def u(self, t):
        return self.shape * (0.2 + 0.4 * (t / self.stop) ** 2)

    def gate(self, t):
        """h opens towards 1 until u crosses a, then closes: both are exponentials."""
        a = self.ionic.a
        cross = self.stop * jnp.sqrt(jnp.maximum((a / self.shape - 0.2) / 0.4, 0.0))
        before = 1.0 - 0.5 * jnp.exp(-jnp.minimum(t, cross) / self.ionic.tau_open)
        return before * jnp.exp(-jnp.maximum(t - cross, 0.0) / self.ionic.tau_close)

    def mean(self, start, dt):
        t = start + 0.5 * dt
        factor = 0.2 + 0.4 * (t / self.stop) ** 2
        speed = self.shape * 0.8 * t / self.stop**2
        return speed - factor * self.diffused - self.ionic.reaction(self.u(t), self.gate(t))


def test_order_in_time_is_the_declared_one():
    """With reaction, anisotropy and the gate crossing its threshold at different times across the sheet."""
    mesh = jt.sheet(2.0, 2.0, 0.25, fibre_angle=0.5)
    space = Space(mesh)
    tensor = diffusion_tensor(mesh.fibres, 0.1, 4.0)
    # short gate times, so that an error in the gate is an error one sees
    ionic = jt.ModifiedMitchellSchaeffer(tau_in=0.6, tau_out=4.0, tau_open=8.0, tau_close=10.0, a=0.13)
    shape = jnp.asarray(0.35 + 0.1 * np.cos(np.pi * mesh.points[:, 0] / 2.0))
    stop = 4.0
    exact = Manufactured(shape, Diffusion(space, tensor)(shape), ionic, stop)
    tissue = eqx.tree_at(
        lambda t: t.stimulus, Tissue(space, ionic, tensor, jt.pulse([0], len(mesh.points))), exact
    )
    begin = State(exact.u(jnp.asarray(0.0)), exact.gate(jnp.asarray(0.0)), exact.diffused * 0.2)
    steps, errors = [0.4, 0.2, 0.1, 0.05], []
    for dt in steps:
        end = simulate(tissue, Times(stop, dt), stepper=RungeKuttaChebyshev(4), state=begin).state
        error = jnp.abs(end.u - exact.u(jnp.asarray(stop))), jnp.abs(end.gate - exact.gate(jnp.asarray(stop)))
        errors.append([float(e.max()) for e in error])
    errors = np.asarray(errors)
    declared = RungeKuttaChebyshev.order
    assert order(steps, errors[:, 0]) > declared - 0.2
    assert order(steps, errors[:, 1]) > declared - 0.2
