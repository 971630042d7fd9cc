"""fits as a user runs them, with the defaults of the command line and nothing compiled before"""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .atrium import atrium
from .combined import real_map
from .house import imported_and_fitted
from .path import DATA, _need
from .sheets import sheets
from .surfaces import surfaces

ROUNDS = 3  # of each side, interleaved


def two_commands() -> dict[str, Any]:
    """`jaxtwin import MAP --case CASE` and `jaxtwin fit CASE` on a real map."""
    (source,) = _need(DATA / "eam_map").glob("*.vtk")
    return _two_commands(source)


def two_commands_scar() -> dict[str, Any]:
    """The same on an atrium with a scar and activation times of another code at its nodes."""
    return _two_commands(_need(DATA / "atrium_scar") / "LA_model.vtk")


def two_commands_carto() -> dict[str, Any]:
    """The same on the largest surface of a CARTO export, whose points have no LATs: they are simulated, in
    tissue that varies, on a mesh of 0.5 mm, and carry 2 ms of noise."""
    import jax.numpy as jnp

    import jaxtwin as jt
    from jaxtwin.chamber import chamber
    from jaxtwin.fem import locate
    from jaxtwin.mapping import read_mapping

    study = read_mapping(_need(DATA / "carto_export"))
    surface = max((m.surface for m in study.maps if m.surface), key=lambda one: len(one.triangles))
    mesh = chamber(surface, edge_mm=0.5).mesh
    space, cells = jt.Space(mesh), jt.MitchellSchaeffer()
    modes = jt.matern_modes(mesh, correlation_length=12.0, count=60)
    field = 0.5 * (modes.modes @ np.random.default_rng(1).standard_normal(60))
    along = jnp.exp(space.to_cells(jnp.asarray(np.log(0.3) + field, space.mass.dtype)))
    paced = jt.pulse(jt.in_sphere(mesh, mesh.points[mesh.points[:, 2].argmax()], 3.0), len(mesh.points))
    tissue = jt.Tissue(space, cells, jt.diffusion_tensor(mesh.fibres, along, 4.0), paced)
    solution = jt.simulate(tissue, jt.Times(400.0, 0.2), recorders=(jt.ActivationTimes(),))
    lat = np.asarray(locate(mesh, surface.points)(solution.records[0]))
    lat = lat + 2.0 * np.random.default_rng(2).standard_normal(len(lat))
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "map.vtu"
        jt.write_mesh(source, jt.Mesh(surface.points, surface.triangles), point_data={"lat_ms": lat})
        return _two_commands(source)


def _two_commands(source: Path) -> dict[str, Any]:
    """Error at held-out points, of the twin combined with interpolation and of the twin alone, over that of
    the best method without physics."""
    found = imported_and_fitted(source)
    best = min(
        found["baselines"][name]["held_out_points"]["rmse_ms"]
        for name in ("radial_basis", "gaussian_process", "isotropic_speed")
    )
    ratios = {
        key: found[who]["held_out_points"]["rmse_ms"] / best
        for key, who in (("held_out_ratio", "combined"), ("twin_alone_ratio", "twin"))
    }
    return {"wall_s": 60.0 * found["minutes"]} | ratios | found


def window() -> dict[str, Any]:
    """First activation of a real atrium within a travelling window, as a fit predicts it: from a simulation
    of another tissue and the eikonal waves of both. Times and gradient in double, seconds in single
    precision."""
    import jax

    jax.config.update("jax_enable_x64", True)
    figures = _accuracy()
    jax.config.update("jax_enable_x64", False)
    return figures | _seconds()


