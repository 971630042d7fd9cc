"""What a travelling wave must do, whatever the mesh: its speed, rotation, and conservation."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.anatomy import Mesh
from jaxtwin.fem import Space, diffusion_operator
from jaxtwin.monodomain import Times, Tissue, diffusion_tensor, simulate
from jaxtwin.signals import ActivationTimes, plane_wave_speed
from jaxtwin.verify import rotation_difference, total_drift

CELLS = [
    jt.MitchellSchaeffer(),
    jt.ModifiedMitchellSchaeffer(),
    jt.ModifiedMitchellSchaeffer.atrial(),
]


@pytest.mark.parametrize("ionic", CELLS, ids=["MS", "mMS", "mMS atrial"])
def test_plane_wave_speed_is_the_closed_form(ionic):
    """Cable, D = 0.1 mm2/ms, edge 0.05 mm: within 1 % of the bistable front (live gate, from rest)."""
    assert plane_wave_speed(ionic) == pytest.approx(float(ionic.speed(jnp.asarray(0.1))), rel=0.01)


def test_half_of_the_consistent_mass_cancels_the_leading_error_of_the_speed():
    """Edges of 0.4 mm at D = 0.1 mm2/ms: from 3 % slow to within 1 % of the fine cable."""
    cell = CELLS[0]
    fine = plane_wave_speed(cell)
    errors = {
        share: [
            abs(plane_wave_speed(cell, edge=edge, consistent_mass=share) / fine - 1) for edge in (0.4, 0.2)
        ]
        for share in (0.0, 0.5)
    }
    assert errors[0.5][0] < 0.3 * errors[0.0][0] < 0.015
    assert errors[0.5][0] > 6 * errors[0.5][1]
    assert 3.0 < errors[0.0][0] / errors[0.0][1] < 6.0


def test_published_speeds_of_the_closed_forms():
    """The values of the formulas at D = 0.1 mm2/ms, to four digits."""
    d = jnp.asarray(0.1)
    assert [round(float(c.speed(d)), 4) for c in CELLS] == [0.3436, 0.3021, 0.4619]
    assert round(float(jt.MitchellSchaeffer().speed(d, 0.35)), 4) == 0.1164
    assert float(jt.MitchellSchaeffer().speed(d, 0.2)) == 0.0  # below 9/8 of h_min: block


@pytest.mark.parametrize("dim", [2, 3])
def test_a_rotated_heart_with_its_fibres_has_the_same_activation(dim):
    """A distorted sheet, turned in its plane or out of it into space together with its fibres."""
    assert rotation_difference(dim) < 1e-9


def test_fibres_at_45_degrees_do_not_become_isotropic():
    """On a right-triangle grid, edge weights that drop the off-diagonal of the tensor lose the anisotropy."""
    mesh = jt.sheet(12.0, 12.0, 0.2, fibre_angle=np.pi / 4)
    centre = np.linalg.norm(mesh.points - 6.0, axis=1)
    tissue = Tissue(
        Space(mesh),
        jt.MitchellSchaeffer(),
        diffusion_tensor(mesh.fibres, 0.3, 4.0),
        jt.pulse(centre < 1.0, len(centre)),
    )
    lat = np.asarray(simulate(tissue, Times(20.0, 0.05), recorders=(ActivationTimes(),)).records[0])
    at = lambda x, y: np.linalg.norm(mesh.points - np.array([[x, y]]), axis=1).argmin()  # noqa: E731
    along = np.sqrt(8.0) / (lat[at(9, 9)] - lat[at(7, 7)])
    across = np.sqrt(8.0) / (lat[at(3, 9)] - lat[at(5, 7)])
    assert along / across == pytest.approx(2.0, rel=0.07)


@pytest.mark.parametrize(
    "mesh", [jt.sheet(5.0, 5.0, 0.5, distortion=0.2), jt.slab(3.0, 2.0, 1.0, 0.5, distortion=0.2)]
)
def test_nothing_flows_through_the_boundary(mesh):
    """Without reaction the total of u is conserved, and a constant stays constant to the last digit."""
    space = Space(mesh)
    diffusion = diffusion_operator(space, diffusion_tensor(mesh.fibres, 0.3, 4.0))
    u = jnp.asarray(np.random.default_rng(0).standard_normal(len(mesh.points)))
    total = float(jnp.sum(space.mass * diffusion(u)))
    assert abs(total) < 1e-12 * float(jnp.sum(space.mass * jnp.abs(diffusion(u))))
    assert float(jnp.abs(diffusion(jnp.full_like(u, 0.7))).max()) == 0.0
    assert total_drift(mesh) < 1e-12


def test_mass_scaling_bounds_the_spectrum_and_reports_itself():
    """One sliver dictates the step; more mass at its nodes changes the total by less than asked for."""
    mesh = jt.sheet(5.0, 5.0, 0.1)
    points = mesh.points.copy()
    a, b = mesh.cells[len(mesh.cells) // 2 + 50][:2]
    points[b] = points[a] + 0.05 * (points[b] - points[a])
    cells = Mesh(points, mesh.cells)
    tensor = diffusion_tensor(cells.fibres, 0.3)
    plain, scaled = Space(cells), Space(cells, mass_scaling=0.01)
    assert 0 < scaled.added_mass < 0.01 + 1e-12
    bounds = [float(diffusion_operator(s, tensor).spectral_bound()) for s in (plain, scaled)]
    assert bounds[1] < 0.5 * bounds[0]
    assert Space(mesh, mass_scaling=0.01).added_mass == 0.0
    assert eqx.tree_equal(Space(mesh, mass_scaling=0.01).mass, Space(mesh).mass)
