"""The twin on a small sheet: conductivity and clock of maps whose truth is known, and what it refuses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxtwin as jt
from jaxtwin.anatomy import Mesh
from jaxtwin.inference import IdentifiabilityWarning, Problem
from jaxtwin.inference.evidence import Arrival
from jaxtwin.inference.objective import objective
from jaxtwin.inference.problem import placed_evidence, prior_mean
from jaxtwin.twin import OFFSET_SD, diffusivity_error, offset_ms, simulated_waves

FLAT = jt.sheet(6.0, 6.0, 0.5, fibre_angle=0.4)
MESH = Mesh(FLAT.points, FLAT.cells, FLAT.fibres, np.where(FLAT.centroids[:, 0] < 3.0, 4, 7))
NODES = len(MESH.points)
CORNERS = [0.0, 0.0], [6.0, 6.0]
OFFSETS = 0.0, 12.0  # ms; the second map has a clock of its own


def make(basis, reference=0.15, **more) -> jt.Twin:
    settings = {
        "cells": jt.MitchellSchaeffer(),
        "tissue_map": jt.LogDiffusivity(basis, reference=reference, floor=0.05, ceiling=1.0, ratio=2.0),
        "beats": tuple(jt.pulse(jt.in_sphere(MESH, c, 1.1), NODES) for c in CORNERS),
        "times": jt.Times(40.0, 0.1),
    }
    return jt.Twin(MESH, **settings | more)


def at(twin: jt.Twin, diffusivity) -> dict:
    """The prior mean, with these coefficients of log D."""
    return prior_mean(twin, (Arrival(),)) | {"tissue": {"diffusivity": jnp.asarray(diffusivity)}}


def problem_of(twin: jt.Twin) -> Problem:
    evidence = (Arrival(),)
    return Problem(twin, jt.Prior(prior_mean(twin, evidence)), evidence)


def maps(twin: jt.Twin, theta) -> jt.MappingData:
    """Two maps of the nodes by the twin itself at theta, with 0.2 ms of noise and the offsets added."""
    lats = [np.asarray(twin.predict(theta, k)) for k in range(2)]
    rng = np.random.default_rng(0)
    lat = np.concatenate([lat + o + rng.normal(0, 0.2, NODES) for lat, o in zip(lats, OFFSETS, strict=True)])
    return jt.MappingData(
        np.tile(MESH.points, (2, 1)), lat, map_index=np.repeat([0, 1], NODES), names=("one", "two")
    )


@pytest.fixture(scope="module")
def uniform():
    """A twin of one number, the truth 0.25 mm2/ms, its maps, and the fit from 0.15 mm2/ms."""
    twin = make(jt.uniform(NODES))
    truth = at(twin, [np.log(0.25 / 0.15)])
    data = maps(twin, truth).with_sigma(0.2)
    return twin, truth, data, jt.fit(twin, data, iterations=20)


def test_conductivity_and_offsets_are_recovered(uniform):
    """D within 2 %, the clock of the second map against the first within 0.3 ms, all points captured."""
    twin, _, data, fit = uniform
    np.testing.assert_allclose(twin.tissue_map.diffusivity(fit.theta["tissue"]), 0.25, rtol=0.02)
    np.testing.assert_allclose(offset_ms(fit.theta), OFFSETS, atol=0.3)
    assert fit.captured == len(data.lat_ms)
    assert fit.rmse_ms == pytest.approx(0.2, rel=0.15)
    assert fit.history[0]["rmse_ms"] > 1.0


def test_the_posterior_is_that_of_the_linearised_twin(uniform):
    """Variances against dense algebra with a Jacobian from differences of predictions."""
    _, _, data, _ = uniform
    twin = make(jt.uniform(NODES), estimate_mesh_error=False)
    fit = jt.fit(twin, data, iterations=20)
    theta, found = fit.theta, jt.posterior(fit).variance()

    def moved(group, name, place, step):
        return theta | {group: theta[group] | {name: theta[group][name].at[place].add(step)}}

    stepped = twin.stepped_for(theta)  # as the fit and its posterior step it

    def predicted(theta):
        return np.concatenate([stepped.predict(theta, k) for k in range(2)])

    numbers = [("tissue", "diffusivity", 0), ("maps", "offset", 0), ("maps", "offset", 1)]
    slope = np.stack(
        [(predicted(moved(*n, 1e-4)) - predicted(moved(*n, -1e-4))) / 2e-4 for n in numbers], axis=1
    )
    scale = 0.2 * fit.noise()
    points = len(data.lat_ms)
    gain = np.append(np.linalg.eigvalsh(slope.T @ slope * 5.0 / 7.0 / scale**2), points * 8.0 / 7.0)
    lost = (gain / (1.0 + gain)).sum() / points
    share = jt.StudentT().efficiency((predicted(theta) - data.lat_ms) / scale / np.sqrt(1.0 - lost))
    each = 5.0 / 7.0 * share / scale**2
    exact = np.diag(np.linalg.inv(np.eye(3) + slope.T @ slope * each))
    np.testing.assert_allclose([found[g][n][p] for g, n, p in numbers], exact, rtol=1e-3)
    left = share * (1.0 - lost) * points
    noise = float(found["evidence"]["arrival"]["noise"])
    assert noise == pytest.approx(1.0 / (1.0 + left * 8.0 / 7.0), rel=1e-4)


def test_predictions_are_on_the_clock_of_their_map(uniform):
    """So that they can be laid beside the data."""
    twin, _, data, fit = uniform
    for k in range(2):
        residual = np.asarray(twin.predict(fit.theta, k)) - data.lat_ms[data.map_index == k]
        assert np.abs(residual.mean()) < 0.05
        assert residual.std() < 0.3


def test_the_loss_has_the_prior_in_it(uniform):
    """|theta|^2/2 beside the likelihood: the same maps with all points left out cost nothing else."""
    twin, truth, data, _ = uniform
    without = tuple(
        eqx.tree_at(lambda p: p.weight, one, jnp.zeros_like(one.weight))
        for one in placed_evidence(twin, data, ())
    )
    assert objective(problem_of(twin), without)(truth).loss == pytest.approx(0.5 * np.log(0.25 / 0.15) ** 2)


def test_the_default_step_is_stable_at_the_ceiling(uniform):
    """Wherever the optimiser goes below it."""
    twin, *_ = uniform
    lat = twin.predict(at(twin, [50.0]))
    assert np.isfinite(lat).all()


def test_two_regions_are_told_apart():
    """0.12 mm2/ms in one half and 0.35 in the other, from 0.2 in both: within 5 % in the cells of each."""
    twin = make(jt.per_region(MESH), reference=0.2)
    truth = at(twin, np.log(np.asarray([0.12, 0.35]) / 0.2))
    fit = jt.fit(twin, maps(twin, truth).with_sigma(0.2), iterations=25)
    found = 0.2 * np.exp(fit.theta["tissue"]["diffusivity"])
    np.testing.assert_allclose(found, [0.12, 0.35], rtol=0.05)
    np.testing.assert_allclose(offset_ms(fit.theta), OFFSETS, atol=0.3)


def test_one_stimulus_for_each_map(uniform):
    twin, _, data, _ = uniform
    alone = make(jt.uniform(NODES), beats=twin.beats[:1])
    with pytest.raises(jt.InputError, match=r"2 maps and 1 beats.*one beat for each map"):
        jt.fit(alone, data)


def test_a_simulation_shorter_than_the_map_is_refused(uniform):
    *_, data, _ = uniform
    short = make(jt.uniform(NODES), times=jt.Times(15.0, 0.1))
    with pytest.raises(jt.InputError, match=r"a simulation of 15 ms.*Simulate at least"):
        jt.fit(short, data)


def test_the_time_reference_of_a_map_is_a_number_like_any_other(uniform):
    """The same map with its reference at 0, -60, -150 and 1000 ms: the same loss and gradient, to the
    rounding of sums, and the same fit to 1e-5 ms. A last digit may decide whether the descent within a step
    takes one more iteration."""
    twin, _, data, _ = uniform
    one = make(jt.uniform(NODES), beats=twin.beats[:1], times=jt.Times(60.0, 0.1))
    here = at(one, [np.log(0.25 / 0.15)])
    found, assessed = [], []
    for offset in (0.0, -60.0, -150.0, 1000.0):
        moved = jt.MappingData(MESH.points, data.lat_ms[:NODES] + offset).with_sigma(0.2)
        there = here | {"maps": here["maps"] | {"offset": jnp.full(1, offset / OFFSET_SD)}}
        assess = objective(Problem(one, jt.Prior(there), (Arrival(),)), placed_evidence(one, moved, ()))
        assessed.append(assess(jax.tree.map(jnp.zeros_like, there)))
        found.append(jt.fit(one, moved, iterations=8))
        assert float(offset_ms(found[-1].theta)[0] - offset_ms(found[0].theta)[0]) == pytest.approx(
            offset, abs=1e-5
        )
    for other in assessed[1:]:
        assert other.loss == pytest.approx(assessed[0].loss, rel=1e-10)
        slope = ravel_pytree(assessed[0].gradient)[0]
        np.testing.assert_allclose(
            ravel_pytree(other.gradient)[0], slope, atol=1e-9 * float(abs(slope).max())
        )
    for other in found[1:]:
        np.testing.assert_allclose(
            other.theta["tissue"]["diffusivity"], found[0].theta["tissue"]["diffusivity"], atol=1e-5
        )
        assert other.rmse_ms == pytest.approx(found[0].rmse_ms, rel=1e-6)


def test_how_long_one_simulates_changes_nothing(uniform):
    """With a silent point that the simulation activates, and one that it never reaches."""
    twin, truth, data, _ = uniform
    silent = np.arange(len(data.lat_ms)) == 5
    quiet = jt.MappingData(
        data.positions, data.lat_ms, silent=silent, map_index=data.map_index, names=data.names
    ).with_sigma(0.2)
    longer = make(jt.uniform(NODES), times=jt.Times(80.0, 0.1))
    losses = [objective(problem_of(t), placed_evidence(t, quiet, ()))(truth).loss for t in (twin, longer)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)


def test_a_diverged_beat_has_an_infinite_loss_and_names_its_map(uniform):
    """A step that is far too long for its stages; the fit ends with an error that says which map."""
    _, truth, data, _ = uniform
    wild = make(jt.uniform(NODES), times=jt.Times(40.0, 2.0), stepper=jt.RungeKuttaChebyshev(stages=2))
    found = objective(problem_of(wild), placed_evidence(wild, data, ()), data.names)(truth)
    assert found.loss == np.inf
    assert "'one', 'two' diverged" in found.failure
    with pytest.raises(jt.SolveError, match=r"'one', 'two' diverged"):
        jt.fit(wild, data, iterations=2)


@pytest.mark.parametrize("ratio", [0.5, 0.0, -2.0, np.nan])
def test_a_ratio_below_one_is_refused(ratio):
    with pytest.raises(jt.InputError, match="1 or more"):
        jt.LogDiffusivity(jt.uniform(NODES), reference=0.2, floor=0.05, ceiling=1.0, ratio=float(ratio))


def test_silent_points_raise_the_loss_where_the_simulation_activates_them(uniform):
    """The same map with ten points at which the catheter found nothing: they are used, and cost."""
    twin, truth, data, _ = uniform
    silent = np.arange(len(data.lat_ms)) < 10
    quiet = jt.MappingData(
        data.positions, data.lat_ms, silent=silent, map_index=data.map_index, names=data.names
    ).with_sigma(0.2)
    heard = data.without(silent, "left out")
    losses = [objective(problem_of(twin), placed_evidence(twin, d, ()))(truth) for d in (quiet, heard)]
    assert losses[0].loss > losses[1].loss + 10.0
    assert losses[0].captured == losses[1].captured


def test_a_map_without_a_point_does_not_stop_the_others(uniform):
    """The first map without a point is no reason to stop: the second is fitted."""
    twin, truth, data, _ = uniform
    second = data.subset(data.map_index == 1)
    found = objective(problem_of(twin), placed_evidence(twin, second, ()))(truth)
    assert found.captured == len(second.lat_ms)


def test_predictions_are_what_the_fit_compares_with_the_map(uniform):
    """With the share of the error of the mesh that was found: the misfit of `predict` is that of the fit."""
    twin, _, data, fit = uniform
    assert np.abs(fit.theta["maps"]["mesh_error"]).max() > 0.01
    gap = np.concatenate([twin.predict(fit.theta, k) for k in range(2)]) - data.lat_ms
    assert np.sqrt(np.mean(gap**2)) == pytest.approx(fit.rmse_ms, rel=1e-3)


def test_the_error_of_the_mesh_is_a_factor_times_its_estimate(uniform):
    """One unit of a level moves times by 0.6 of the estimate, a fifth of that variance each map's own."""
    twin, truth, _, _ = uniform
    own, shared = (
        truth | {"maps": truth["maps"] | {"mesh_error": truth["maps"]["mesh_error"].at[k, 0].set(1.0)}}
        for k in (0, -1)
    )
    estimate = 0.6 * np.stack([twin.wave(truth, k).error.of_nodes for k in range(2)])
    before = [twin.predict(truth, k) for k in range(2)]
    np.testing.assert_allclose(twin.predict(own, 0) - before[0], 0.2**0.5 * estimate[0], atol=1e-6)
    np.testing.assert_array_equal(twin.predict(own, 1), before[1])
    np.testing.assert_allclose(twin.predict(shared, 1) - before[1], 0.8**0.5 * estimate[1], atol=1e-6)
    # where nothing was measured stands what all maps share
    unseen = [twin.predict(theta, twin.beats[0].stimulus) for theta in (truth, own, shared)]
    np.testing.assert_array_equal(unseen[1], unseen[0])
    np.testing.assert_allclose(unseen[2] - unseen[0], 0.8**0.5 * estimate[0], atol=1e-6)


