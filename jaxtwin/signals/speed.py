"""Speed of a plane wave: in closed form if the cell model has one, otherwise on a cable."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import InputError, SolveError
from .._types import Parameter, nodal_leaves
from ..anatomy import cable
from ..cells import AbstractIonicModel
from ..fem import Space
from ..monodomain import Times, Tissue, diffusion_tensor, pulse, simulate_in_parts
from .activation import ActivationTimes

LENGTH, LEFT, RIGHT = 16.0, 6.0, 14.0  # length of the cable and of the section where speed is measured, mm
REFERENCE = 0.1  # D of the cable, mm2/ms
PATIENCE = 30.0  # ms without a newly activated node, after which the wave counts as blocked
EDGES = (0.1, 0.05, 0.025, 0.0125)  # mm, until two in a row agree
COARSE = 0.5  # edge length on which a wave may block, mm
AGREE = 0.005  # relative difference of the speeds that extrapolation of two pairs of edges gives


def wave_speed(ionic: AbstractIonicModel, diffusivity: Parameter) -> Float[Array, "..."]:
    """Returns the speed of a plane wave into resting tissue, mm/ms; 0 if the cells do not conduct.

    Closed form if `ionic` has one. Otherwise it is measured on cables at one D, since speed is proportional
    to sqrt(D): the edge length is halved and the limit extrapolated until it changes by less than 0.5 %.

    **Arguments:** `ionic`: the cell model; without a closed form its parameters must be numbers, not fields.
    `diffusivity`: mm2/ms, of any shape.

    **Raises:** `SolveError` if the extrapolated speed has not converged at the shortest edge, 0.0125 mm.

    **Example:** `jt.wave_speed(jt.MitchellSchaeffer(), 0.1)`
    """
    speed = ionic.closed_form_speed(diffusivity)
    return jnp.sqrt(diffusivity / REFERENCE) * converged_speed(ionic) if speed is None else speed


def diffusivity_for(ionic: AbstractIonicModel, speed: Parameter) -> Float[Array, "..."]:
    """Returns the diffusivity, mm2/ms, at which a plane wave into resting tissue has this `speed`, mm/ms.

    **Raises:** `InputError` for cells that do not conduct.

    **Example:** `jt.diffusivity_for(jt.MitchellSchaeffer(), 0.7)`
    """
    unit = float(wave_speed(ionic, 1.0))
    if not unit > 0.0:
        raise InputError(
            f"a speed for {type(ionic).__name__} cells that do not conduct",
            "cells along which a wave travels", "Make them more excitable",
        )  # fmt: skip
    return (jnp.asarray(speed) / unit) ** 2


def converged_speed(ionic: AbstractIonicModel) -> float:
    """Speed on a cable with D = `REFERENCE` in the limit of short edges, mm/ms; 0 without propagation."""
    speeds, limits = [], []
    for edge in EDGES:
        speeds.append(plane_wave_speed(ionic, REFERENCE, edge=edge, dt=0.2 * edge))
        if speeds[-1] == 0.0:
            return 0.0
        if len(speeds) > 1:
            limits.append((4.0 * speeds[-1] - speeds[-2]) / 3.0)  # lumped mass is of second order
        if len(limits) > 1 and abs(limits[-1] / limits[-2] - 1.0) < AGREE:
            return limits[-1]
    raise SolveError(
        f"The speed of a plane wave of {type(ionic).__name__} does not converge: {speeds} mm/ms on edges of "
        f"{list(EDGES)} mm with D = {REFERENCE} mm2/ms. Check the cell model."
    )


def critical_coupling(ionic: AbstractIonicModel) -> float:
    """Smallest D/edge^2, 1/ms, at which a wave propagates on a cable of this edge length, to 5 %.

    Below it a wave blocks, or remains at each node for longer than the upstroke lasts. Parameters that are
    fields are replaced by their median.
    """
    leaves = [jnp.median(leaf) if at_nodes else leaf for _, leaf, at_nodes in nodal_leaves(ionic)]
    ionic = jax.tree.unflatten(jax.tree.structure(ionic), leaves)
    low, high = 1e-4, 1.0
    while high / low > 1.05:
        middle = (low * high) ** 0.5
        travels = plane_wave_speed(ionic, middle * COARSE**2, edge=COARSE, dt=0.1) > 0.0
        low, high = (low, middle) if travels else (middle, high)
    return high


def plane_wave_speed(
    ionic: AbstractIonicModel,
    diffusivity: float = 0.1,
    *,
    edge: float = 0.05,
    dt: float = 0.02,
    consistent_mass: float = 0.0,
) -> float:
    """Speed of a wave on a cable between 6 and 14 mm from its start, from rest with active gates, mm/ms; 0
    without propagation.

    `edge`, mm; `dt`, ms; `consistent_mass`: see `Space`.
    """
    mesh = cable(LENGTH, edge)
    x = mesh.points[:, 0]
    space = Space(mesh, consistent_mass=consistent_mass)
    start = pulse(x < 1.0, len(x), strength=ionic.strength)
    tissue = Tissue(space, ionic, diffusion_tensor(mesh.fibres, diffusivity), start)
    left, right = abs(x - LEFT).argmin(), abs(x - RIGHT).argmin()
    latest, lat = 0.0, np.full(len(x), np.nan)
    parts = simulate_in_parts(tissue, Times(1e4, dt), every=round(10.0 / dt), recorders=(ActivationTimes(),))
    for now, solution in parts:
        lat = np.asarray(solution.records[0])
        if np.isfinite(lat[right]):
            return float((x[right] - x[left]) / (lat[right] - lat[left]))
        latest = np.nanmax(lat, initial=latest)
        if now - latest > PATIENCE:
            break
    return 0.0