class _Atrium:
    """The atrium, a tissue, and a window around its wave that is predicted from a wave in another tissue."""

    def __init__(self):
        import jax
        import jax.numpy as jnp

        import jaxtwin as jt
        from jaxtwin.inference.following import AHEAD, BEHIND, SLACK
        from jaxtwin.monodomain import spectral_bound

        (atrium,) = _need(DATA / "atrium_dtmri").glob("*.pts")
        mesh = jt.reorder(jt.repair(jt.read_mesh(atrium).mesh).mesh).mesh
        cells, times = jt.MitchellSchaeffer(), jt.Times(200.0, 0.2)
        paced = jt.pulse(jt.in_sphere(mesh, mesh.points[mesh.points[:, 2].argmax()], 3.0), len(mesh.points))
        self.centres = centres = mesh.points[mesh.cells].mean(axis=1)
        self.space, self.times = jt.Space(mesh), times
        smooth = 0.3 * np.sin(centres[:, 0] / 8.0) * np.cos(centres[:, 1] / 8.0)
        before, self.log_d = (
            jnp.asarray(d, float) for d in (smooth, smooth + 0.1 * np.cos(centres[:, 2] / 10.0))
        )

        def tissue(log_d):
            tensor = jt.diffusion_tensor(mesh.fibres, 0.3 * jnp.exp(log_d), 4.0)
            return jt.Tissue(self.space, cells, tensor, paced)

        bound = max(float(spectral_bound(tissue(d))) for d in (before, self.log_d))
        self.stepper = jt.RungeKuttaChebyshev().with_stages(bound, times.dt)

        def solved(log_d, window):
            found = jt.simulate(
                tissue(log_d), times, stepper=self.stepper, recorders=(jt.ActivationTimes(),), window=window,
                throw=False,
            )  # fmt: skip
            return found.records[0], found.result

        self.solve = jax.jit(solved)
        self.gradient = jax.jit(jax.grad(lambda log_d, window: jnp.mean(solved(log_d, window)[0])))
        self.simulated = np.asarray(self.solve(before, None)[0], np.float64)
        speed = float(jt.wave_speed(cells, 1.0))
        then, now = (
            jt.eikonal(mesh, np.asarray(tissue(d).diffusivity, np.float64), speed, *paced.starts())[0]
            for d in (before, self.log_d)
        )
        begin = time.perf_counter()
        self.window = jt.travelling_window(
            self.space.layout, self.simulated + now - then, times, behind=BEHIND + SLACK, ahead=AHEAD + SLACK
        )
        self.planned_s = time.perf_counter() - begin


def _accuracy() -> dict[str, Any]:
    import jax.numpy as jnp

    import jaxtwin as jt
    from jaxtwin.monodomain import Result

    one = _Atrium()
    whole, narrow = (one.solve(one.log_d, window) for window in (None, one.window))
    gap = np.asarray(narrow[0] - whole[0])
    wrong = jt.travelling_window(one.space.layout, np.maximum(one.simulated - 30.0, 0.0), one.times)
    way, step = jnp.asarray(np.cos(one.centres[:, 0] / 6.0)), 1e-5
    by_gradient = float(one.gradient(one.log_d, one.window) @ way)
    up, down = (float(jnp.mean(one.solve(one.log_d + s * way, one.window)[0])) for s in (step, -step))
    return {
        "difference_rms_ms": float(np.sqrt(np.mean(gap**2))), "difference_max_ms": float(np.abs(gap).max()),
        "gradient_error": abs(by_gradient * 2.0 * step / (up - down) - 1.0),
        "stayed": float(narrow[1] == Result.SUCCESS),
        "caught": float(one.solve(one.log_d, wrong)[1] == Result.ESCAPED),
        "share": float(one.window.share), "nodes": len(gap), "stages": one.stepper.stages,
        "last_ms": float(np.asarray(whole[0]).max()),
    }  # fmt: skip


def _seconds() -> dict[str, Any]:
    import jax

    one = _Atrium()
    least: dict[str, float] = {}
    for what, run in (("forward", one.solve), ("gradient", one.gradient)):
        sides = {"whole": None, "window": one.window}
        for window in sides.values():
            jax.block_until_ready(run(one.log_d, window))
        for _ in range(ROUNDS):
            for name, window in sides.items():
                begin = time.perf_counter()
                jax.block_until_ready(run(one.log_d, window))
                key = f"{what}_{name}"
                least[key] = min(least.get(key, np.inf), time.perf_counter() - begin)
    return {
        "forward_ratio": least["forward_window"] / least["forward_whole"],
        "gradient_ratio": least["gradient_window"] / least["gradient_whole"],
        "plan_s": one.planned_s, "seconds": least,
    }  # fmt: skip


BENCHMARKS = {
    "two-commands": two_commands, "two-commands-scar": two_commands_scar,
    "two-commands-carto": two_commands_carto, "atrium": atrium, "real-map": real_map,
    "window": window, "surfaces": surfaces,
    "sheets-1ms": partial(sheets, 1.0), "sheets-5ms": partial(sheets, 5.0),
}  # fmt: skip
