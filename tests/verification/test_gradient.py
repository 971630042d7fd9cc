"""Derivatives of a solve: against central differences, forward against reverse, by hand against autodiff.

In each case waves run and gates cross their threshold inside the window.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.fem import Space
from jaxtwin.monodomain import (
    Checkpointed,
    ForwardMode,
    RungeKuttaChebyshev,
    Times,
    Tissue,
    diffusion_tensor,
    simulate,
)
from jaxtwin.observe import ActivationTimes, VoltageTrace

# a short refractory time, so that activation and repolarisation both fall into 60 ms
QUICK = {"tau_in": 0.3, "tau_out": 5.0, "tau_open": 30.0, "tau_close": 12.0}
MESHES = {
    "sheet": jt.sheet(4.0, 4.0, 0.5, fibre_angle=0.5, distortion=0.2),
    "surface": jt.atrial_shell(4.0),
    "slab": jt.slab(3.0, 2.0, 1.0, 0.5),
}
STEPPER = RungeKuttaChebyshev(3)


def observe(theta, mesh, space, model, recorders, adjoint):
    """A smooth scalar of each record of one solve, theta being everything one may fit: (recorders,)."""
    ionic = model(**{k: theta[k] for k in QUICK})
    start = mesh.points.min(axis=0)
    near = np.linalg.norm(mesh.points - start[None], axis=1)
    stimulus = jt.pulse(near <= np.sort(near)[4], len(mesh.points), onset=1.03, duration=2.0)
    stimulus = eqx.tree_at(
        lambda s: (s.strength, s.onset),
        stimulus,
        (stimulus.strength * theta["strength"], stimulus.onset + theta["onset"]),
    )
    tensor = diffusion_tensor(mesh.fibres, jnp.exp(theta["log_d"]), theta["ratio"])
    solution = simulate(
        Tissue(space, ionic, tensor, stimulus),
        Times(40.0, 0.1),
        stepper=STEPPER,
        recorders=recorders,
        adjoint=adjoint,
    )

    def scalar(record):
        weights = jnp.cos(jnp.arange(record.size, dtype=record.dtype)).reshape(record.shape)
        return jnp.nansum(weights * record) / jnp.sum(jnp.isfinite(record), dtype=record.dtype)

    return jnp.stack([scalar(r) for r in solution.records]) + jnp.mean(solution.state.gate)


def parameters(mesh):
    rng = np.random.default_rng(0)
    scale = 4.0 if mesh.corners == 3 and mesh.dim == 3 else 0.3
    log_d = jnp.asarray(np.log(scale) + 0.1 * rng.standard_normal(len(mesh.cells)))
    scalars = QUICK | {"ratio": 2.0, "strength": 1.0, "onset": 0.0}
    return {k: jnp.asarray(v) for k, v in scalars.items()} | {"log_d": log_d}


RECORDERS = {
    "activation": ActivationTimes(),
    "two activations": ActivationTimes(count=2),
    "repolarisation": ActivationTimes(threshold=0.3, upward=False),
    "trace": VoltageTrace(jnp.asarray([3, 17])),
}


@pytest.mark.parametrize("model", [jt.MitchellSchaeffer, jt.ModifiedMitchellSchaeffer])
def test_every_parameter_and_recorder_against_central_differences_and_forward_mode(model):
    """Each parameter along a direction: reverse, forward and difference agree to 1e-5 in each recorder."""
    mesh = MESHES["sheet"]
    space, theta, recorders = Space(mesh), parameters(mesh), tuple(RECORDERS.values())

    def value(theta, adjoint):
        return observe(theta, mesh, space, model, recorders, adjoint)

    solve = jax.jit(lambda t: value(t, Checkpointed()))
    jacobian = jax.jit(jax.jacrev(lambda t: value(t, Checkpointed())))(theta)
    forward = jax.jit(lambda t, d: jax.jvp(lambda t: value(t, ForwardMode()), (t,), (d,))[1])
    rng = np.random.default_rng(1)
    for name in theta:
        direction = {k: jnp.zeros_like(v) for k, v in theta.items()}
        direction[name] = jnp.asarray(rng.standard_normal(theta[name].shape))
        size = 1e-5 * float(jnp.max(jnp.abs(theta[name]) + 0.1)) / float(jnp.max(jnp.abs(direction[name])))
        ahead, behind = (
            np.asarray(solve(jax.tree.map(lambda t, d, s=s: t + s * d, theta, direction)))
            for s in (size, -size)
        )
        difference = (ahead - behind) / (2 * size)
        reverse = jnp.tensordot(jacobian[name], direction[name], axes=direction[name].ndim)
        np.testing.assert_allclose(reverse, forward(theta, direction), rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(reverse, difference, rtol=1e-5, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES.keys())
@pytest.mark.parametrize("memory", [1e9, 6e5], ids=["stored", "recomputed"])
def test_hand_written_transpose_equals_plain_autodiff(mesh, memory):
    """On all kinds of mesh, with and without recomputation."""
    space, theta, recorders = Space(mesh), parameters(mesh), (ActivationTimes(),)

    def gradient(adjoint):
        return jax.jit(
            jax.grad(lambda t: observe(t, mesh, space, jt.MitchellSchaeffer, recorders, adjoint)[0])
        )(theta)

    by_hand, plain = gradient(Checkpointed(memory)), gradient(ForwardMode())
    for name in theta:
        scale = float(jnp.abs(plain[name]).max())
        assert scale > 0, name
        assert float(jnp.abs(by_hand[name] - plain[name]).max()) < 1e-10 * scale, name


def test_memory_bound_picks_the_blocks_and_is_refused_when_too_small():
    """The longest divisor that fits; a clear refusal where none does."""
    from jaxtwin.monodomain.simulate import _begin, _march

    mesh = MESHES["sheet"]
    tissue = Tissue(
        Space(mesh),
        jt.MitchellSchaeffer(),
        diffusion_tensor(mesh.fibres, 0.3),
        jt.pulse([0], len(mesh.points)),
    )
    march = _march(tissue, STEPPER, Times(10.0, 0.1), ())
    state, memory = _begin(march, None)
    assert Checkpointed(1e9).block(march, state, memory, 100) == 100
    small = 30 * 8 * len(mesh.points)
    small_block = Checkpointed(10.0 * small).block(march, state, memory, 100)
    assert 100 % small_block == 0
    assert 1 < small_block < 100
    with pytest.raises(jt.InputError, match="Allow more memory"):
        Checkpointed(1e3).block(march, state, memory, 100)


def test_a_point_never_reached_has_no_activation_and_no_derivative():
    """NaN, and a derivative of exactly zero rather than NaN."""
    mesh = MESHES["sheet"]
    space = Space(mesh)

    def late(log_d):
        stimulus = jt.pulse([0], len(mesh.points), strength=0.001)
        tissue = Tissue(
            space, jt.MitchellSchaeffer(), diffusion_tensor(mesh.fibres, jnp.exp(log_d)), stimulus
        )
        return simulate(tissue, Times(10.0, 0.1), stepper=STEPPER, recorders=(ActivationTimes(),)).records[0]

    lat = late(jnp.asarray(-1.0))
    assert jnp.isnan(lat).all()
    assert float(jax.grad(lambda x: jnp.nansum(late(x)))(jnp.asarray(-1.0))) == 0.0
