"""The stages of a fit: eikonal waves, gradients, and a state from which a killed fit goes on."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.twin.search import conducting, objective

MESH = jt.sheet(10.0, 10.0, 0.5, fibre_angle=0.4)
NODES = len(MESH.points)


@pytest.fixture(scope="module")
def problem():
    """A twin with a field of ten numbers and scar of ten, a truth of the prior, and maps from two corners."""
    modes = jt.matern_modes(MESH, correlation_length=6.0, count=10)
    conductivity = jt.LogConductivity(
        jt.field(modes, 0.3), reference=0.2, floor=0.02, ceiling=1.0, ratio=2.0,
        scar_basis=jt.field(modes, 3.0), scar_bias=-3.0, scar_depth=2.0,
    )  # fmt: skip
    sites = (jt.pulse(jt.in_sphere(MESH, corner, 1.2), NODES) for corner in ([0.0, 0.0], [10.0, 10.0]))
    twin = jt.Twin(
        MESH, ionic=jt.MitchellSchaeffer(), conductivity=conductivity, stimuli=tuple(sites),
        times=jt.Times(70.0, 0.2),
    )  # fmt: skip
    random = np.random.default_rng(3)
    truth = twin.mean()
    truth |= {name: jnp.asarray(random.standard_normal(11)) for name in ("conductivity", "scar")}
    where = random.choice(NODES, 120, replace=False)
    lat = np.concatenate([np.asarray(twin.predict(truth, k))[where] for k in range(2)])
    data = jt.MappingData(
        np.tile(MESH.points[where], (2, 1)), lat + random.normal(0.0, 0.5, len(lat)),
        map_index=np.repeat([0, 1], len(where)), names=("one", "two"),
    )  # fmt: skip
    return twin, data


def distance(a, b) -> float:
    return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), a, b)))


def test_eikonal_waves_come_close_to_the_end_of_the_fit(problem):
    """Without a single gradient of the simulation they are within a tenth of where gradients lead."""
    twin, data = problem
    start = objective(twin, twin.observations(data, 0.5))(twin.mean()).loss
    near = twin.fit(data, sigma_ms=0.5, iterations=0)
    far = twin.fit(data, sigma_ms=0.5, iterations=30, tolerance=0.05)
    assert near.assessment.loss - far.assessment.loss < 0.1 * (start - far.assessment.loss)
    assert near.assessment.rmse_ms < 1.2 * far.assessment.rmse_ms


def test_the_way_by_gradients_alone_leads_to_the_same_maps(problem):
    """Scar and conductivity can stand in for each other where points are few; what they predict agrees."""
    twin, data = problem
    one = twin.fit(data, sigma_ms=0.5, iterations=40, tolerance=0.005)
    other = twin.fit(data, sigma_ms=0.5, iterations=60, tolerance=0.005, eikonal_rounds=0)
    gaps = [twin.predict(one.theta, k) - twin.predict(other.theta, k) for k in range(2)]
    assert jnp.sqrt(jnp.mean(jnp.stack(gaps) ** 2)) < 0.3


class Killed(Exception):
    """As by kill -9, at a place of our choice."""


@pytest.mark.parametrize("at", [2, 7])
def test_a_killed_fit_goes_on_to_the_same_digits(problem, tmp_path, at):
    """In a round of eikonal waves, and among the steps by gradients."""
    twin, data = problem
    settings = {"sigma_ms": 0.5, "iterations": 4, "tolerance": 1e-3}
    whole = twin.fit(data, **settings, checkpoint=tmp_path / "whole.h5")

    def report(iteration, assessment):
        if iteration == at:
            raise Killed

    with pytest.raises(Killed):
        twin.fit(data, **settings, checkpoint=tmp_path / "fit.h5", report=report)
    assert [p.name for p in tmp_path.glob("*fit*")] == ["fit.h5"]
    seen = []
    again = twin.fit(data, **settings, checkpoint=tmp_path / "fit.h5", report=lambda i, _: seen.append(i))
    assert distance(again.theta, whole.theta) == 0.0
    assert seen[0] >= at - 1
    assert len(again.history) == len(whole.history)
    ended = twin.fit(data, **settings, checkpoint=tmp_path / "fit.h5")
    assert distance(ended.theta, whole.theta) == 0.0
    assert ended.assessment.loss == pytest.approx(whole.assessment.loss, rel=1e-12)
    assert ended.reason == whole.reason


def test_checkpoints_of_another_fit_are_refused(problem, tmp_path):
    twin, data = problem
    path = tmp_path / "fit.h5"
    twin.fit(data, sigma_ms=0.5, iterations=0, checkpoint=path)
    with pytest.raises(jt.InputError, match="holds another fit"):
        twin.fit(data.subset(np.arange(len(data.lat_ms)) > 0), sigma_ms=0.5, iterations=0, checkpoint=path)
    other = eqx.tree_at(lambda t: t.conductivity, twin, dataclasses.replace(twin.conductivity, ceiling=0.9))
    with pytest.raises(jt.InputError, match="holds another fit"):
        other.fit(data, sigma_ms=0.5, iterations=0, checkpoint=path)
    path.write_bytes(b"nonsense")
    with pytest.raises(jt.InputError, match="no checkpoint of a fit"):
        twin.fit(data, sigma_ms=0.5, iterations=0, checkpoint=path)
    with pytest.raises(jt.InputError, match="a checkpoint of optimiser 'lbfgs'"):
        twin.fit(data, optimiser="lbfgs", checkpoint=path)


def test_the_better_of_start_and_eikonal_waves_is_taken(problem):
    """From where a long fit ended nothing worse may come of the rounds."""
    twin, data = problem
    best = twin.fit(data, sigma_ms=0.5, iterations=30, tolerance=0.01)
    again = twin.fit(data, theta=best.theta, sigma_ms=0.5, iterations=0)
    assert again.assessment.loss < best.assessment.loss + 1.0


def test_a_fit_starts_from_cells_that_conduct_a_premature_beat():
    """At the middle of the prior the beat blocks and has no derivative; the fit of its times finds out."""
    mesh = jt.sheet(6.0, 2.0, 0.5)
    site = jt.in_sphere(mesh, [0.0, 0.0], 1.5)
    pulses = jt.train(jt.pulse(site, len(mesh.points)), [0.0, 285.0])
    conductivity = jt.LogConductivity(
        jt.uniform(len(mesh.points), 0.2), reference=0.2, floor=0.02, ceiling=1.0
    )
    twin = jt.Twin(
        mesh, ionic=jt.MitchellSchaeffer(), conductivity=conductivity, stimuli=(pulses,), beats=(1,),
        times=jt.Times(320.0, 0.2), ionic_sd={"tau_open": 0.2, "tau_close": 0.2}, mesh_error=False,
    )  # fmt: skip
    truth = twin.mean() | {"cells": jnp.asarray([-1.0, -1.5])}
    lat, blocked = (np.asarray(twin.predict(theta)) for theta in (truth, twin.mean()))
    assert np.isfinite(lat).all()
    assert np.isnan(blocked).mean() > 0.2
    data = jt.MappingData(mesh.points, lat)
    start = conducting(twin, twin.observations(data, 0.5), twin.mean())
    assert np.isfinite(np.asarray(twin.predict(start))).all()
    assert float(start["cells"].min()) >= -2.0, "no farther than it takes"
    with pytest.warns(jt.twin.IdentifiabilityWarning):
        fit = twin.fit(data, sigma_ms=0.5, iterations=10, eikonal_rounds=0)
    assert fit.assessment.captured == len(lat)
    assert fit.assessment.rmse_ms < 0.3
