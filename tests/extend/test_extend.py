"""How a stranger extends the package: one file of at most 60 lines and one line elsewhere, nothing else.

Each toy is put into a copy of the package, where a process of its own uses it as a user would.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jaxtwin

PACKAGE = Path(jaxtwin.__file__).parent
TOYS = Path(__file__).parent / "toys"

MESH = """
import jax; jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp, numpy as np, jaxtwin as jt
mesh = jt.sheet(6.0, 2.0, 0.5)
count = len(mesh.points)
site = jt.pulse(jt.in_sphere(mesh, [0.0, 0.0], 1.1), count)
def twin(cells, **more):
    tissue_map = jt.LogDiffusivity(jt.uniform(count, 0.3), reference=0.2, floor=0.02, ceiling=1.0)
    return jt.Twin(mesh, cells=cells, tissue_map=tissue_map, beats=(site,), times=jt.Times(30.0, 0.1),
                   estimate_mesh_error=False, **more)
"""
CELL = """
from jaxtwin.cells import MODELS
one = twin(MODELS["toy_three_gates"](), cell_sd={"g": 0.2})
theta = one.mean()
lat = one.predict(theta)
assert np.isfinite(lat).all() and 0.05 < 6.0 / float(lat.max() - lat.min()) < 3.0
def last(log):
    return one.solve(theta | {"cells": {"g": log}}, one.beats[0]).activation[-1]
slope, step = jax.grad(last)(jnp.zeros(())), 1e-4
assert abs(slope - (last(step) - last(-step)) / (2 * step)) < 1e-4 * abs(slope), slope
assert jt.wave_speed(one.cells.model, 0.2) > 0.05
"""
RECORDER = """
from jaxtwin.signals import ToyElectrogram
one = twin(jt.MitchellSchaeffer())
space, cells = one.space, jt.MitchellSchaeffer()
electrodes = np.asarray([[3.0, 1.0, 2.0], [5.0, 0.0, 2.0]])
away = np.linalg.norm(np.pad(mesh.points, ((0, 0), (0, 1)))[None] - electrodes[:, None], axis=2)
recorder = ToyElectrogram(jnp.asarray(np.asarray(space.mass)[None] / away))
def energy(log_d, adjoint):
    tensor = jnp.exp(log_d) * one.diffusivity(one.mean())
    solution = jt.simulate(jt.Tissue(space, cells, tensor, site), one.times, stepper=one.stepper,
                           recorders=(recorder,), adjoint=adjoint)
    return jnp.sum(solution.records[0] ** 2)
zero = jnp.zeros(())
reverse = jax.grad(energy)(zero, jt.Checkpointed())
forward = jax.jvp(lambda x: energy(x, jt.ForwardMode()), (zero,), (jnp.ones(()),))[1]
step = 1e-4
central = (energy(zero + step, jt.Checkpointed()) - energy(zero - step, jt.Checkpointed())) / (2 * step)
assert abs(reverse / forward - 1) < 1e-8 and abs(reverse / central - 1) < 1e-5, (reverse, forward, central)
"""
EVIDENCE = """
from jaxtwin.inference import ToyPeak
one = twin(jt.MitchellSchaeffer())
truth = one.mean() | {"tissue": {"diffusivity": jnp.asarray([0.6])}}
data = jt.MappingData(mesh.points, np.asarray(one.predict(truth)), unipolar_mv=np.full(count, 9.0))
found = jt.fit(one, data.with_sigma(0.3), evidence=(ToyPeak(),), iterations=8)
assert abs(float(found.theta["tissue"]["diffusivity"][0]) - 0.6) < 0.1, found.theta
assert abs(float(found.theta["evidence"]["toy_peak"]["gain"])) > 0.01
assert float(jt.posterior(found).variance()["evidence"]["toy_peak"]["gain"]) < 0.5
"""
READER = """
import jaxtwin as jt
from pathlib import Path
import sys
path = Path(sys.argv[1]) / "points.toy"
path.write_text("TOYMAP\\n" + "\\n".join(f"{x} {x / 2} 0 {3 * x}" for x in range(20)))
study = jt.read_mapping(path)
assert study.system == "Toy" and study.data().lat_ms.tolist() == [3.0 * x for x in range(20)]
"""
THERAPY = """
from jaxtwin.therapy import earliest_total_activation
from jaxtwin.inference.problem import prior_mean
one = twin(jt.MitchellSchaeffer())
mean = prior_mean(one, (jt.Arrival(),))
size = sum(leaf.size for leaf in jax.tree.leaves(mean))
posterior = jt.Laplace(jt.Prior(mean), mean, jnp.eye(size), jnp.full(size, 9.0))
middle = jt.pulse(jt.in_sphere(mesh, [3.0, 1.0], 1.1), count)
plan = earliest_total_activation(one, posterior, (site, middle), draws=8)
assert plan.site == 1 and plan.probability.tolist() == [0.0, 1.0]
"""
ALL = "\n\n__all__"  # of a package: what comes before it is imported
# where a toy goes, and the one line: its file, and what it becomes there
HOW = {
    "cell": (
        "cells/toy.py", "cells/__init__.py",
        "\nfrom .two_variable", "\nfrom .toy import ToyThreeGates\nfrom .two_variable",
    ),
    "recorder": ("signals/toy.py", "signals/__init__.py", ALL, f"\nfrom .toy import ToyElectrogram{ALL}"),
    "evidence": (
        "inference/evidence/toy.py", "inference/__init__.py",
        ALL, f"\nfrom .evidence.toy import ToyPeak{ALL}",
    ),
    "reader": (
        "mapping/formats/toy.py", "mapping/formats/read.py",
        '    "vtk_surface",', '    "toy",\n    "vtk_surface",',
    ),
    "therapy": ("therapy/__init__.py", "", "", ""),
}  # fmt: skip
USES = {
    "cell": MESH + CELL, "recorder": MESH + RECORDER, "evidence": MESH + EVIDENCE, "reader": READER,
    "therapy": MESH + THERAPY,
}  # fmt: skip


@pytest.mark.parametrize("toy", HOW)
def test_one_file_and_one_line_are_enough(toy, tmp_path):
    source = TOYS / f"{toy}.py"
    assert len(source.read_text(encoding="utf-8").splitlines()) <= 60
    copy = tmp_path / "jaxtwin"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    place, registry, old, new = HOW[toy]
    (copy / place).parent.mkdir(exist_ok=True)
    shutil.copy(source, copy / place)
    if registry:
        text = (copy / registry).read_text(encoding="utf-8")
        assert text.count(old) == 1
        assert new.count("\n") - old.count("\n") <= 1
        (copy / registry).write_text(text.replace(old, new), encoding="utf-8")
    script = tmp_path / "use.py"
    script.write_text(USES[toy], encoding="utf-8")
    run = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, timeout=600, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr[-2000:]
