"""Problem P with dolfinx: consistent mass; splitting into a reaction step and Crank-Nicolson by PETSc's CG.

Runs under the system's Python; takes one JSON of the job, prints one JSON line. The matrices are assembled
once, so that a step is one reaction (NumPy, in place), one product and one solve from an extrapolated guess.
"""

import json
import sys

from measure import measure, nearest, report

sys.path.pop(0)  # this folder, where this very file hides the package

import numpy as np
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from dolfinx.fem.petsc import assemble_matrix
from mpi4py import MPI
from petsc4py import PETSc


def main() -> None:
    job = json.loads(sys.argv[1])
    dt, theta = job["dt"], job.get("theta", 0.5)
    given = np.load(job["mesh"])
    triangle = ufl.Mesh(ufl.VectorElement("Lagrange", "triangle", 1))
    mesh = dmesh.create_mesh(MPI.COMM_SELF, given["cells"].astype(np.int64), given["points"], triangle)
    space = fem.FunctionSpace(mesh, ("Lagrange", 1))
    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    mass, stiffness = u * v * ufl.dx, 0.3 * ufl.dot(ufl.grad(u), ufl.grad(v)) * ufl.dx
    implicit = assemble_matrix(fem.form(mass + theta * dt * stiffness))
    explicit = assemble_matrix(fem.form(mass - (1.0 - theta) * dt * stiffness))
    implicit.assemble()
    explicit.assemble()
    points = space.tabulate_dof_coordinates()[:, :2]
    solver = PETSc.KSP().create(MPI.COMM_SELF)
    solver.setOperators(implicit)
    solver.setType("cg")
    solver.getPC().setType(job.get("preconditioner", "jacobi"))
    solver.setNormType(PETSc.KSP.NormType.NATURAL)
    solver.setInitialGuessNonzero(True)
    solver.setTolerances(rtol=1e-5, atol=1e-9)
    solver.setUp()
    x, b, w = (implicit.createVecRight() for _ in range(3))
    stimulus = np.where((points <= 2.0 + 1e-9).all(axis=1), 0.5 * dt, 0.0)
    steps, lasting = round(job["stop"] / dt), round(2.0 / dt)

    def run():
        nodes = len(points)
        u, old, h, lat = np.zeros(nodes), np.zeros(nodes), np.ones(nodes), np.full(nodes, np.nan)
        rate, gate, pushed, low = np.empty(nodes), np.empty(nodes), w.array, np.empty(nodes, bool)
        for step in range(steps):
            # reaction: du = h u^2 (1 - u) / tau_in - u / tau_out, dh = (1 - h) / tau_open or -h / tau_close
            np.subtract(1.0, u, out=rate)
            rate *= u
            rate *= h
            rate *= dt / 0.3
            rate += 1.0 - dt / 6.0
            np.multiply(u, rate, out=pushed)
            if step < lasting:
                pushed += stimulus
            np.less(u, 0.13, out=low)
            np.multiply(low, dt / 120.0 - dt / 150.0, out=gate)
            gate += dt / 150.0
            h -= gate * h
            h += np.multiply(low, dt / 120.0, out=gate)
            # diffusion
            explicit.mult(w, b)
            np.subtract(2.0 * u, old, out=x.array)
            solver.solve(b, x)
            old, u = u, old
            u[:] = x.array
            crossed = np.flatnonzero((u >= 0.5) & (old < 0.5))
            if crossed.size:
                crossed = crossed[np.isnan(lat[crossed])]
                lat[crossed] = dt * (step + (0.5 - old[crossed]) / (u[crossed] - old[crossed]))
        return lat

    lat, seconds = measure(run, job["repeats"])
    report(nodes=len(points), **seconds, lat_ms=lat[nearest(points, job["at"])].tolist())


if __name__ == "__main__":
    main()
