"""the solver and its gradient: what they cost, and how wrong they are"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REFERENCE_MS = {(20, 0): 32.82, (40, 0): 66.18, (20, 20): 47.04, (40, 40): 93.37}  # edges 0.1 mm, 0.02 ms


def one_core() -> None:
    """Keeps all threads of this process on one core."""
    core = {min(os.sched_getaffinity(0))}
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), core)


def fastest(run: Callable[[], Any], times: int = 3) -> tuple[Any, float, float]:
    """Result, seconds of the first run with compilation, and of the fastest run after it."""
    seconds = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - begin)
    return result, seconds[0], min(seconds[1:])


def sheet() -> dict[str, Any]:
    """Problem P, 200 ms on one core in float32: 10k and 40k nodes, forward and gradient by a field of D.

    Sheet of 40 x 40 mm, D = 0.3 mm2/ms, Mitchell-Schaeffer, corner stimulus of 2 x 2 mm; conductivity of each
    cell its own, event-consistent gate, activation times recorded.
    """
    import jax
    import jax.numpy as jnp

    import jaxtwin as jt
    from jaxtwin.fem import Space
    from jaxtwin.monodomain import spectral_bound

    one_core()
    table = {}
    for name, edge in (("10k", 0.4), ("40k", 0.2)):
        for share in (0.0, 0.5):
            mesh = jt.reorder(jt.sheet(40.0, 40.0, edge)).mesh
            space, times = Space(mesh, consistent_mass=share), jt.Times(200.0, 0.05)
            start = jt.pulse((mesh.points <= 2.0).all(axis=1), len(mesh.points))
            cells = jnp.full(len(mesh.cells), np.log(0.3), space.mass.dtype)

            def tissue(log_d, mesh=mesh, space=space, start=start):
                return jt.Tissue(
                    space, jt.MitchellSchaeffer(), jt.diffusion_tensor(mesh.fibres, jnp.exp(log_d)), start
                )

            stepper = jt.RungeKuttaChebyshev().with_stages(float(spectral_bound(tissue(cells))), times.dt)

            def activation(log_d, tissue=tissue, times=times, stepper=stepper):
                recorders = (jt.ActivationTimes(),)
                return jt.simulate(
                    tissue(log_d), times, stepper=stepper, recorders=recorders, adjoint=jt.Checkpointed(8e9)
                ).records[0]

            forward = jax.jit(activation)
            gradient = jax.jit(jax.grad(lambda d, f=activation: jnp.mean(f(d))))
            lat, first, seconds = fastest(lambda f=forward, d=cells: np.asarray(f(d)))
            where = [np.linalg.norm(mesh.points - np.asarray([at]), axis=1).argmin() for at in REFERENCE_MS]
            gap = lat[where] - np.asarray(list(REFERENCE_MS.values()))
            row = {
                "nodes": len(mesh.points), "steps": times.steps, "stages": stepper.stages,
                "forward_s": seconds, "forward_first_s": first,
                "node_steps_per_s": len(mesh.points) * times.steps / seconds,
                "lat_error_ms": gap.tolist(), "rms_lat_error_ms": float(np.sqrt(np.mean(gap**2))),
            }  # fmt: skip
            if share == 0.0:
                _, first, seconds = fastest(lambda g=gradient, d=cells: np.asarray(g(d)), 1)
                row |= {"gradient_s": seconds, "gradient_first_s": first}
                row["gradient_over_forward"] = seconds / row["forward_s"]
            table[f"{name}, {'lumped' if share == 0.0 else 'blended'} mass"] = row
    return {"problem": "P", "runs": table}


def dispersion() -> dict[str, Any]:
    """What edges of 0.5 mm do to activation times and speeds, lumped and with half of the consistent mass.

    24 x 24 mm, fibres at 30 degrees, D = 0.3 and 0.075 mm2/ms, structured and randomly distorted triangles;
    root-mean-square error of the activation times farther than 8 mm from the stimulus, against edges of
    0.125 mm with the blend. Speeds of plane waves along and across fibres against the closed form, where the
    one along is 0.6 mm/ms.
    """
    import jax
    import jax.numpy as jnp
    from scipy.interpolate import RegularGridInterpolator

    jax.config.update("jax_enable_x64", True)
    import jaxtwin as jt
    from jaxtwin.fem import Space

    cell = jt.MitchellSchaeffer()

    def activation(mesh, along, strength, share, stop):
        tensor = jt.diffusion_tensor(mesh.fibres, along, 4.0)
        start = jt.pulse(np.arange(len(mesh.points)), len(mesh.points), strength=strength)
        tissue = jt.Tissue(Space(mesh, consistent_mass=share), cell, tensor, start)
        return np.asarray(
            jt.simulate(tissue, jt.Times(stop, 0.05), recorders=(jt.ActivationTimes(),)).records[0]
        )

    def corner(edge, distortion, share):
        mesh = jt.sheet(24.0, 24.0, edge, fibre_angle=np.pi / 6, distortion=distortion, seed=3)
        # smooth in space, so that every mesh gets the same stimulus
        strength = 0.6 / (1.0 + np.exp((np.linalg.norm(mesh.points, axis=1) - 3.0) / 0.5))
        return mesh, activation(mesh, 0.3, strength, share, 90.0)

    fine, lat = corner(0.125, 0.0, 0.5)
    axis = np.unique(np.round(fine.points[:, 0], 6))
    column, row = np.searchsorted(axis, np.round(fine.points, 6)).T
    grid = np.full((len(axis), len(axis)), np.nan)
    grid[column, row] = lat
    exact = RegularGridInterpolator((axis, axis), grid, method="cubic")
    errors = {}
    for name, distortion in (("structured", 0.0), ("distorted", 0.2)):
        errors[name] = {}
        for scheme, share in (("lumped", 0.0), ("blended", 0.5)):
            mesh, lat = corner(0.5, distortion, share)
            far = np.linalg.norm(mesh.points, axis=1) > 8.0
            gap = (lat - exact(mesh.points))[far]
            errors[name][scheme] = float(np.sqrt(np.mean(gap**2)))
        errors[name]["ratio"] = errors[name]["blended"] / errors[name]["lumped"]

    def speed(across, share):
        mesh = jt.sheet(20.0, 3.0, 0.5, fibre_angle=np.pi / 2 if across else 0.0)
        x = mesh.points[:, 0]
        lat = activation(mesh, 0.305, 0.6 / (1.0 + np.exp((x - 1.2) / 0.2)), share, 90.0)
        inside = (x > 6.0) & (x < 16.0)
        found = 1.0 / np.polyfit(x[inside], lat[inside], 1)[0]
        return float(found / float(cell.speed(jnp.asarray(0.305 / (4 if across else 1)))) - 1.0)

    speeds = {
        way: {scheme: speed(way == "across", share) for scheme, share in (("lumped", 0.0), ("blended", 0.5))}
        for way in ("along", "across")
    }
    return {
        "lat_error_ms": errors, "largest_ratio": max(e["ratio"] for e in errors.values()),
        "speed_error": speeds, "largest_speed_error": max(abs(s["blended"]) for s in speeds.values()),
    }  # fmt: skip


BENCHMARKS = {"sheet": sheet, "dispersion": dispersion}