def test_what_the_mesh_leaves_of_the_conductivity_is_twice_the_relative_error_of_times(uniform):
    twin, truth, _, _ = uniform
    found = diffusivity_error(twin, simulated_waves(twin, truth))
    twin = twin.stepped_for(truth)  # as these waves are
    times = [np.asarray(twin.predict(truth, k)) for k in range(2)]
    late = np.min([t - t.min() for t in times], axis=0) > 5.0
    shares = [
        2.0 * twin.wave(truth, k).error.of_nodes[late] / (t[late] - t.min()) for k, t in enumerate(times)
    ]
    np.testing.assert_allclose(found[late], np.mean(shares, axis=0), rtol=1e-4)
    without = make(jt.uniform(NODES), estimate_mesh_error=False)
    assert not diffusivity_error(without, simulated_waves(without, truth)).any()


def test_an_unknown_optimiser_is_refused(uniform):
    twin, _, data, _ = uniform
    with pytest.raises(jt.InputError, match="trust_region or lbfgs"):
        jt.fit(twin, data, optimiser="adam")


def test_both_optimisers_find_the_same(uniform):
    twin, _, data, fit = uniform
    other = jt.fit(twin, data, iterations=40, optimiser="lbfgs")
    d = twin.tissue_map.diffusivity
    np.testing.assert_allclose(d(other.theta["tissue"])[0], d(fit.theta["tissue"])[0], rtol=5e-3)


