"""Run by test_parallel.py in processes of its own: one mesh in parts against one device, and a batch."""

import json
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np

import jaxtwin as jt
from jaxtwin.fem import Space, partition
from jaxtwin.monodomain import simulate_batch, simulate_split

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
MESHES = {
    "sheet": lambda: jt.reorder(jt.sheet(6.0, 5.0, 0.5, distortion=0.2, fibre_angle=0.5)).mesh,
    "slab": lambda: jt.slab(2.5, 2.0, 1.0, 0.5),
}
TIMES, STEPPER, RECORDERS = jt.Times(30.0, 0.2), jt.RungeKuttaChebyshev(4), (jt.ActivationTimes(),)


def tissue(mesh, space, log_d, tau_in, at=0) -> jt.Tissue:
    """A wave from the corner nearest to point `at`."""
    near = np.linalg.norm(mesh.points - mesh.points[at][None], axis=1) < 1.2
    start = jt.pulse(near, len(mesh.points))
    tensor = jt.diffusion_tensor(mesh.fibres, jnp.exp(log_d), 3.0)
    return jt.Tissue(space, jt.MitchellSchaeffer(tau_in=tau_in), tensor, start)


def split_error(name: str, parts: int) -> dict[str, float]:
    """Largest differences of activation times and of gradients between parts on devices and one device."""
    mesh = MESHES[name]()
    space = Space(mesh)
    log_d = jnp.asarray(np.log(0.2) + 0.1 * np.random.default_rng(0).normal(size=len(mesh.cells)))
    pieces = partition(mesh, space, parts)

    def observed(log_d, tau_in, whole):
        solve = jt.simulate if whole else lambda t, *a, **k: simulate_split(pieces, t, *a, **k)
        solution = solve(tissue(mesh, space, log_d, tau_in), TIMES, stepper=STEPPER, recorders=RECORDERS)
        weights = jnp.cos(jnp.arange(len(mesh.points), dtype=float))
        value = jnp.nansum(weights * solution.records[0]) + jnp.sum(weights * solution.state.gates)
        return value, solution.records[0]

    results = [
        jax.jit(jax.value_and_grad(lambda d, t, w=w: observed(d, t, w), argnums=(0, 1), has_aux=True))(
            log_d, jnp.asarray(0.3)
        )
        for w in (True, False)
    ]
    (one, lat), (by_d, by_tau) = results[0]
    (other, lat_split), (by_d_split, by_tau_split) = results[1]
    return {
        "reached": float(np.isfinite(lat).mean()),
        "activation": float(np.nanmax(np.abs(np.asarray(lat) - np.asarray(lat_split)))),
        "value": float(abs(one - other)),
        "by_d": float(np.abs(np.asarray(by_d) - np.asarray(by_d_split)).max() / np.abs(by_d).max()),
        "by_tau": float(abs(by_tau - by_tau_split) / abs(by_tau)),
    }


def batch_error(devices: int) -> float:
    """Largest difference between four pacing sites in one batch and one after the other."""
    mesh = MESHES["sheet"]()
    space, log_d = Space(mesh), jnp.full(len(mesh.cells), np.log(0.2))
    sites = [tissue(mesh, space, log_d, jnp.asarray(0.3), at) for at in (0, 20, 60, 100)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[s.stimulus for s in sites])
    batch = jt.Tissue(space, sites[0].ionic, sites[0].diffusivity, stacked)
    found = simulate_batch(
        batch,
        TIMES,
        batched=("stimulus",),
        recorders=RECORDERS,
        devices=jax.devices()[:devices],
    ).records[0]
    wanted = np.stack([jt.simulate(s, TIMES, recorders=RECORDERS).records[0] for s in sites])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    return float(np.nanmax(np.abs(np.asarray(found) - wanted)))


if __name__ == "__main__":
    if sys.argv[1] == "processes":
        # one machine stands in for two nodes: `python parallel_case.py processes PORT RANK`
        jax.distributed.initialize(f"127.0.0.1:{sys.argv[2]}", 2, int(sys.argv[3]))
        result = {"devices": jax.device_count(), "slab": split_error("slab", jax.device_count())}
    else:
        result = {name: split_error(name, 4) for name in MESHES}
        result |= {"batch": batch_error(1), "batch on 4": batch_error(4), "cores": os.cpu_count()}
    sys.stdout.write(json.dumps(result) + "\n")
