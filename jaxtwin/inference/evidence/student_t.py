"""Heavy-tailed errors of activation times, with censoring."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._results import InputError

TAIL = 1.7  # slope of the logistic curve that approximates the normal distribution function
UNSEEN_MS = 25.0  # after the end of the window of interest: later waves count as not activated
FEWEST = 20  # residuals, needed to estimate their distribution


class StudentT(eqx.Module):
    """Independent Student-t errors of the activation times, with censoring.

    Real annotation noise is 2-10 ms and heavy-tailed: a Gaussian would follow the outliers. Errors are scaled
    by `sigma` of each point times a common factor exp(`log_scale`), which is estimated.

    Observation ends with the window of interest, `until`. A wave that arrives more than 25 ms later, or not
    at all, cannot be observed: a point that was activated in the map is then treated as if reached at that
    time, without a derivative. A point without observed activation (`silent`) that the simulation activates
    contributes the log probability of having missed it, by the logistic tail of the same width. The loss
    therefore does not depend on the duration of the simulation.

    **Raises:** `InputError` for two degrees of freedom or fewer, where the variance is infinite.
    """

    degrees: float = eqx.field(static=True, default=4.0)

    def __check_init__(self):
        if not self.degrees > 2.0:
            raise InputError(
                f"a Student-t distribution with {self.degrees:g} degrees of freedom",
                "more than 2, so that it has a variance", "Take 4, or 1000 for a Gaussian",
            )  # fmt: skip

    @property
    def sd(self) -> float:
        """Standard deviation of an error of scale 1."""
        return (self.degrees / (self.degrees - 2.0)) ** 0.5

    def __call__(
        self,
        predicted: Float[Array, " points"],
        measured: Float[Array, " points"],
        sigma: Float[Array, " points"],
        silent: Bool[Array, " points"],
        weight: Float[Array, " points"],
        log_scale: Float[Array, ""],
        until: Float[Array, " points"],
        lost: Float[Array, ""] | float = 0.0,
    ) -> Float[Array, ""]:
        """The negative log likelihood. Times in ms; NaN in `predicted`: not activated.

        `weight` 0 excludes a point. `lost`: the fraction of the points used up by other estimated parameters;
        the scale is then that of the marginal likelihood, not of the remaining residuals.
        """
        scale = sigma * jnp.exp(log_scale)
        seen, nu = _seen(predicted, until), self.degrees
        timed = (weight > 0) & ~silent
        latest = until + UNSEEN_MS
        residual = jnp.where(seen, predicted, latest) - jnp.where(timed, measured, latest)
        dense = 0.5 * (nu + 1.0) * jnp.log1p((residual / scale) ** 2 / nu) + (1.0 - lost) * jnp.log(scale)
        early = (jnp.where(seen, predicted, until) - until) / scale
        missed = jnp.where(seen, jax.nn.softplus(-TAIL * early), 0.0)
        return jnp.sum(weight * jnp.where(weight > 0, jnp.where(silent, missed, dense), 0.0))

    def information(
        self,
        predicted: Float[Array, " points"],
        sigma: Float[Array, " points"],
        silent: Bool[Array, " points"],
        weight: Float[Array, " points"],
        log_scale: Float[Array, ""],
        until: Float[Array, " points"],
    ) -> tuple[Float[Array, " points"], Float[Array, ""]]:
        """Fisher information of `predicted`, 1/ms2, and of `log_scale`: the expected second derivatives of
        the loss (Lange, Little, Taylor 1989, doi 10.1080/01621459.1989.10478852); for silent points, whose
        loss is convex, the derivative itself. Zero at points that are not activated in time."""
        scale = sigma * jnp.exp(log_scale)
        seen, nu = _seen(predicted, until), self.degrees
        chance = jax.nn.sigmoid(-TAIL * (jnp.where(seen, predicted, until) - until) / scale)
        each = jnp.where(silent, TAIL**2 * chance * (1.0 - chance), (nu + 1.0) / (nu + 3.0)) / scale**2
        dense = jnp.sum(jnp.where(silent, 0.0, weight))
        return jnp.where(seen, weight * each, 0.0), 2.0 * nu / (nu + 3.0) * dense

    def efficiency(self, residuals: Float[np.ndarray, " points"]) -> float:
        """Empirical information per point (sandwich correction), relative to `information`.

        `residuals` over their scale. With psi the derivative of the loss, an estimate has the variance
        mean(psi^2)/mean(psi')^2 for any distribution of the errors (Huber 1967), which equals 1/`information`
        only for the assumed one. 1 for fewer than 20 residuals.
        """
        nu, r = self.degrees, np.asarray(residuals, np.float64)
        psi = (nu + 1.0) * r / (nu + r**2)
        steep = (nu + 1.0) * (nu - r**2) / (nu + r**2) ** 2
        if len(r) < FEWEST:
            return 1.0
        return float(max(steep.mean(), 1e-3) ** 2 / (psi**2).mean() / ((nu + 1.0) / (nu + 3.0)))


def _seen(predicted: Float[Array, " points"], until: Float[Array, " points"]) -> Bool[Array, " points"]:
    return jnp.isfinite(predicted) & (predicted <= until + UNSEEN_MS)