def test_the_fit_warns_of_cell_parameters_that_one_beat_cannot_tell_apart():
    """D, tau_in and tau_out from arrival times: fewer combinations than that, the first that of speed."""
    twin = make(jt.uniform(NODES), cell_sd={"tau_in": 0.5, "tau_out": 0.5})
    data = maps(twin, twin.mean()).with_sigma(4.0)
    with pytest.warns(IdentifiabilityWarning, match="log tau_in"):
        jt.fit(twin, data, iterations=1)
    best = jt.identifiable(twin, data)[0]
    np.testing.assert_allclose(best.share, [-0.71, 1.0, -0.29], atol=0.2)


def test_the_bound_of_one_parameter_is_that_of_a_line_through_the_points(uniform):
    """sd(log D) = noise/sqrt(sum (slope - mean of its map)^2), the slopes from differences of predictions."""
    twin, truth, data, _ = uniform
    step = 1e-3
    move = {sign: at(twin, truth["tissue"]["diffusivity"] + sign * step) for sign in (1.0, -1.0)}
    gaps = [(twin.predict(move[1.0], k) - twin.predict(move[-1.0], k)) / (2.0 * step) for k in range(2)]
    place = [data.map_index == k for k in range(2)]
    slopes = [np.asarray(gap) for gap in gaps]
    assert all(len(slope) == mask.sum() for slope, mask in zip(slopes, place, strict=True))
    noisy = jt.MappingData(
        data.positions, data.lat_ms, map_index=data.map_index, names=data.names
    ).with_sigma(4.0)
    square = sum(((slope - slope.mean()) ** 2).sum() for slope in slopes) / 4.0**2
    assert jt.cramer_rao(twin, noisy, truth) == {"D": pytest.approx(square**-0.5, rel=0.02)}


