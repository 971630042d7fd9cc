"""A toy therapy: the pacing site with the earliest last activation, over draws from the posterior."""

from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..inference import Laplace, predict
from ..monodomain import Stimulus
from ..twin import Twin


class Plan(eqx.Module):
    """The best site, and for each the probability that it is the best."""

    site: int
    probability: Float[np.ndarray, " sites"]


def earliest_total_activation(
    twin: Twin, posterior: Laplace, sites: Sequence[Stimulus], draws: int = 50
) -> Plan:
    """The site after which all tissue is activated first."""
    total = np.stack([np.nanmax(predict(twin, posterior, site, draws=draws), axis=1) for site in sites])
    best = np.bincount(total.argmin(axis=0), minlength=len(sites)) / draws
    return Plan(int(best.argmax()), best)
