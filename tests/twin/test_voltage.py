"""Voltages as evidence for scar: what they tell, and what they are worth beside times."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxtwin as jt
from jaxtwin.twin.course import curvature
from jaxtwin.twin.misfit import log_voltage, loss
from jaxtwin.twin.search import simulated, simulated_courses

MESH = jt.sheet(12.0, 12.0, 0.75, fibre_angle=0.4)
NODES = len(MESH.points)
SCAR = np.hypot(*(MESH.points - [6.0, 7.0]).T) < 3.0


def make(voltage=None, **scar) -> jt.Twin:
    modes = jt.matern_modes(MESH, correlation_length=6.0, count=30)
    scar = {"scar_basis": jt.field(modes, 1.5, 0.3), "scar_depth": 2.0} | scar
    conductivity = jt.LogConductivity(
        jt.uniform(NODES, 0.3), reference=0.2, floor=0.01, ceiling=1.0, ratio=2.0, **scar
    )
    return jt.Twin(
        MESH, ionic=jt.MitchellSchaeffer(), conductivity=conductivity, times=jt.Times(90.0, 0.25),
        stimuli=(jt.pulse(jt.in_sphere(MESH, [0.0, 0.0], 1.2), NODES),), voltage=voltage, mesh_error=False,
    )  # fmt: skip


def measured(noise_ms: float) -> jt.MappingData:
    """One map of a heart with scar, its voltages scattered by a factor of 1.5."""
    log_d = np.log(0.2) - 2.0 * SCAR
    one = jt.LogConductivity(
        jnp.asarray(log_d - np.log(0.2))[:, None], reference=0.2, floor=0.01, ceiling=1.0, ratio=2.0
    )
    twin = jt.Twin(
        MESH, ionic=jt.MitchellSchaeffer(), conductivity=one, times=jt.Times(90.0, 0.25), mesh_error=False,
        stimuli=(jt.pulse(jt.in_sphere(MESH, [0.0, 0.0], 1.2), NODES),),
    )  # fmt: skip
    lat = np.asarray(twin.predict(twin.mean() | {"conductivity": jnp.ones(1)}))
    random = np.random.default_rng(0)
    some = random.choice(NODES, 90, replace=False)
    volts = np.where(SCAR, 0.25, 1.6) * np.exp(random.normal(0.0, 0.4, NODES))
    noisy = lat + random.normal(0.0, noise_ms, NODES)
    return jt.MappingData(MESH.points[some], noisy[some], bipolar_mv=volts[some])


def dice(twin, theta) -> float:
    found = np.asarray(twin.conductivity.scar(theta)) > 0.5
    return 2.0 * (found & SCAR).sum() / (found.sum() + SCAR.sum())


def test_the_information_is_the_curvature_of_the_loss():
    """Where voltages are as expected: the second derivative there is (nu + 3)/nu of the expected one."""
    twin = make(jt.Voltage())
    random = np.random.default_rng(1)
    theta = twin.mean() | {"voltage": jnp.asarray([0.3, -0.5])}
    theta |= {"scar": jnp.asarray(random.normal(0.0, 1.0, 31))}
    data = measured(4.0)
    (one,) = twin.observations(data, 1e6)  # times that tell nothing
    exact = log_voltage(theta, twin, one)
    one = eqx.tree_at(lambda o: o.log_mv, one, exact)
    there = jnp.asarray(data.lat_ms)
    numbers = jnp.concatenate([theta["scar"], theta["voltage"]])

    def at(values):
        return loss(theta | {"scar": values[:31], "voltage": values[31:]}, twin, one, there)

    bent = np.asarray(jax.hessian(at)(numbers))
    courses = simulated_courses(twin, theta, (one,), simulated(twin, (one,), theta).arrival)
    known = curvature(twin, theta, (one,), courses)
    names = ravel_pytree(
        {name: jnp.full(leaf.shape, float(name in ("scar", "voltage"))) for name, leaf in theta.items()}
    )[0]
    at_numbers = np.asarray(names) > 0.5
    np.testing.assert_allclose(known[np.ix_(at_numbers, at_numbers)], bent * 4.0 / 7.0, rtol=1e-4, atol=1e-6)


def test_voltages_show_scar_that_noisy_times_do_not():
    data = measured(6.0)
    without, beside = make(), make(jt.Voltage())
    alone = without.fit(data, sigma_ms=6.0, iterations=8, tolerance=0.1)
    both = beside.fit(data, sigma_ms=6.0, iterations=8, tolerance=0.1)
    assert dice(beside, both.theta) > 0.85
    assert dice(beside, both.theta) > dice(without, alone.theta) + 0.1
    levels = np.exp(np.asarray(beside.voltage.expected(jnp.asarray([0.0, 1.0]), both.theta["voltage"])))
    np.testing.assert_allclose(levels, [1.6, 0.25], rtol=0.35)


def test_points_without_a_voltage_are_left_out():
    data = measured(4.0)
    twin = make(jt.Voltage())
    values = np.where(np.arange(90) % 2, np.nan, data.bipolar_mv)
    half = jt.MappingData(data.positions, data.lat_ms, bipolar_mv=values)
    (whole,), (part,) = (twin.observations(d, 4.0) for d in (data, half))
    there, theta = jnp.asarray(data.lat_ms), twin.mean()
    first = jt.MappingData(data.positions[::2], data.lat_ms[::2], bipolar_mv=data.bipolar_mv[::2])
    (only,) = twin.observations(first, 4.0)
    of_times = [loss(theta, make(), o, there) for o in (whole, part)]
    found = loss(theta, twin, part, there) - of_times[1]
    alone = loss(theta, twin, only, there[::2]) - loss(theta, make(), only, there[::2])
    assert float(found) == pytest.approx(float(alone))
    assert float(loss(theta, twin, whole, there) - of_times[0]) > float(found)


def test_voltages_need_a_scar():
    with pytest.raises(jt.InputError, match="voltages as evidence for scar"):
        make(jt.Voltage(), scar_basis=None)
