"""The state in a file: the same arrays again, and no other file taken for one."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from squid import Squid

import jaxtwin as jt
from jaxtwin.monodomain import State, read_state, write_state
from jaxtwin.monodomain.stepper import initial_state


@pytest.mark.parametrize("ionic", [jt.MitchellSchaeffer(), Squid()], ids=["one gate", "four"])
@pytest.mark.parametrize("ahead", [None, jnp.arange(5.0)], ids=["lumped", "blended"])
def test_a_state_comes_back_as_it_was(tmp_path, ionic, ahead):
    rest = initial_state(ionic, 5, float)
    state = State(jnp.arange(5.0) - 0.3, rest.gates, jnp.arange(5.0) ** 2, ahead)
    write_state(tmp_path / "end.h5", state)
    assert eqx.tree_equal(read_state(tmp_path / "end.h5", ionic, 5), state)


def test_another_mesh_other_cells_and_other_files_are_refused(tmp_path):
    path = tmp_path / "end.h5"
    write_state(path, initial_state(Squid(), 5, np.float64))
    with pytest.raises(jt.InputError, match=r"each of 6 nodes"):
        read_state(path, Squid(), 6)
    with pytest.raises(jt.InputError, match=r"gates\.calcium \(5,\).*MitchellSchaeffer"):
        read_state(path, jt.MitchellSchaeffer(), 5)
    path.write_bytes(b"no HDF5")
    with pytest.raises(jt.InputError, match="no state of a tissue"):
        read_state(path, Squid(), 5)
