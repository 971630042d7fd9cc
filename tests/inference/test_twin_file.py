"""A fitted twin in a file: read in another process it predicts the same bits."""

import json
import subprocess
import sys

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.inference import Fit
from jaxtwin.inference.objective import simulated_assessment
from jaxtwin.inference.storage import FORMAT
from tests.inference.theta import laplace_of, placed_on, problem_of

MESH = jt.sheet(4.0, 4.0, 0.5, fibre_angle=0.4)
NODES = len(MESH.points)


class OwnCell(jt.MitchellSchaeffer):
    """A cell model of a user."""


def fitted(cells) -> Fit:
    """A fit that ended at other parameters than the prior mean."""
    modes = jt.matern_modes(MESH, correlation_length=3.0, count=5)
    twin = jt.Twin(
        MESH, cells=cells, times=jt.Times(20.0, 0.2), discrepancy=jt.Discrepancy(modes.modes[:, 1:]),
        tissue_map=jt.LogDiffusivity(
            jt.field(modes), reference=0.2, floor=0.05, ceiling=1.0, ratio=2.0, scar_basis=jt.field(modes)
        ),
        beats=(jt.pulse(jt.in_sphere(MESH, [0.0, 0.0], 1.1), NODES),),
    )  # fmt: skip
    data = jt.MappingData(MESH.points, np.linspace(0.0, 15.0, NODES), bipolar_mv=np.ones(NODES))
    problem = problem_of(twin, (jt.Voltage(),))
    random = np.random.default_rng(0)
    theta = jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * random.standard_normal(leaf.shape), leaf.dtype), problem.prior.mean
    )
    placed = placed_on(problem, data)
    activation = simulated_assessment(problem, placed, theta).activation
    row = {"iteration": 0.0, "loss": float("inf")}
    return Fit(theta, problem.counted(0.1, 0.2), data, placed, 1.0, 2, 3.0, activation, (row,), "converged")


@pytest.fixture(scope="module")
def whole():
    fit = fitted(jt.MitchellSchaeffer())
    size = sum(leaf.size for leaf in jax.tree.leaves(fit.theta))
    return fit, laplace_of(fit.theta, jnp.eye(size), jnp.linspace(10.0, 0.0, size))


def test_all_comes_back(whole, tmp_path):
    jt.write_twin(tmp_path / "twin.h5", *whole)
    found = jt.read_twin(tmp_path / "twin.h5")
    assert jax.tree.structure((found.fit, found.posterior)) == jax.tree.structure(whole)
    for one, other in zip(jax.tree.leaves((found.fit, found.posterior)), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found.fit.data.lat_ms, whole[0].data.lat_ms)
    assert found.fit.history == whole[0].history


def test_another_process_predicts_the_same_bits(whole, tmp_path):
    """Of a map, of a site that was not mapped, and their draws; with single precision within rounding."""
    fit, posterior = whole
    path = tmp_path / "twin.h5"
    jt.write_twin(path, fit, posterior)
    site = jt.pulse(jt.in_sphere(MESH, [4.0, 0.0], 1.1), NODES)
    code = (
        "import sys, jax, numpy as np; jax.config.update('jax_enable_x64', sys.argv[3] == 'x64');"
        "import jaxtwin as jt; known = jt.read_twin(sys.argv[1]); twin = known.fit.twin;"
        "site = jt.pulse(jt.in_sphere(twin.mesh, [4.0, 0.0], 1.1), len(twin.mesh.points));"
        "theta = known.fit.theta;"
        "np.savez(sys.argv[2], map=twin.predict(theta, 0), site=twin.predict(theta, site),"
        "draws=jt.predict(twin, known.posterior, site, draws=3))"
    )
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        here = {
            "map": fit.twin.predict(fit.theta, 0), "site": fit.twin.predict(fit.theta, site),
            "draws": jt.predict(fit.twin, posterior, site, draws=3),
        }  # fmt: skip
    for precision in ("x64", "x32"):
        out = tmp_path / f"{precision}.npz"
        subprocess.run([sys.executable, "-c", code, path, out, precision], check=True, timeout=300)
        with np.load(out) as there:
            if precision == "x64":
                for name, values in here.items():
                    np.testing.assert_array_equal(there[name], values)
            else:
                np.testing.assert_allclose(there["map"], here["map"], atol=2e-2)


def test_an_own_class_is_named_and_can_be_given(tmp_path):
    fit = fitted(OwnCell())
    jt.write_twin(tmp_path / "twin.h5", fit)
    with pytest.raises(jt.InputError, match=r"classes=\(OwnCell,\)"):
        jt.read_twin(tmp_path / "twin.h5")
    found = jt.read_twin(tmp_path / "twin.h5", classes=(OwnCell,))
    assert isinstance(found.fit.twin.cells.model, OwnCell)
    assert found.posterior is None


@pytest.mark.parametrize(
    "name", ["os:system", "jaxtwin._files:atomic_write", "subprocess:Popen", "jaxtwin.os:path"]
)
def test_nothing_but_modules_is_made_of_a_file(whole, tmp_path, name):
    path = tmp_path / "twin.h5"
    jt.write_twin(path, *whole)
    with h5py.File(path, "r+") as file:
        told = json.loads(file["structure"][()])
        told["twin"]["class"] = name
        del file["structure"]
        file["structure"] = json.dumps(told)
    with pytest.raises(jt.InputError, match=r"a twin made of the class|holds no fitted twin"):
        jt.read_twin(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "twin.h5"
    path.write_bytes(b"nonsense")
    with pytest.raises(jt.InputError, match="holds no fitted twin"):
        jt.read_twin(path)
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "something else"
    with pytest.raises(jt.InputError, match=rf"of format 'something else'.*{FORMAT}"):
        jt.read_twin(path)
