"""Recorders of what a step shows beside u: electrograms by A u, and states of the cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import jaxtwin as jt
from jaxtwin.fem import diffusion_operator
from jaxtwin.monodomain import AbstractRecorder

MESH = jt.sheet(4.0, 3.0, 0.5, fibre_angle=0.5, distortion=0.2)
NODES = len(MESH.points)
SPACE, TIMES, STEPPER = jt.Space(MESH), jt.Times(12.0, 0.1), jt.RungeKuttaChebyshev(4)
START = jt.pulse(jt.in_sphere(MESH, [0.0, 0.0], 1.0), NODES)
ELECTRODES = np.array([[2.0, 1.5, 1.0], [4.0, 3.0, 2.0]])


class Electrogram(AbstractRecorder):
    """phi_e = sum_i (m_i/r_i) (A u)_i/(4 pi sigma) with sigma = 1, at the end of each step."""

    weights: Float[Array, "electrodes nodes"]

    def init(self, u):
        return ()

    def update(self, memory, step):
        return ()

    def emit(self, step):
        return self.weights @ step.diffusion

    def read(self, memory, emitted, dt):
        return emitted


class Gate(Electrogram):
    """The mean of a state of the cells."""

    def emit(self, step):
        return jnp.mean(step.gates)[None]


class Steepest(AbstractRecorder):
    """The largest A u so far at each node, in a memory: what is diffused flows through `update` too."""

    def init(self, u):
        return (jnp.zeros_like(u),)

    def update(self, memory, step):
        return (jnp.where(step.diffusion >= memory[0], step.diffusion, memory[0]),)

    def emit(self, step):
        return None

    def read(self, memory, emitted, dt):
        return memory[0]


def weights():
    nodes = np.c_[MESH.points, np.zeros(NODES)]
    distance = np.linalg.norm(ELECTRODES[:, None] - nodes[None], axis=2)
    return SPACE.mass[None] / jnp.asarray(4 * np.pi * distance)


def solve(theta, *recorders, adjoint=None):
    """theta: logarithms of D in each cell, of tau_in and of tau_open."""
    log_d, log_in, log_open = theta
    ionic = jt.MitchellSchaeffer(tau_in=jnp.exp(log_in), tau_open=jnp.exp(log_open))
    tensor = jt.diffusion_tensor(MESH.fibres, jnp.exp(log_d), 3.0)
    return jt.simulate(
        jt.Tissue(SPACE, ionic, tensor, START), TIMES, stepper=STEPPER, recorders=recorders,
        adjoint=adjoint,
    )  # fmt: skip


THETA = (
    jnp.log(0.2) + 0.1 * jnp.asarray(np.random.default_rng(0).standard_normal(len(MESH.cells))),
    jnp.log(0.3), jnp.log(60.0),
)  # fmt: skip


def test_a_step_shows_what_the_operator_gives():
    """The last sample of the electrogram is that of the final u."""
    solution = solve(THETA, Electrogram(weights()))
    tensor = jt.diffusion_tensor(MESH.fibres, jnp.exp(THETA[0]), 3.0)
    wanted = weights() @ diffusion_operator(SPACE, tensor)(solution.state.u)
    np.testing.assert_allclose(solution.records[0][-1], wanted, rtol=1e-10)
    assert solution.records[0].shape == (TIMES.steps, 2)
    assert np.ptp(solution.records[0][:, 0]) > 0.01


def test_the_gradient_of_a_signal_is_that_of_forward_mode_and_central_differences():
    """By D in each cell and by parameters of the cells, with geometry alone in the recorder."""
    recorders = Electrogram(weights()), Gate(weights()), Steepest()

    def powers(theta, adjoint):
        return jnp.stack([jnp.sum(r**2) for r in solve(theta, *recorders, adjoint=adjoint).records])

    @jax.jit
    def reverse(theta, row):
        return jax.vjp(lambda t: powers(t, jt.Checkpointed(4e5)), theta)[1](row)[0]

    rng = np.random.default_rng(1)
    along = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), THETA)

    @jax.jit
    def ahead(theta):
        return jax.jvp(lambda t: powers(t, jt.ForwardMode()), (theta,), (along,))

    forward = ahead(THETA)[1]
    by = [ahead(jax.tree.map(lambda t, d, s=s: t + s * d, THETA, along))[0] for s in (1e-5, -1e-5)]
    np.testing.assert_allclose(forward, (by[0] - by[1]) / 2e-5, rtol=1e-5)
    for row, wanted in zip(jnp.eye(3), forward, strict=True):
        slope = sum(jnp.sum(g * d) for g, d in zip(reverse(THETA, row), along, strict=True))
        assert float(slope) == pytest.approx(float(wanted), rel=1e-8)
