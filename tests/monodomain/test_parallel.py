"""Many solves at once, and one mesh in parts: the same answer as one device, to rounding."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.fem import Space, partition
from jaxtwin.fem.partition import bisect
from jaxtwin.monodomain import simulate_batch, simulate_split

CASE = Path(__file__).with_name("parallel_case.py")


def start(devices: int, *words: str) -> subprocess.Popen:
    """The case in a process that sees this many devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, str(CASE), *words], env=os.environ | flags, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def result(process: subprocess.Popen) -> dict:
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    return json.loads(out.strip().splitlines()[-1])


def equal(errors: dict[str, float]) -> None:
    assert errors["reached"] > 0.9
    assert errors["activation"] < 1e-11
    assert errors["value"] < 1e-10
    assert errors["by_d"] < 1e-11
    assert errors["by_tau"] < 1e-11


def test_four_devices_give_the_answer_of_one_forward_and_gradient():
    found = result(start(4, "devices"))
    equal(found["sheet"])
    equal(found["slab"])
    assert found["batch"] == found["batch on 4"] == 0.0


def test_two_processes_give_the_answer_of_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [start(2, "processes", port, str(rank)) for rank in (0, 1)]
    for found in map(result, processes):
        assert found["devices"] == 4
        equal(found["slab"])


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_parts_are_of_one_size(parts):
    points = np.random.default_rng(parts).random((50, 3))
    sizes = np.bincount(bisect(points, parts), minlength=parts)
    assert sizes.sum() == 50
    assert np.ptp(sizes) <= 1


@pytest.mark.parametrize("parts", [1, 3])
def test_each_node_and_edge_counts_in_one_part(parts):
    mesh = jt.slab(2.0, 1.5, 1.0, 0.5, distortion=0.2)
    pieces = partition(mesh, Space(mesh), parts)
    nodes = np.asarray(pieces.nodes)[np.asarray(pieces.own_nodes)]
    assert sorted(nodes.tolist()) == list(range(len(mesh.points)))
    assert int(pieces.own_edges.sum()) == len(mesh.edges)
    np.testing.assert_array_equal(np.asarray(pieces.nodes).ravel()[pieces.place], np.arange(len(mesh.points)))


def tissue(mesh, space, tau_in) -> jt.Tissue:
    tensor = jt.diffusion_tensor(mesh.fibres, jnp.full(len(mesh.cells), 0.2))
    return jt.Tissue(space, jt.MitchellSchaeffer(tau_in=tau_in), tensor, jt.pulse([0], len(mesh.points)))


def test_a_batch_of_parameters_takes_the_stages_of_the_stiffest_and_has_a_gradient():
    mesh = jt.sheet(3.0, 2.0, 0.5)
    space, times, recorders = Space(mesh), jt.Times(6.0, 0.2), (jt.ActivationTimes(),)
    taus = jnp.asarray([0.25, 0.3])

    def total(taus, stepper=None):
        many = tissue(mesh, space, taus)
        found = simulate_batch(many, times, batched=("ionic",), recorders=recorders, stepper=stepper)
        return found.state.u.sum(), found

    _, found = total(taus)
    assert found.records[0].shape == (2, len(mesh.points))
    stepper = jt.RungeKuttaChebyshev(4)
    slopes = jax.grad(lambda t: total(t, stepper)[0])(taus)
    for tau, slope in zip(taus, slopes, strict=True):
        wanted = jax.grad(
            lambda t: jt.simulate(tissue(mesh, space, t), times, stepper=stepper).state.u.sum()
        )(tau)
        assert float(slope) == pytest.approx(float(wanted), rel=1e-10)


def test_what_cannot_be_shared_out_is_refused():
    mesh = jt.sheet(2.0, 2.0, 0.5)
    space = Space(mesh)
    one, times = tissue(mesh, space, jnp.asarray([0.3, 0.2, 0.25])), jt.Times(1.0, 0.2)
    with pytest.raises(jt.InputError, match="a batch of 3 on 2 devices"):
        simulate_batch(one, times, batched=("ionic",), devices=jax.devices() * 2)
    with pytest.raises(jt.InputError, match="batch axes of lengths"):
        simulate_batch(one, times, batched=("ionic", "diffusivity"))
    with pytest.raises(jt.InputError, match="1 devices for a mesh in 2 parts"):
        simulate_split(partition(mesh, space, 2), tissue(mesh, space, 0.3), times)
    with pytest.raises(jt.InputError, match="0 parts"):
        partition(mesh, space, 0)
