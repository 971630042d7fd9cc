"""`jaxtwin doctor`: is this machine ready?"""

import os
import platform
import time
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp

from ..anatomy import sheet
from ..cells import MitchellSchaeffer
from ..fem import Space
from ..monodomain import RungeKuttaChebyshev, Times, Tissue, diffusion_tensor, pulse, simulate
from ..signals import ActivationTimes
from .folder import PACKAGES


def examine() -> dict[str, Any]:
    """Versions, devices and memory (None where the device does not tell), and the self-test."""
    memory = (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else None
    )
    devices = [
        {
            "kind": d.device_kind,
            "platform": d.platform,
            "memory_GiB": limit / 2**30 if (limit := (d.memory_stats() or {}).get("bytes_limit")) else None,
        }
        for d in jax.devices()
    ]
    return {
        "versions": {p: version(p) for p in PACKAGES} | {"python": platform.python_version()},
        "devices": devices,
        "cores": os.cpu_count(),
        "memory_GiB": memory,
        "self_test": self_test(),
    }


def self_test() -> dict[str, Any]:
    """A wave along a strip: its speed and derivative against the closed form, and the time of both.

    CV grows with sqrt(D), so that d delay / d log D = -delay/2, but for the error of the mesh.
    """
    begin = time.perf_counter()
    mesh, ionic = sheet(6.0, 1.0, 0.2), MitchellSchaeffer()
    space = Space(mesh)
    stimulus = pulse(mesh.points[:, 0] <= 0.5, len(mesh.points))
    left, right = (abs(mesh.points[:, 0] - x).argmin() for x in (2.0, 5.0))
    stepper = RungeKuttaChebyshev(4)  # stable on this mesh

    def delay(log_d):
        tissue = Tissue(space, ionic, diffusion_tensor(mesh.fibres, jnp.exp(log_d)), stimulus)
        lat = simulate(tissue, Times(25.0, 0.05), stepper=stepper, recorders=(ActivationTimes(),)).records[0]
        return lat[right] - lat[left]

    log_d = jnp.log(jnp.asarray(0.1, space.mass.dtype))
    value, slope = jax.jit(jax.value_and_grad(delay))(log_d)
    speed, closed = 3.0 / float(value), float(ionic.speed(0.1))
    passed = abs(speed / closed - 1) < 0.05 and abs(float(slope) / (-0.5 * float(value)) - 1) < 0.1
    return {
        "passed": passed,
        "speed_mm_per_ms": speed,
        "closed_form_mm_per_ms": closed,
        "derivative_ms": float(slope),
        "expected_ms": -0.5 * float(value),
        "seconds": time.perf_counter() - begin,
    }
