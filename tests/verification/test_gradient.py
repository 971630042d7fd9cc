"""Derivatives of a solve: against central differences, forward against reverse, by hand against autodiff.

In each case waves run and gates cross their threshold inside the window.
"""

import jax
import jax.numpy as jnp
import pytest

import jaxtwin as jt
from jaxtwin.fem import Space
from jaxtwin.monodomain import Checkpointed, RungeKuttaChebyshev, Times, Tissue, diffusion_tensor, simulate
from jaxtwin.monodomain.simulate import begin, march_of
from jaxtwin.signals import ActivationTimes
from jaxtwin.verify import DERIVATIVE_MESHES, derivative_errors, transpose_error

STEPPER = RungeKuttaChebyshev(3)


@pytest.fixture(scope="module")
def mesh():
    return DERIVATIVE_MESHES["sheet"]()


@pytest.mark.parametrize("model", [jt.MitchellSchaeffer, jt.ModifiedMitchellSchaeffer])
def test_every_parameter_and_recorder_against_central_differences_and_forward_mode(model):
    """Each parameter along a direction: reverse, forward and difference agree in each recorder."""
    for name, row in derivative_errors(model).items():
        for recorder, error in row.items():
            assert error["size"] > 0, (name, recorder)
            assert error["difference"] < 1e-5, (name, recorder)
            assert error["forward"] < 1e-9, (name, recorder)


@pytest.mark.parametrize("name", DERIVATIVE_MESHES)
@pytest.mark.parametrize(
    ("memory", "share"), [(1e9, 0.5), (6e5, 0.0)], ids=["stored, blended mass", "recomputed, lumped mass"]
)
def test_hand_written_transpose_equals_plain_autodiff(name, memory, share):
    """On all kinds of mesh, with and without recomputation and the blend of mass matrices."""
    assert max(transpose_error(name, memory, share).values()) < 1e-10


def test_memory_bound_picks_the_blocks_and_is_refused_when_too_small(mesh):
    """The longest divisor that fits; a clear refusal where none does."""
    tissue = Tissue(
        Space(mesh),
        jt.MitchellSchaeffer(),
        diffusion_tensor(mesh.fibres, 0.3),
        jt.pulse([0], len(mesh.points)),
    )
    march = march_of(tissue, STEPPER, Times(10.0, 0.1), ())
    state, memory = begin(march, None)
    assert Checkpointed(1e9).block(march, state, memory, 100) == 100
    small = 30 * 8 * len(mesh.points)
    small_block = Checkpointed(10.0 * small).block(march, state, memory, 100)
    assert 100 % small_block == 0
    assert 1 < small_block < 100
    with pytest.raises(jt.InputError, match="Allow more memory"):
        Checkpointed(1e3).block(march, state, memory, 100)


def test_a_point_never_reached_has_no_activation_and_no_derivative(mesh):
    """NaN, and a derivative of exactly zero rather than NaN."""
    space = Space(mesh)

    def late(log_d):
        stimulus = jt.pulse([0], len(mesh.points), strength=0.001)
        tissue = Tissue(
            space, jt.MitchellSchaeffer(), diffusion_tensor(mesh.fibres, jnp.exp(log_d)), stimulus
        )
        return simulate(
            tissue, Times(10.0, 0.1), stepper=STEPPER, recorders=(ActivationTimes(),), throw=False
        ).records[0]

    lat = late(jnp.asarray(-1.0))
    assert jnp.isnan(lat).all()
    assert float(jax.grad(lambda x: jnp.nansum(late(x)))(jnp.asarray(-1.0))) == 0.0
