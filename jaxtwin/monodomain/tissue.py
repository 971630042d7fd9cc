"""The tissue: the data of the monodomain equation."""

import equinox as eqx
from jaxtyping import Array, Float

from ..cells import AbstractIonicModel
from ..fem import Space, diffusion_operator
from .stimulus import AbstractStimulus


class Tissue(eqx.Module):
    """The monodomain problem u' = div(D grad u) + reaction(u, h) + J on `space`, with no flux through the
    boundary.

    - `space`: geometry and layout of the mesh. `ionic`: the cell model.
    - `diffusivity`: (cells, dim, dim), D = sigma/(chi C_m), mm2/ms.
    - `stimulus`: J, 1/ms.
    """

    space: Space
    ionic: AbstractIonicModel
    diffusivity: Float[Array, "cells dim dim"]
    stimulus: AbstractStimulus


@eqx.filter_jit
def spectral_bound(tissue: Tissue) -> Float[Array, ""]:
    """Upper bound of the spectral radius of diffusion and reaction together, 1/ms: it limits an explicit
    step."""
    return diffusion_operator(tissue.space, tissue.diffusivity).spectral_bound() + tissue.ionic.stiffness()
