"""Cells against their published equations, the travelling front they have in closed form, and fields."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxtwin as jt
from jaxtwin.cells import parameter_names

CELLS = {
    "MS": jt.MitchellSchaeffer(),
    "mMS": jt.ModifiedMitchellSchaeffer(),
    "mMS atrial": jt.ModifiedMitchellSchaeffer.atrial(),
}
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())


def scalar(x) -> jax.Array:
    return jnp.asarray(x, float)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_reaction_is_the_published_one(u, h):
    """The right-hand sides as printed in the two papers."""
    ms, modified = CELLS["MS"], CELLS["mMS atrial"]
    wanted = h * u**2 * (1 - u) / 0.3 - u / 6.0
    assert float(ms.reaction(scalar(u), scalar(h))) == pytest.approx(wanted, abs=1e-13)
    wanted = h * u * (u - 0.1) * (1 - u) / 0.15 - (1 - h) * u / 1.5
    assert float(modified.reaction(scalar(u), scalar(h))) == pytest.approx(wanted, abs=1e-13)


@every_cell
def test_rest_is_steady_and_stiffness_bounds_the_slope(cell):
    u, h = map(scalar, cell.resting())
    assert float(cell.reaction(u, h)) == 0.0
    assert float(cell.relax(h, u, u, 5.0)) == 1.0
    us, hs = jnp.meshgrid(jnp.linspace(0, 1, 101), jnp.linspace(0, 1, 21))
    slope = jax.vmap(jax.grad(cell.reaction))(us.ravel(), hs.ravel())
    assert float(jnp.abs(slope).max()) <= float(cell.stiffness())


@every_cell
def test_millivolts(cell):
    np.testing.assert_allclose(cell.millivolts(jnp.asarray([0.0, 0.5, 1.0])), [-80.0, -30.0, 20.0])


@settings(max_examples=200, deadline=None)
@given(
    st.floats(0.05, 2), st.floats(0.5, 50), st.floats(0.02, 0.45), st.floats(0, 1), st.floats(0, 1)
)  # fmt: skip
def test_the_modified_cell_is_never_a_pacemaker(tau_in, tau_out, a, fraction, h):
    """Below a nothing drives u up, whatever the parameters and the gate: rest attracts all of it."""
    cell = jt.ModifiedMitchellSchaeffer(tau_in=tau_in, tau_out=tau_out, a=a)
    assert float(cell.reaction(scalar(fraction * a), scalar(h))) <= 0.0


def test_the_original_cell_can_be_one():
    """tau_out long, u_gate high: u rises with the gate open below u_gate, which the test above would see."""
    cell = jt.MitchellSchaeffer(tau_out=60.0)
    assert float(cell.reaction(scalar(0.1), scalar(1.0))) > 0.0


@every_cell
@pytest.mark.parametrize("h", [1.0, 0.8, 0.6])
def test_speed_is_that_of_the_exact_front(cell, h):
    """With h fixed the reaction is a cubic A u (u - b)(p - u), whose front is known: u = p/(1 + exp(k x)),
    k = p sqrt(A/(2 D)). Put into D u'' + c u' + reaction(u) = 0 it leaves nothing, c being `speed`.

    Independent of the closed forms: A, b and p come from the reaction by interpolation.
    """
    diffusivity = 0.1
    at = np.array([0.2, 0.5, 0.8])
    a2, a1, a0 = np.polyfit(at, cell.reaction(jnp.asarray(at), scalar(h)) / at, 2)
    roots = np.roots([a2, a1, a0])
    assert np.isreal(roots).all()
    peak = roots.max()
    k = peak * np.sqrt(-a2 / (2 * diffusivity))
    x = np.linspace(-3, 3, 121) / k
    u = peak / (1 + np.exp(k * x))
    first = -k * u * (1 - u / peak)
    second = k**2 * u * (1 - u / peak) * (1 - 2 * u / peak)
    speed = float(cell.speed(scalar(diffusivity), h))
    residual = diffusivity * second + speed * first + np.asarray(cell.reaction(jnp.asarray(u), scalar(h)))
    assert speed > 0.05
    assert np.abs(residual).max() < 1e-10


@pytest.mark.parametrize(
    ("cell", "h", "simulated"),
    [
        ("MS", 1.0, 0.3434), ("MS", 0.6, 0.2291), ("MS", 0.35, 0.1165),
        ("mMS", 1.0, 0.3020), ("mMS atrial", 1.0, 0.4614),
    ],
)  # fmt: skip
def test_speed_agrees_with_fine_simulations(cell, h, simulated):
    """mm/ms at D = 0.1 mm2/ms, the gate frozen at h, by a 1-D code that shares nothing with this package."""
    assert float(CELLS[cell].speed(scalar(0.1), h)) == pytest.approx(simulated, rel=1.5e-3)


@every_cell
def test_conduction_blocks_where_the_front_stands_still(cell):
    """The critical h: 9/8 of 4 tau_in/tau_out for MS, 1/(1 + tau_out (1 - 2a)(2 - a)/(9 tau_in)) for mMS."""
    if isinstance(cell, jt.MitchellSchaeffer):
        critical = 9 / 8 * 4 * cell.tau_in / cell.tau_out
    else:
        critical = 1 / (1 + cell.tau_out * (1 - 2 * cell.a) * (2 - cell.a) / (9 * cell.tau_in))
    assert float(cell.speed(scalar(0.1), 0.999 * critical)) == 0.0
    assert 0 < float(cell.speed(scalar(0.1), 1.001 * critical)) < 0.01


@every_cell
def test_diffusivity_is_the_inverse_of_speed(cell):
    speeds = jnp.asarray([0.2, 0.5, 1.0])
    np.testing.assert_allclose(cell.speed(cell.diffusivity(speeds)), speeds, rtol=1e-12)
    slope = jax.grad(lambda d: cell.speed(d))(scalar(0.3))
    assert float(slope) == pytest.approx(0.5 * float(cell.speed(scalar(0.3))) / 0.3, rel=1e-12)


@pytest.mark.parametrize("model", [jt.MitchellSchaeffer, jt.ModifiedMitchellSchaeffer])
def test_parameters_may_be_fields(model):
    """Node by node what the scalars give; the stiffness that of the stiffest node."""
    rng = np.random.default_rng(0)
    gate = "u_gate" if model is jt.MitchellSchaeffer else "a"
    centre = {"tau_in": 0.3, "tau_out": 6.0, "tau_open": 120.0, "tau_close": 150.0, gate: 0.13}
    fields: dict[str, Any] = {k: jnp.asarray(v * rng.uniform(0.8, 1.2, 5)) for k, v in centre.items()}
    cell = model(**fields)
    u, after, h = (jnp.asarray(rng.uniform(0, 1, 5)) for _ in range(3))
    results = (
        lambda c, u, after, h: c.reaction(u, h),
        lambda c, u, after, h: c.relax(h, u, after, 0.5),
        lambda c, u, after, h: c.speed(u, 1.0),
    )
    each = [model(**{k: float(v[i]) for k, v in fields.items()}) for i in range(5)]
    for result in results:
        wanted = [float(result(c, u[i], after[i], h[i])) for i, c in enumerate(each)]
        np.testing.assert_allclose(result(cell, u, after, h), wanted, rtol=1e-13)
    assert float(cell.stiffness()) == max(float(c.stiffness()) for c in each)


@pytest.mark.parametrize("model", [jt.MitchellSchaeffer, jt.ModifiedMitchellSchaeffer])
def test_blocked_tissue_has_a_speed_of_zero_with_finite_derivatives(model):
    slope = jax.grad(lambda h: model().speed(jnp.asarray(0.1), h))(jnp.asarray(0.05))
    assert slope == 0.0


@pytest.mark.parametrize("model", [jt.MitchellSchaeffer, jt.ModifiedMitchellSchaeffer])
def test_times_that_are_none_are_refused(model):
    for name in ("tau_in", "tau_out", "tau_open", "tau_close"):
        for wrong in (0.0, -1.0, np.nan, jnp.asarray([0.1, 0.0])):
            with pytest.raises(
                jt.InputError, match=f"{model.__name__} with {name} = .*a finite time above 0 ms"
            ):
                model(**{name: wrong})


def test_cells_that_no_stimulus_can_excite_are_refused_by_the_condition_of_a_wave():
    """The bounds are those at which the closed form meets 0; a field passes where any node conducts."""
    with pytest.raises(jt.InputError, match=r"tau_in/tau_out = 0\.5.*below 0\.2222"):
        jt.MitchellSchaeffer(tau_in=3.0)
    with pytest.raises(jt.InputError, match=r"a = 0\.5.*below 0\.5"):
        jt.ModifiedMitchellSchaeffer(a=0.5)
    for cell in (jt.MitchellSchaeffer(tau_in=0.999 * 6 * 2 / 9), jt.ModifiedMitchellSchaeffer(a=0.499)):
        assert 0 < float(cell.speed(0.1)) < 0.01
    some = jt.MitchellSchaeffer(tau_in=jnp.asarray([0.3, 3.0]))
    with pytest.raises(jt.InputError, match="cells that do not conduct"):
        some.diffusivity(0.6)


def test_parameters_are_the_numbers_among_the_fields():
    times = ("tau_in", "tau_out", "tau_open", "tau_close")
    assert parameter_names(jt.MitchellSchaeffer()) == (*times, "u_gate")
    assert parameter_names(jt.ModifiedMitchellSchaeffer()) == (*times, "a")
