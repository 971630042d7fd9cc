"""The stages of a fit: eikonal waves, gradients, and a state from which a killed fit goes on."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.inference import IdentifiabilityWarning, following
from jaxtwin.inference.objective import objective
from jaxtwin.inference.search import conducting
from tests.inference.theta import placed_on, problem_of

MESH = jt.sheet(10.0, 10.0, 0.5, fibre_angle=0.4)
NODES = len(MESH.points)


@pytest.fixture(scope="module")
def problem():
    """A twin with a field of ten numbers and scar of ten, a truth of the prior, and maps from two corners."""
    modes = jt.matern_modes(MESH, correlation_length=6.0, count=10)
    tissue_map = jt.LogDiffusivity(
        jt.field(modes, 0.3), reference=0.2, floor=0.02, ceiling=1.0, ratio=2.0,
        scar_basis=jt.field(modes, 3.0), scar_bias=-3.0, scar_depth=2.0,
    )  # fmt: skip
    sites = (jt.pulse(jt.in_sphere(MESH, corner, 1.2), NODES) for corner in ([0.0, 0.0], [10.0, 10.0]))
    twin = jt.Twin(
        MESH, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, beats=tuple(sites),
        times=jt.Times(70.0, 0.2),
    )  # fmt: skip
    random = np.random.default_rng(3)
    truth = twin.mean()
    truth |= {"tissue": {name: jnp.asarray(random.standard_normal(11)) for name in ("diffusivity", "scar")}}
    where = random.choice(NODES, 120, replace=False)
    lat = np.concatenate([np.asarray(twin.predict(truth, k))[where] for k in range(2)])
    data = jt.MappingData(
        np.tile(MESH.points[where], (2, 1)), lat + random.normal(0.0, 0.5, len(lat)),
        map_index=np.repeat([0, 1], len(where)), names=("one", "two"),
    )  # fmt: skip
    return twin, data.with_sigma(0.5)


def distance(a, b) -> float:
    return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), a, b)))


def test_eikonal_waves_come_close_to_the_end_of_the_fit(problem):
    """Without a single gradient of the simulation they are within a tenth of where gradients lead."""
    twin, data = problem
    problem_ = problem_of(twin)
    start = objective(problem_, placed_on(problem_, data))(problem_.prior.mean).loss
    near = jt.fit(twin, data, iterations=0)
    far = jt.fit(twin, data, iterations=30, tolerance=0.05)
    assert near.loss - far.loss < 0.1 * (start - far.loss)
    assert near.rmse_ms < 1.2 * far.rmse_ms


def test_the_way_by_gradients_alone_leads_to_the_same_maps(problem):
    """Scar and conductivity can stand in for each other where points are few; what they predict agrees."""
    twin, data = problem
    one = jt.fit(twin, data, iterations=40, tolerance=0.005)
    other = jt.fit(twin, data, iterations=60, tolerance=0.005, eikonal_rounds=0)
    gaps = [twin.predict(one.theta, k) - twin.predict(other.theta, k) for k in range(2)]
    assert jnp.sqrt(jnp.mean(jnp.stack(gaps) ** 2)) < 0.3


class Killed(Exception):
    """As by kill -9, at a place of our choice."""


@pytest.mark.parametrize(("at", "small"), [(1, 4000), (3, 0)])
def test_a_killed_fit_goes_on_to_the_same_digits(problem, tmp_path, monkeypatch, at, small):
    """In a round of eikonal waves, and among the steps by gradients, there with windows."""
    monkeypatch.setattr(following, "SMALL", small)
    monkeypatch.setattr(following, "WORTH", 1.0)
    twin, data = problem
    settings = {"iterations": 4, "tolerance": 1e-5, "eikonal_rounds": 2}
    whole = jt.fit(twin, data, **settings, checkpoint=tmp_path / "whole.h5")

    def report(iteration, assessment):
        if iteration == at:
            raise Killed

    with pytest.raises(Killed):
        jt.fit(twin, data, **settings, checkpoint=tmp_path / "fit.h5", report=report)
    assert [p.name for p in tmp_path.glob("*fit*")] == ["fit.h5"]
    seen = []
    again = jt.fit(twin, data, **settings, checkpoint=tmp_path / "fit.h5", report=lambda i, _: seen.append(i))
    assert distance(again.theta, whole.theta) == 0.0
    assert seen[0] >= at - 1
    assert len(again.history) == len(whole.history)
    ended = jt.fit(twin, data, **settings, checkpoint=tmp_path / "fit.h5")
    assert distance(ended.theta, whole.theta) == 0.0
    assert ended.loss == pytest.approx(whole.loss, rel=1e-12)
    assert ended.reason == whole.reason


def test_checkpoints_of_another_fit_are_refused(problem, tmp_path):
    twin, data = problem
    path = tmp_path / "fit.h5"
    jt.fit(twin, data, iterations=0, checkpoint=path)
    with pytest.raises(jt.InputError, match="holds another fit"):
        jt.fit(twin, data.subset(np.arange(len(data.lat_ms)) > 0), iterations=0, checkpoint=path)
    other = eqx.tree_at(lambda t: t.tissue_map, twin, dataclasses.replace(twin.tissue_map, ceiling=0.9))
    with pytest.raises(jt.InputError, match="holds another fit"):
        jt.fit(other, data, iterations=0, checkpoint=path)
    path.write_bytes(b"nonsense")
    with pytest.raises(jt.InputError, match="no checkpoint of a fit"):
        jt.fit(twin, data, iterations=0, checkpoint=path)
    with pytest.raises(jt.InputError, match="a checkpoint of optimiser 'lbfgs'"):
        jt.fit(twin, data, optimiser="lbfgs", checkpoint=path)


def test_the_better_of_start_and_eikonal_waves_is_taken(problem):
    """From where a long fit ended nothing worse may come of the rounds."""
    twin, data = problem
    best = jt.fit(twin, data, iterations=30, tolerance=0.01)
    again = jt.fit(twin, data, theta=best.theta, iterations=0)
    assess = objective(best.problem, best.placed)
    assert assess(best.problem.prior.white(again.theta)).loss < best.loss + 1.0, "by the same weights"


def test_a_fit_starts_from_cells_that_conduct_a_premature_beat():
    """At the middle of the prior the beat blocks and has no derivative; the fit of its times finds out."""
    mesh = jt.sheet(6.0, 2.0, 0.5)
    site = jt.in_sphere(mesh, [0.0, 0.0], 1.5)
    pulses = jt.train(jt.pulse(site, len(mesh.points)), [0.0, 285.0])
    tissue_map = jt.LogDiffusivity(jt.uniform(len(mesh.points), 0.2), reference=0.2, floor=0.02, ceiling=1.0)
    twin = jt.Twin(
        mesh, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, beats=(pulses,),
        times=jt.Times(320.0, 0.2), cell_sd={"tau_open": 0.2, "tau_close": 0.2}, estimate_mesh_error=False,
    )  # fmt: skip
    cells = {"tau_open": jnp.asarray(-1.0), "tau_close": jnp.asarray(-1.5)}
    truth = twin.mean() | {"cells": cells}
    lat, blocked = (np.asarray(twin.predict(theta)) for theta in (truth, twin.mean()))
    assert np.isfinite(lat).all()
    assert np.isnan(blocked).mean() > 0.2
    data = jt.MappingData(mesh.points, lat).with_sigma(0.5)
    problem = problem_of(twin)
    start = conducting(problem, placed_on(problem, data), problem.prior.mean)
    assert np.isfinite(np.asarray(twin.predict(start))).all()
    assert min(float(leaf) for leaf in start["cells"].values()) >= -2.0, "no farther than it takes"
    with pytest.warns(IdentifiabilityWarning):
        fit = jt.fit(twin, data, iterations=10, eikonal_rounds=0)
    assert fit.captured == len(lat)
    assert fit.rmse_ms < 0.3


def test_waves_in_windows_lead_to_the_same_fit(problem, monkeypatch):
    """The loss within 0.01; most simulations in a window, none of whose fronts escapes unnoticed."""
    twin, data = problem
    settings = {"iterations": 4, "eikonal_rounds": 0}
    whole = jt.fit(twin, data, **settings)
    monkeypatch.setattr(following, "SMALL", 0)
    monkeypatch.setattr(following, "WORTH", 1.0)
    made = []
    monkeypatch.setattr(
        following,
        "windows_around",
        lambda *a, around=following.windows_around: made.append(around(*a)) or made[-1],
    )
    narrow = jt.fit(twin, data, **settings)
    assert sum(len(windows) for windows in made) >= 4
    assert narrow.loss == pytest.approx(whole.loss, abs=0.01)
    assert distance(narrow.theta, whole.theta) < 0.02
