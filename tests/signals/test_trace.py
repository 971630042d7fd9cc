"""The voltage at a few points."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxtwin as jt
from jaxtwin.monodomain import Step


def test_the_trace_is_u_at_the_nodes_at_the_end_of_each_step():
    """One row per step, columns in the order of the nodes, also where one is asked for twice."""
    recorder = jt.VoltageTrace(jnp.asarray([4, 0, 4]))
    u = np.random.default_rng(0).normal(size=(6, 5))
    zero = jnp.zeros(5)
    assert jax.tree.leaves(recorder.init(zero)) == []
    steps = [
        Step(
            jnp.asarray(0.1 * i),
            0.1,
            jnp.asarray(u[i]),
            jnp.asarray(u[i + 1]),
            zero,
            zero,
            zero,
            None,
            0.5,
            0.1,
        )
        for i in range(5)
    ]
    assert all(jax.tree.leaves(recorder.update((), s)) == [] for s in steps)
    emitted = jnp.stack([recorder.emit(s) for s in steps])
    np.testing.assert_array_equal(recorder.read((), emitted, 0.1), u[1:, [4, 0, 4]])