def test_one_beat_hardly_bounds_each_of_three_parameters():
    twin = make(jt.uniform(NODES), cell_sd={"tau_in": 0.5, "tau_out": 0.5})
    data = maps(twin, twin.mean()).with_sigma(4.0)
    found = jt.cramer_rao(twin, data)
    assert list(found) == ["D", "tau_in", "tau_out"]
    alone = jt.cramer_rao(make(jt.uniform(NODES)), data)
    assert found["D"] > 5.0 * alone["D"], "one beat tells a combination of the three"


def test_a_cell_parameter_that_is_none_is_refused():
    with pytest.raises(jt.InputError, match="'tau_up' as a parameter"):
        make(jt.uniform(NODES), cell_sd={"tau_up": 0.1})


def test_a_cell_parameter_may_be_a_field(uniform):
    """Depolarisation half as quick in one half of the sheet: the fit of D ends where the truth is."""
    quick = np.where(MESH.points[:, 0] < 3.0, 0.3, 0.45)
    twin = make(jt.uniform(NODES), cells=jt.MitchellSchaeffer(tau_in=jnp.asarray(quick)))
    found = jt.fit(twin, maps(twin, at(twin, [0.4])).with_sigma(0.2), iterations=12)
    np.testing.assert_allclose(found.theta["tissue"]["diffusivity"], 0.4, atol=0.05)
    assert found.rmse_ms == pytest.approx(0.2, rel=0.2)


def test_gradients_at_the_same_time_share_one_bound_on_memory(uniform, monkeypatch):
    monkeypatch.setattr("jaxtwin.twin.twin.at_once", lambda beats: beats)
    assert make(jt.uniform(NODES)).adjoint.memory == pytest.approx(jt.Checkpointed().memory / 2)
