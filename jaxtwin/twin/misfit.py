"""One map: its points beside the simulated times, how far they are apart, and derivatives of that."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..monodomain import ForwardMode, simulate
from ..observe import ActivationTimes
from ..posterior import Observation, Theta
from .twin import Twin


def half_square(theta: Theta) -> Float[Array, ""]:
    """|theta|^2/2."""
    return 0.5 * sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(theta)), start=jnp.zeros(()))


prior = eqx.filter_jit(jax.value_and_grad(half_square))


def aside(theta: Theta, twin: Twin, observation: Observation) -> Float[Array, " points"]:
    """What stands beside the simulated times at the points, ms: clock, discrepancy, error of the mesh."""
    total = twin.offset_ms(theta)[observation.index] + jnp.zeros_like(observation.lat_ms)
    if observation.basis is not None:
        total = total + observation.basis @ theta["discrepancy"][observation.index]
    if twin.mesh_error is not None and observation.mesh_error is not None:
        total = total + observation.mesh_error @ twin.mesh_error.numbers(theta, observation.index)
    return total


def at_points(observation: Observation, activation: Float[Array, " nodes"]) -> Float[Array, " points"]:
    """Activation at the points since the wave left its source, ms."""
    return observation.place(activation) - observation.clock.since(activation)


def predicted(theta: Theta, twin: Twin, observation: Observation):
    """What the map should show at its points, ms on its clock, and the simulated activation of the nodes."""
    activation = twin.activation(theta, observation.stimulus, observation.beat)
    return at_points(observation, activation) + aside(theta, twin, observation), activation


def loss(theta: Theta, twin: Twin, observation: Observation, there: Float[Array, " points"]):
    """Of the times `there`, as the map should show them, and of the voltages where they count."""
    of_times = twin.likelihood(
        there, observation.lat_ms, observation.sigma_ms, observation.silent, observation.weight,
        theta["noise"], twin.times.stop, observation.lost,
    )  # fmt: skip
    if twin.voltage is None or observation.log_mv is None:
        return of_times
    return of_times + twin.voltage(log_voltage(theta, twin, observation), observation.log_mv)


def log_voltage(theta: Theta, twin: Twin, observation: Observation) -> Float[Array, " points"]:
    """What the logarithms of the voltages at the points should be."""
    assert twin.voltage is not None
    share = observation.place(twin.conductivity.scar(theta))
    return twin.voltage.expected(share, theta["voltage"])


@eqx.filter_jit
def voltage_slope(theta: Theta, twin: Twin, observation: Observation) -> Float[Array, "points numbers"]:
    """The derivative of the logarithms of the voltages by the numbers of theta."""
    flat, back = ravel_pytree(theta)
    some, of_some = ravel_pytree({name: theta[name] for name in ("scar", "voltage")})
    slope = jax.jacfwd(lambda f: log_voltage(theta | of_some(f), twin, observation))(some)
    place = back(jnp.arange(flat.size, dtype=flat.dtype))
    at = ravel_pytree({name: place[name] for name in ("scar", "voltage")})[0].astype(int)
    return jnp.zeros((slope.shape[0], flat.size), slope.dtype).at[:, at].set(slope)


def summed(theta: Theta, twin: Twin, observation: Observation, activation):
    """Loss of a simulated `activation`; captured points, sum of their squared residuals in ms2."""
    there = at_points(observation, activation) + aside(theta, twin, observation)
    hit = jnp.isfinite(there) & observation.dense
    square = jnp.sum(jnp.where(hit, there - observation.lat_ms, 0.0) ** 2)
    return loss(theta, twin, observation, there), hit.sum(), square


of_activation = eqx.filter_jit(summed)


@eqx.filter_jit
def misfit(theta: Theta, twin: Twin, observation: Observation):
    """((loss, (captured, sum of squares, activation)), gradient) of one simulation."""

    def of(theta: Theta):
        activation = twin.activation(theta, observation.stimulus, observation.beat)
        value, captured, square = summed(theta, twin, observation, activation)
        return value, (captured, square, jax.lax.stop_gradient(activation))

    return jax.value_and_grad(of, has_aux=True)(theta)


@eqx.filter_jit
def residual(theta: Theta, twin: Twin, observation: Observation, activation):
    """(prediction - measurement)/scale; NaN at points without a number to compare."""
    gap = at_points(observation, activation) + aside(theta, twin, observation) - observation.lat_ms
    return jnp.where(observation.dense, gap / (observation.sigma_ms * jnp.exp(theta["noise"])), jnp.nan)


def information(theta: Theta, twin: Twin, observation: Observation, there):
    """What the points tell of `there` and of the noise; see `StudentT.information`. Points that other numbers
    have used up tell nothing of the noise."""
    of_times, of_noise = twin.likelihood.information(
        there, observation.sigma_ms, observation.silent, observation.weight, theta["noise"], twin.times.stop
    )
    return of_times, (1.0 - observation.lost) * of_noise


@eqx.filter_jit
def curvature_product(v: Theta, theta: Theta, twin: Twin, ahead: Twin, observation: Observation) -> Theta:
    """J^T W J v of one map: `ahead` is the twin for forward mode."""
    there, along = jax.jvp(lambda t: predicted(t, ahead, observation)[0], (theta,), (v,))
    weight, of_noise = information(theta, twin, observation, there)
    _, pull = jax.vjp(lambda t: predicted(t, twin, observation)[0], theta)
    (product,) = pull(jnp.where(weight > 0, weight * along, 0.0))
    product = product | {"noise": product["noise"] + of_noise * v["noise"]}
    if twin.voltage is None or observation.log_mv is None:
        return product
    _, more = jax.jvp(lambda t: log_voltage(t, twin, observation), (theta,), (v,))
    _, pull = jax.vjp(lambda t: log_voltage(t, twin, observation), theta)
    (of_voltage,) = pull(twin.voltage.information(observation.log_mv) * more)
    return jax.tree.map(jnp.add, product, of_voltage)


@eqx.filter_jit
def derivative_by_globals(theta: Theta, twin: Twin, observation: Observation):
    """d(simulated times at the points)/d(log D, log of each cell parameter to estimate), alike everywhere."""
    names, beat = [name for name, _ in twin.ionic_sd], observation.beat

    def there(logs):
        tissue = twin.tissue(theta, observation.stimulus)
        cells = tissue.ionic
        for name, log in zip(names, logs[1:], strict=True):
            value = getattr(cells, name) * jnp.exp(log)
            cells = eqx.tree_at(lambda c, name=name: getattr(c, name), cells, value)
        where = lambda t: (t.ionic, t.diffusivity)  # noqa: E731
        tissue = eqx.tree_at(where, tissue, (cells, jnp.exp(logs[0]) * tissue.diffusivity))
        lat = simulate(
            tissue, twin.times, stepper=twin.stepper,
            recorders=(ActivationTimes(after=observation.stimulus.onset[beat]),),
            adjoint=ForwardMode(), throw=False,
        ).records[0]  # fmt: skip
        return observation.place(lat)

    return jax.jacfwd(there)(jnp.zeros(1 + len(names), twin.space.mass.dtype))
