"""Which arrays have a value for each node is said by the fields of a Module, not guessed from shapes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin._types import nodal_leaves
from jaxtwin.monodomain import AbstractRecorder, simulate_split

MESH = jt.cable(10.0, 0.5)
NODES = len(MESH.points)
SPACE, STEPPER = jt.Space(MESH), jt.RungeKuttaChebyshev(3)


class Tabulated(jt.MitchellSchaeffer):
    """Mitchell-Schaeffer with its cubic as a table of as many numbers as the mesh has nodes."""

    table: Any = None

    def reaction(self, u, gates):
        assert self.table.shape == (NODES,)
        return jnp.sum(self.table) * gates * u * u * (1.0 - u) - u / self.tau_out


class Count(AbstractRecorder):
    """The number of steps, remembered as a number."""

    def init(self, u):
        return jnp.zeros((), u.dtype)

    def update(self, memory, step):
        return memory + 1.0

    def emit(self, step):
        return None

    def read(self, memory, emitted, dt):
        return memory


RECORDERS = (jt.ActivationTimes(),)


def solve(ionic, recorders=RECORDERS, **how):
    tensor = jt.diffusion_tensor(MESH.fibres, jnp.full(len(MESH.cells), 0.2))
    tissue = jt.Tissue(SPACE, ionic, tensor, jt.pulse([0, 1, 2], NODES))
    return jt.simulate(tissue, jt.Times(30.0, 0.1), stepper=STEPPER, recorders=recorders, **how)


def test_a_table_as_long_as_the_mesh_is_shared_whole():
    wanted = solve(jt.MitchellSchaeffer()).records[0]
    found = solve(Tabulated(table=jnp.full(NODES, 1.0 / 0.3 / NODES))).records[0]
    np.testing.assert_allclose(found, wanted, atol=1e-10)


def test_its_derivative_is_summed_over_the_nodes_and_that_of_a_field_is_not():
    """Table and field of the same cell: each entry of the table has the sum over the field, in its scale."""

    def mean(ionic, adjoint=None):
        return jnp.nanmean(solve(ionic, adjoint=adjoint).records[0])

    table = jnp.full(NODES, 1.0 / 0.3 / NODES)
    by_table = jax.jit(jax.grad(lambda t: mean(Tabulated(table=t))))(table)
    by_field = jax.jit(jax.grad(lambda f: mean(jt.MitchellSchaeffer(tau_in=f))))(jnp.full(NODES, 0.3))
    np.testing.assert_allclose(by_table, by_field.sum() * -(0.3**2), rtol=1e-9)


def test_a_memory_that_belongs_to_no_node_is_refused():
    with pytest.raises(jt.InputError, match=r"Count, which remembers an array of shape \(\).*`emit`"):
        solve(jt.MitchellSchaeffer(), (Count(),))


def test_a_field_of_another_mesh_is_refused_by_its_name():
    with pytest.raises(jt.InputError, match=r"MitchellSchaeffer\.tau_in of shape \(20,\) on .* 21 nodes"):
        solve(jt.MitchellSchaeffer(tau_in=jnp.full(NODES - 1, 0.3)))


def test_marks_reach_all_that_a_field_holds():
    """Numbers are shared, arrays in containers are nodal, those in a Module where its field says so."""
    cell = Tabulated(tau_in=jnp.ones(NODES), table=jnp.ones(NODES))
    state = jt.monodomain.State(jnp.ones(3), {"m": jnp.ones(3), "n": (jnp.ones(3),)}, jnp.ones(3))
    marked = {place for place, _, at_nodes in nodal_leaves((cell, state, [jnp.ones(4), 1.0])) if at_nodes}
    assert marked == {
        "[0].tau_in", "[1].u", "[1].gates['m']", "[1].gates['n'][0]", "[1].diffusion", "[2][0]",
    }  # fmt: skip


def test_a_mesh_in_parts_shares_tables_and_refuses_what_it_cannot_do():
    """One part on one device stands for many: fields are dealt out, a table is not."""
    parts = jt.partition(MESH, SPACE, 1)
    ionic = Tabulated(table=jnp.full(NODES, 1.0 / 0.3 / NODES), tau_out=jnp.full(NODES, 6.0))
    tensor = jt.diffusion_tensor(MESH.fibres, jnp.full(len(MESH.cells), 0.2))
    tissue = jt.Tissue(SPACE, ionic, tensor, jt.pulse([0, 1, 2], NODES))
    times = jt.Times(30.0, 0.1)
    found = simulate_split(parts, tissue, times, stepper=STEPPER, recorders=(jt.ActivationTimes(),))
    np.testing.assert_allclose(found.records[0], solve(ionic).records[0], atol=1e-10)
    with pytest.raises(jt.InputError, match="VoltageTrace on a mesh in parts"):
        simulate_split(parts, tissue, times, stepper=STEPPER, recorders=(jt.VoltageTrace(jnp.asarray([3])),))

    def by_table(table):
        cells = Tabulated(table=table)
        return simulate_split(
            parts, jt.Tissue(SPACE, cells, tensor, tissue.stimulus), times, stepper=STEPPER
        ).state.u.sum()

    with pytest.raises(jt.InputError, match="that all nodes share, of a mesh in parts"):
        jax.grad(by_table)(ionic.table)
