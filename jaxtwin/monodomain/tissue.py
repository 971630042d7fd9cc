"""The tissue: what the monodomain equation is solved for."""

import equinox as eqx
from jaxtyping import Array, Float

from ..cells import AbstractIonicModel
from ..fem import Space, diffusion_operator
from .stimulus import AbstractStimulus


class Tissue(eqx.Module):
    """u' = div(D grad u) + reaction(u, h) + J on `space`, no flux through the boundary.

    `diffusivity`: (cells, dim, dim), D = sigma/(chi C_m), mm2/ms.
    """

    space: Space
    ionic: AbstractIonicModel
    diffusivity: Float[Array, "cells dim dim"]
    stimulus: AbstractStimulus


@eqx.filter_jit
def spectral_bound(tissue: Tissue) -> Float[Array, ""]:
    """Bound of the spectrum of diffusion and reaction together, 1/ms: what limits an explicit step."""
    return diffusion_operator(tissue.space, tissue.diffusivity).spectral_bound() + tissue.ionic.stiffness()
