"""Orders of convergence, fitted to the errors of a sequence of refinements."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from ..anatomy import sheet
from ..cells import ModifiedMitchellSchaeffer
from ..fem import Space, diffusion_operator, dispersion_operator, lumped_mass
from ..monodomain import RungeKuttaChebyshev, State, Times, Tissue, diffusion_tensor, simulate
from .exact import STEADY, Manufactured, Steady


class Order(eqx.Module):
    """Errors at each size (mm or ms) and the slope of log error over log size."""

    sizes: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def order(self) -> float:
        """The observed order, by least squares."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.errors), 1)[0])


def spatial_order(name: str) -> Order:
    """Order of the diffusion operator on one of the problems of `STEADY`, in the L2 norm."""
    problem, sizes = STEADY[name]
    return Order(sizes, tuple(_steady_error(problem(edge)) for edge in sizes))


def _steady_error(exact: Steady) -> float:
    """Solves w - div(D grad w) = u - div(D grad u) in P1 and compares w with u.

    The lumped operator alone is not consistent node by node on unstructured meshes; the solution is.
    """
    diffusion = diffusion_operator(Space(exact.mesh), jnp.asarray(exact.tensor))
    i, j = exact.mesh.edges.T
    half = sp.coo_array((np.asarray(diffusion.of_edges), (i, j)), 2 * (len(exact.mesh.points),)).tocsr()
    weights = half + half.T
    stiffness = sp.diags_array(np.asarray(weights.sum(axis=1)).ravel()) - weights
    mass = lumped_mass(exact.mesh)
    found = spsolve((sp.diags_array(mass) + stiffness).tocsc(), mass * (exact.u - exact.laplacian))
    return float(np.sqrt(np.sum(mass * (found - exact.u) ** 2) / np.sum(mass)))


def temporal_order() -> dict[str, Order]:
    """Orders in time of u and of the gate: anisotropic sheet with reaction, gates crossing at many times.

    With lumped mass, and with half of the consistent mass, whose source is extrapolated in time.
    """
    mesh = sheet(2.0, 2.0, 0.25, fibre_angle=0.5)
    tensor = diffusion_tensor(mesh.fibres, 0.1, 4.0)
    # short gate times, so that an error in the gate is visible
    ionic = ModifiedMitchellSchaeffer(tau_in=0.6, tau_out=4.0, tau_open=8.0, tau_close=10.0, a=0.13)
    shape = jnp.asarray(0.35 + 0.1 * np.cos(np.pi * mesh.points[:, 0] / 2.0))
    steps, orders = (0.4, 0.2, 0.1, 0.05), {}
    for share, name in ((0.0, ""), (0.5, ", blended mass")):
        space = Space(mesh, consistent_mass=share)
        diffused = diffusion_operator(space, tensor)(shape)
        whole = diffused + dispersion_operator(space, share)(diffused)
        exact = Manufactured(ionic, 4.0, shape, whole)
        begin = State(exact.u(jnp.asarray(0.0)), exact.gate(jnp.asarray(0.0)), diffused * 0.2)
        tissue, stop = Tissue(space, ionic, tensor, exact), jnp.asarray(exact.stop)
        ends = [
            simulate(tissue, Times(exact.stop, dt), stepper=RungeKuttaChebyshev(4), state=begin).state
            for dt in steps
        ]
        orders["u" + name] = Order(steps, tuple(float(jnp.abs(e.u - exact.u(stop)).max()) for e in ends))
        orders["gate" + name] = Order(
            steps, tuple(float(jnp.abs(e.gates - exact.gate(stop)).max()) for e in ends)
        )
    return orders
