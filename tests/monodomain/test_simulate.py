"""The solve as a whole: its grid in time, its parts, its batches, and how it fails."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxtwin as jt
from jaxtwin.fem import Space
from jaxtwin.monodomain import (
    MESSAGES,
    ForwardMode,
    Result,
    RungeKuttaChebyshev,
    simulate_in_parts,
    spectral_bound,
)

MESH = jt.sheet(4.0, 4.0, 0.5, fibre_angle=0.5)
NODES = len(MESH.points)
SITES = [jt.pulse(jt.in_sphere(MESH, c, 1.0), NODES, onset=0.3) for c in ([0.0, 0.0], [4.0, 4.0])]
TIMES = jt.Times(16.0, 0.1)
RECORDERS = jt.ActivationTimes(), jt.VoltageTrace(jnp.asarray([0, 40]))


def tissue(stimulus=SITES[0], along: float | jax.Array = 0.3) -> jt.Tissue:
    tensor = jt.diffusion_tensor(MESH.fibres, along, 3.0)
    return jt.Tissue(Space(MESH), jt.MitchellSchaeffer(), tensor, stimulus)


STEPPER = RungeKuttaChebyshev().with_stages(float(spectral_bound(tissue())), TIMES.dt)


@pytest.fixture(scope="module")
def solution():
    return jt.simulate(tissue(), TIMES, stepper=STEPPER, recorders=RECORDERS)


@given(st.floats(-50, 50), st.floats(0.01, 100), st.floats(0.001, 5))
def test_steps_cover_the_interval_and_end_within_one_step_of_it(start, length, dt):
    times = jt.Times(start + length, dt, start)
    covered = times.steps * dt
    assert times.stop - start - 2e-6 * dt <= covered
    assert covered < times.stop - start + dt or times.steps == 1


def test_rounding_adds_no_step():
    """0.1 + 0.2 and 8.3 - 8 are a little more than three steps of 0.1 ms."""
    assert [jt.Times(stop, 0.1).steps for stop in (0.1 + 0.2, 1.0, 1.01, 0.01)] == [3, 10, 11, 1]
    assert jt.Times(8.3, 0.1, start=8.0).steps == 3


@pytest.mark.parametrize(
    "wrong",
    [
        (0.0, 0.1), (10.0, 0.0), (10.0, -0.1), (5.0, 0.1, 6.0),
        (np.nan, 0.1), (10.0, np.inf), (10.0, 0.1, -np.inf),
    ],
)  # fmt: skip
def test_times_that_make_no_grid_are_refused(wrong):
    with pytest.raises(jt.InputError, match="an end after the start"):
        jt.Times(*wrong)


def test_a_wave_crosses_and_the_records_have_the_promised_shapes(solution):
    lat, trace = solution.records
    assert lat.shape == (NODES,)
    assert trace.shape == (TIMES.steps, 2)
    assert lat[0] < lat[40] < lat[-1]
    np.testing.assert_array_equal(trace[-1], solution.state.u[np.array([0, 40])])
    assert solution.result == Result.SUCCESS


def test_parts_are_the_same_solve(solution):
    """Times of the parts, the shorter last one, records so far, and the same end to round-off."""
    times, parts = zip(
        *simulate_in_parts(tissue(), TIMES, every=60, stepper=STEPPER, recorders=RECORDERS), strict=True
    )
    np.testing.assert_allclose(times, [6.0, 12.0, 16.0])
    whole_lat, whole_trace = map(np.asarray, solution.records)
    for k, part in enumerate(parts):
        lat, trace = map(np.asarray, part.records)
        by_now = whole_lat < times[k]
        np.testing.assert_allclose(lat[by_now], whole_lat[by_now], atol=1e-9)
        assert np.isnan(lat[~by_now]).all()
        np.testing.assert_allclose(trace, whole_trace[60 * k : 60 * (k + 1)], atol=1e-11)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), parts[-1].state, solution.state)


def test_a_solve_goes_on_from_the_state_of_another(solution):
    """Half, then the other half on the same clock: the state at the end, and each activation in its half."""
    first = jt.simulate(tissue(), jt.Times(8.0, 0.1), stepper=STEPPER, recorders=RECORDERS)
    second = jt.simulate(
        tissue(), jt.Times(16.0, 0.1, start=8.0), stepper=STEPPER, recorders=RECORDERS, state=first.state
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), second.state, solution.state)
    early, late = (np.asarray(s.records[0]) for s in (first, second))
    assert (np.isfinite(early) ^ np.isfinite(late)).all()
    np.testing.assert_allclose(np.where(np.isfinite(early), early, late), solution.records[0], atol=1e-9)


def test_a_batch_of_stimuli_is_that_of_single_solves(solution):
    """vmap over pacing sites, and the derivative through it in both modes."""
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *SITES)

    @jax.vmap
    def lats(stimulus):
        return jt.simulate(tissue(stimulus), TIMES, stepper=STEPPER, recorders=RECORDERS[:1]).records[0]

    both = lats(batch)
    assert both.shape == (2, NODES)
    np.testing.assert_allclose(both[0], solution.records[0], atol=1e-9)
    np.testing.assert_allclose(both[1][::-1], both[0], atol=1e-9)  # the sheet looks alike from both corners


def test_the_derivative_of_a_batch_is_the_sum_of_those_of_its_members():
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *SITES)
    times = jt.Times(6.0, 0.1)

    def mean_u(along, stimulus, **how):
        return jt.simulate(tissue(stimulus, along), times, stepper=STEPPER, **how).state.u.sum()

    along = jnp.asarray(0.3)
    batched = jax.grad(lambda d: jax.vmap(lambda s: mean_u(d, s))(batch).sum())(along)
    single = jax.jit(lambda d, s: jax.jvp(lambda x: mean_u(x, s, adjoint=ForwardMode()), (d,), (d,))[1] / d)
    assert float(batched) == pytest.approx(float(sum(single(along, s) for s in SITES)), rel=1e-9)


def test_divergence_names_the_node_and_the_time():
    """Two stages where more are needed: an error that a user can act on, or a value for those who ask."""
    fast, short = tissue(SITES[1], along=20.0), jt.Times(0.6, 0.1)
    few = RungeKuttaChebyshev(2)
    message = r"before 0\.6 ms: u = \S+ at node \d+ .*shorten the step"
    with pytest.raises(jt.SolveError, match=message) as failure:
        jt.simulate(fast, short, stepper=few)
    quiet = jt.simulate(fast, short, stepper=few, throw=False)
    u = np.abs(quiet.state.u)
    (named,) = map(int, re.findall(r"at node (\d+)", str(failure.value)))
    assert named == u.argmax() != 0
    assert u.max() > 5.0
    assert quiet.result == Result.DIVERGED
    assert f"({(u > 5.0).sum()} nodes in all)" in str(failure.value)
    with pytest.raises(jt.SolveError, match=r"before 0\.5 ms"):
        list(simulate_in_parts(fast, short, every=5, stepper=few))
    assert "With 2 stages a step of at most" in str(failure.value)


def solved(changes, stimulus=SITES[0], times=jt.Times(2.0, 0.1), **how):  # noqa: B008
    """A solve of a tissue with other values of some of its leaves."""
    changed = tissue(stimulus)
    for where, value in changes.items():
        changed = eqx.tree_at(lambda t, where=where: eval(f"t.{where}"), changed, value)
    return jt.simulate(changed, times, stepper=STEPPER, **how)


def test_divergence_names_its_true_cause():
    """Not the step, where that is stable: a stimulus, a number that is none, a cell parameter."""
    cases = {
        r"The stimulus of 50 /ms would change u by 100: lower its strength": {
            "stimulus.strength": 100.0 * SITES[0].strength
        },
        r"Stimulus\.onset is not finite": {"stimulus.onset": jnp.asarray([jnp.nan])},
        r"MitchellSchaeffer\.tau_in is not finite": {"ionic.tau_in": jnp.asarray(jnp.nan)},
        r"a cell parameter is out of range": {"ionic.tau_out": jnp.asarray(-0.02)},
    }
    for message, changes in cases.items():
        with pytest.raises(jt.SolveError, match=message) as failure:
            solved(changes)
        assert "step is too long" not in str(failure.value)


def test_how_a_solve_ended_is_a_value_under_jit_and_vmap():
    """Success, divergence and silence in one batch."""
    strengths = jnp.asarray([1.0, 100.0, 0.01])

    @jax.jit
    @jax.vmap
    def results(factor):
        changes = {"stimulus.strength": factor * SITES[0].strength}
        return solved(changes, recorders=RECORDERS[:1]).result

    assert results(strengths).tolist() == [Result.SUCCESS, Result.DIVERGED, Result.SILENT]
    assert set(MESSAGES) == set(Result)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"stimulus.strength": 0.01 * SITES[0].strength},
            r"0\.005 /ms.*stays below threshold on its \d+ nodes",
        ),
        ({"stimulus.strength": -SITES[0].strength}, r"negative \(-0\.5 /ms\)"),
        ({"stimulus.strength": 0.0 * SITES[0].strength}, r"drives no node"),
        ({"stimulus.onset": jnp.asarray([2.5])}, r"from 2\.5 to 4\.5 ms and the run from 0 to 2 ms"),
    ],
    ids=["weak", "negative", "none", "late"],
)
def test_a_solve_without_an_activation_says_why(changes, message):
    with pytest.warns(jt.SilentWarning, match=message):
        assert solved(changes, recorders=RECORDERS).result == Result.SILENT
    # who does not record activations, or does not want to be told, is not
    assert solved(changes, recorders=RECORDERS[1:]).result == Result.SUCCESS
    solved(changes, recorders=RECORDERS, throw=False)


def test_a_diffusivity_that_no_tissue_has_is_refused_with_its_cell():
    """Negative, indefinite, not symmetric, not finite; zero and a tensor without a part across are fine."""
    good = tissue().diffusivity
    for wrong in (-0.1 * jnp.eye(2), jnp.diag(jnp.asarray([0.3, -0.01])), jnp.full((2, 2), jnp.nan)):
        with pytest.raises(jt.InputError, match=r"in 1 cells, first in cell 7: "):
            solved({"diffusivity": good.at[7].set(wrong)})
    with pytest.raises(jt.InputError, match="not symmetric"):
        solved({"diffusivity": good.at[7, 0, 1].add(0.05)})
    solved({"diffusivity": good.at[7].set(0.0).at[8].set(jnp.diag(jnp.asarray([0.3, 0.0])))})


def test_the_number_of_stages_is_chosen_where_none_is_given(solution):
    """So that the default never diverges: the same as the explicit choice."""
    chosen = jt.simulate(tissue(), TIMES, recorders=RECORDERS)
    assert eqx.tree_equal(chosen, solution)


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, jax.vmap])
def test_a_traced_conductivity_without_stages_is_refused_with_the_way_out(transform):
    def end(along):
        return jt.simulate(tissue(along=along), TIMES).state.u.sum()

    along = jnp.full(2, 0.3) if transform is jax.vmap else jnp.asarray(0.3)
    with pytest.raises(jt.InputError, match=r"inside a traced function.*with_stages") as refusal:
        transform(end)(along)
    assert refusal.value.__cause__ is None


def test_a_conductivity_that_is_not_finite_is_refused():
    with pytest.raises(jt.InputError, match=r"diffusivity that is not finite in \d+ cells, first in cell 0"):
        jt.simulate(tissue(along=jnp.asarray(jnp.nan)), TIMES)
