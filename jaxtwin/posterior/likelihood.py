"""How probable a measured map is, given the simulated one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

TAIL = 1.7  # a logistic curve this steep is close to the normal distribution function


class StudentT(eqx.Module):
    """Independent Student-t errors of the activation times, with censoring.

    Real annotation noise is 2-10 ms and heavy-tailed: a Gaussian would follow the outliers. Errors are
    scaled by `sigma` of each point times a common factor exp(`log_scale`) that is estimated.

    A point that was measured and is not reached by the simulated wave before its end T counts as if
    reached at T (what is known is that it comes no earlier), with no derivative. A point at which no
    activation was found until T (`silent`) but which the simulation activates pays the logarithm of the
    chance to have missed it, by the logistic tail of the same width.
    """

    degrees: float = eqx.field(static=True, default=4.0)

    def __call__(
        self,
        predicted: Float[Array, " points"],
        measured: Float[Array, " points"],
        sigma: Float[Array, " points"],
        silent: Bool[Array, " points"],
        weight: Float[Array, " points"],
        log_scale: Float[Array, ""],
        end: float,
        lost: Float[Array, ""] | float = 0.0,
    ) -> Float[Array, ""]:
        """The negative logarithm of the likelihood. Times in ms; NaN in `predicted`: not reached by `end`.

        `weight` 0 leaves a point out. `lost`: the share of the points that other estimated numbers have used
        up; the scale is then that of the marginal likelihood, not of the residuals that are left.
        """
        scale = sigma * jnp.exp(log_scale)
        reached = jnp.isfinite(predicted)
        measured = jnp.where(silent | (weight == 0), end, measured)
        residual = (jnp.where(reached, predicted, end) - measured) / scale
        nu = self.degrees
        dense = 0.5 * (nu + 1.0) * jnp.log1p(residual**2 / nu) + (1.0 - lost) * jnp.log(scale)
        missed = jnp.where(reached, jax.nn.softplus(-TAIL * residual), 0.0)
        return jnp.sum(weight * jnp.where(weight > 0, jnp.where(silent, missed, dense), 0.0))

    def information(
        self,
        predicted: Float[Array, " points"],
        sigma: Float[Array, " points"],
        silent: Bool[Array, " points"],
        weight: Float[Array, " points"],
        log_scale: Float[Array, ""],
        end: float,
    ) -> tuple[Float[Array, " points"], Float[Array, ""]]:
        """What the points tell about `predicted`, 1/ms2, and about `log_scale`: the expected second
        derivatives of the loss (Lange, Little, Taylor 1989, doi 10.1080/01621459.1989.10478852); for silent
        points, whose loss is convex, the derivative itself. Zero at points not reached by `end`."""
        scale = sigma * jnp.exp(log_scale)
        reached, nu = jnp.isfinite(predicted), self.degrees
        chance = jax.nn.sigmoid(-TAIL * (jnp.where(reached, predicted, end) - end) / scale)
        each = jnp.where(silent, TAIL**2 * chance * (1.0 - chance), (nu + 1.0) / (nu + 3.0)) / scale**2
        dense = jnp.sum(jnp.where(silent, 0.0, weight))
        return jnp.where(reached, weight * each, 0.0), 2.0 * nu / (nu + 3.0) * dense

    def efficiency(self, residuals: Float[np.ndarray, " points"]) -> float:
        """What a point tells, by the residuals (over their scale) themselves, relative to `information`.

        With psi the derivative of the loss, an estimate has the variance mean(psi^2)/mean(psi')^2 whatever
        the distribution of the errors (Huber 1967), which is 1/`information` only for the one assumed here.
        """
        nu, r = self.degrees, np.asarray(residuals, np.float64)
        psi = (nu + 1.0) * r / (nu + r**2)
        steep = (nu + 1.0) * (nu - r**2) / (nu + r**2) ** 2
        if len(r) < 20:
            return 1.0
        return float(max(steep.mean(), 1e-3) ** 2 / (psi**2).mean() / ((nu + 1.0) / (nu + 3.0)))
