"""Voltages as evidence for scar: what they tell, and what they are worth beside times."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxtwin as jt
from jaxtwin.inference.arrival_model import curvature
from jaxtwin.inference.map_loss import loss, predicted
from jaxtwin.inference.objective import simulated_assessment, simulated_models
from tests.inference.theta import placed_on, problem_of

MESH = jt.sheet(12.0, 12.0, 0.75, fibre_angle=0.4)
NODES = len(MESH.points)
SCAR = np.hypot(*(MESH.points - [6.0, 7.0]).T) < 3.0


def make(**scar) -> jt.Twin:
    modes = jt.matern_modes(MESH, correlation_length=6.0, count=30)
    scar = {"scar_basis": jt.field(modes, 1.5, 0.3), "scar_depth": 2.0} | scar
    tissue_map = jt.LogDiffusivity(
        jt.uniform(NODES, 0.3), reference=0.2, floor=0.01, ceiling=1.0, ratio=2.0, **scar
    )
    return jt.Twin(
        MESH, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, times=jt.Times(90.0, 0.25),
        beats=(jt.pulse(jt.in_sphere(MESH, [0.0, 0.0], 1.2), NODES),), estimate_mesh_error=False,
    )  # fmt: skip


def measured(noise_ms: float) -> jt.MappingData:
    """One map of a heart with scar, its voltages scattered by a factor of 1.5."""
    log_d = np.log(0.2) - 2.0 * SCAR
    one = jt.LogDiffusivity(
        jnp.asarray(log_d - np.log(0.2))[:, None], reference=0.2, floor=0.01, ceiling=1.0, ratio=2.0
    )
    twin = jt.Twin(
        MESH, cells=jt.MitchellSchaeffer(), tissue_map=one, times=jt.Times(90.0, 0.25),
        estimate_mesh_error=False, beats=(jt.pulse(jt.in_sphere(MESH, [0.0, 0.0], 1.2), NODES),),
    )  # fmt: skip
    lat = np.asarray(twin.predict(twin.mean() | {"tissue": {"diffusivity": jnp.ones(1)}}))
    random = np.random.default_rng(0)
    some = random.choice(NODES, 90, replace=False)
    volts = np.where(SCAR, 0.25, 1.6) * np.exp(random.normal(0.0, 0.4, NODES))
    noisy = lat + random.normal(0.0, noise_ms, NODES)
    return jt.MappingData(MESH.points[some], noisy[some], bipolar_mv=volts[some])


def dice(twin, theta) -> float:
    found = np.asarray(twin.tissue_map.scar(theta["tissue"])) > 0.5
    return 2.0 * (found & SCAR).sum() / (found.sum() + SCAR.sum())


def at_points(theta, problem, placed, there):
    """Loss of all evidence where the wave arrives at these times, ms."""
    values = predicted(theta, problem, placed, there, (None,) * len(problem.evidence))
    return loss(theta, problem, placed, values)


def test_the_information_is_the_curvature_of_the_loss():
    """Where voltages are as expected: the second derivative there is (nu + 3)/nu of the expected one."""
    voltage = jt.Voltage()
    problem = problem_of(make(), (voltage,))
    random = np.random.default_rng(1)
    theta = problem.prior.mean
    theta = theta | {"tissue": theta["tissue"] | {"scar": jnp.asarray(random.normal(0.0, 1.0, 31))}}
    theta = theta | {"evidence": theta["evidence"] | {"voltage": {"levels": jnp.asarray([0.3, -0.5])}}}
    data = measured(4.0)
    (one,) = placed_on(problem, data.with_sigma(1e6))  # times that tell nothing
    there = jnp.asarray(data.lat_ms)
    exact = voltage.predict(theta, problem.twin, one, there, None)
    one = dataclasses.replace(one, measured=one.measured | {"voltage": exact})
    flat, back = ravel_pytree(theta)
    bent = np.asarray(jax.hessian(lambda f: at_points(back(f), problem, one, there))(flat))
    activation = simulated_assessment(problem, (one,), theta).activation
    known = curvature(problem, theta, (one,), simulated_models(problem, theta, (one,), activation))
    named = jax.tree.map(jnp.zeros_like, theta)
    named |= {"tissue": named["tissue"] | {"scar": jnp.ones(31)}}
    named |= {"evidence": named["evidence"] | {"voltage": {"levels": jnp.ones(2)}}}
    rows = np.asarray(ravel_pytree(named)[0]) > 0.5
    np.testing.assert_allclose(
        known[np.ix_(rows, rows)], bent[np.ix_(rows, rows)] * 4.0 / 7.0, rtol=1e-4, atol=1e-6
    )


def test_voltages_show_scar_that_noisy_times_do_not():
    data, voltage, twin = measured(6.0).with_sigma(6.0), jt.Voltage(), make()
    alone = jt.fit(twin, data, iterations=8, tolerance=0.1)
    both = jt.fit(twin, data, evidence=(voltage,), iterations=8, tolerance=0.1)
    assert dice(twin, both.theta) > 0.85
    assert dice(twin, both.theta) > dice(twin, alone.theta) + 0.1
    found = both.theta["evidence"]["voltage"]["levels"]
    levels = np.exp(np.asarray(voltage.expected(jnp.asarray([0.0, 1.0]), found)))
    np.testing.assert_allclose(levels, [1.6, 0.25], rtol=0.35)


def test_points_without_a_voltage_are_left_out():
    data, twin = measured(4.0).with_sigma(4.0), make()
    plain, problem = problem_of(twin), problem_of(twin, (jt.Voltage(),))
    values = np.where(np.arange(90) % 2, np.nan, data.bipolar_mv)
    half = jt.MappingData(data.positions, data.lat_ms, bipolar_mv=values).with_sigma(4.0)
    first = jt.MappingData(data.positions[::2], data.lat_ms[::2], bipolar_mv=data.bipolar_mv[::2])
    (whole,), (part,), (only,) = (placed_on(problem, d) for d in (data, half, first.with_sigma(4.0)))
    there, theta = jnp.asarray(data.lat_ms), problem.prior.mean

    def of_voltage(one, there):
        return float(at_points(theta, problem, one, there) - at_points(theta, plain, one, there))

    assert of_voltage(part, there) == pytest.approx(of_voltage(only, there[::2]))
    assert of_voltage(whole, there) > of_voltage(part, there)


def test_voltages_need_a_scar():
    with pytest.raises(jt.InputError, match="voltages as evidence for scar"):
        jt.fit(make(scar_basis=None), measured(4.0), evidence=(jt.Voltage(),))
