"""fits as a user runs them, with the defaults of the command line and nothing compiled before"""

import os
from typing import Any

import numpy as np

from .house import advertised_path
from .path import DATA, _need

ROUNDS = 3  # of each side, interleaved


def two_commands() -> dict[str, Any]:
    """`jaxtwin import MAP --case CASE` and `jaxtwin fit CASE` on a real map, held-out points beside the best
    method without physics."""
    found = advertised_path()
    best = min(
        found["baselines"][name]["held_out_points"]["rmse_ms"]
        for name in ("radial_basis", "gaussian_process", "isotropic_speed")
    )
    ratio = found["twin"]["held_out_points"]["rmse_ms"] / best
    return {"wall_s": 60.0 * found["minutes"], "held_out_ratio": ratio} | found


def window() -> dict[str, Any]:
    """First activation of a real atrium within a travelling window, as a fit predicts it: from a simulation
    of another tissue and the eikonal waves of both."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import time

    import jax.numpy as jnp

    import jaxtwin as jt
    from jaxtwin.inference.following import AHEAD, BEHIND, SLACK
    from jaxtwin.monodomain import Result, spectral_bound

    (atrium,) = _need(DATA / "atrium_dtmri").glob("*.pts")
    mesh = jt.reorder(jt.repair(jt.read_mesh(atrium).mesh).mesh).mesh
    cells, nodes = jt.MitchellSchaeffer(), len(mesh.points)
    paced = jt.pulse(jt.in_sphere(mesh, mesh.points[mesh.points[:, 2].argmax()], 3.0), nodes)
    centres = mesh.points[mesh.cells].mean(axis=1)
    smooth = np.sin(centres[:, 0] / 8.0) * np.cos(centres[:, 1] / 8.0)
    spaces = {real: jt.Space(mesh) for real in ("float64",)}
    jax.config.update("jax_enable_x64", False)
    spaces["float32"] = jt.Space(mesh)
    jax.config.update("jax_enable_x64", True)
    times = jt.Times(200.0, 0.2)

    def tissue(log_d, real="float64"):
        tensor = jt.diffusion_tensor(mesh.fibres, 0.3 * jnp.exp(log_d), 4.0)
        return jt.Tissue(spaces[real], cells, tensor.astype(real), paced)

    before, here = jnp.asarray(0.3 * smooth), jnp.asarray(0.3 * smooth + 0.1 * np.cos(centres[:, 2] / 10.0))
    bound = max(float(spectral_bound(tissue(d))) for d in (before, here))
    stepper = jt.RungeKuttaChebyshev().with_stages(bound, times.dt)

    def solved(log_d, window, real="float64"):
        found = jt.simulate(
            tissue(log_d, real), times, stepper=stepper, recorders=(jt.ActivationTimes(),), window=window,
            throw=False,
        )  # fmt: skip
        return found.records[0], found.result

    lat = jax.jit(solved, static_argnames="real")
    simulated = np.asarray(lat(before, None)[0])
    assert np.isfinite(simulated).all(), np.isnan(simulated).sum()
    speed, starts = float(jt.wave_speed(cells, 1.0)), paced.starts()
    then, now = (
        jt.eikonal(mesh, np.asarray(tissue(d).diffusivity), speed, *starts)[0] for d in (before, here)
    )
    begin = time.perf_counter()
    around = jt.travelling_window(
        spaces["float64"].layout, simulated + now - then, times, behind=BEHIND + SLACK, ahead=AHEAD + SLACK
    )
    planned = time.perf_counter() - begin
    whole, narrow = (lat(here, one) for one in (None, around))
    gap = np.asarray(narrow[0] - whole[0])
    wrong = jt.travelling_window(spaces["float64"].layout, np.maximum(simulated - 30.0, 0.0), times)

    def mean(log_d, window, real="float64"):
        return jnp.mean(solved(log_d, window, real)[0])

    slope = jax.jit(jax.grad(mean), static_argnames="real")
    way, step = jnp.asarray(np.cos(centres[:, 0] / 6.0)), 1e-3
    by_gradient = float(slope(here, around) @ way)
    sides = [float(jnp.mean(lat(here + sign * step * way, around)[0])) for sign in (1.0, -1.0)]
    by_difference = (sides[0] - sides[1]) / (2.0 * step)
    seconds: dict[str, list[float]] = {}
    for what, run in (("forward", lat), ("gradient", slope)):
        for one in (None, around):
            jax.block_until_ready(run(here, one, real="float32"))
        for _ in range(ROUNDS):
            for name, one in (("whole", None), ("window", around)):
                begin = time.perf_counter()
                jax.block_until_ready(run(here, one, real="float32"))
                seconds.setdefault(f"{what}_{name}", []).append(time.perf_counter() - begin)
    least = {name: min(values) for name, values in seconds.items()}
    return {
        "difference_rms_ms": float(np.sqrt(np.mean(gap**2))), "difference_max_ms": float(np.abs(gap).max()),
        "forward_ratio": least["forward_window"] / least["forward_whole"],
        "gradient_ratio": least["gradient_window"] / least["gradient_whole"],
        "gradient_error": abs(by_gradient / by_difference - 1.0),
        "stayed": float(narrow[1] == Result.SUCCESS), "caught": float(lat(here, wrong)[1] == Result.ESCAPED),
        "share": around.share, "plan_s": planned, "nodes": nodes, "stages": stepper.stages,
        "last_ms": float(np.asarray(whole[0]).max()), "seconds": least, "cores": os.cpu_count(),
    }  # fmt: skip


BENCHMARKS = {"two-commands": two_commands, "window": window}
