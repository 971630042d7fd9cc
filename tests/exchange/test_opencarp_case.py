"""Cases for openCARP: what is written is read back, in its units, and what is damaged is refused."""

import re
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxtwin._results import InputError
from jaxtwin._units import MEMBRANE_CAPACITANCE, SURFACE_TO_VOLUME
from jaxtwin.anatomy.generate import atrial_shell, sheet, slab
from jaxtwin.anatomy.mesh import Mesh
from jaxtwin.anatomy.meshfile import read_mesh
from jaxtwin.cells import AbstractIonicModel, MitchellSchaeffer, ModifiedMitchellSchaeffer
from jaxtwin.exchange.opencarp import Electrode, read_opencarp_case, write_opencarp_case

PACED = (Electrode(np.array([0, 3, 5])), Electrode(np.array([7]), 120.5, 1.5, 0.75))


class Other(AbstractIonicModel):
    """A cell that openCARP does not have."""

    threshold: ClassVar[float] = 0.5
    recovery: ClassVar[float] = 0.1
    bounds: ClassVar[tuple[float, float]] = (-5.0, 5.0)
    strength: ClassVar[float] = 0.5

    def resting(self):
        return 0.0, 1.0

    def reaction(self, u, gates):
        return -u

    def relax(self, gates, before, after, dt):
        return gates

    def stiffness(self):
        return 1.0

    def closed_form_speed(self, diffusivity):
        return 0.0 * diffusivity

    def millivolts(self, u):
        return u


@pytest.fixture(scope="module")
def shell():
    return atrial_shell(4.0)


def write(folder, mesh, diffusivity, **changes):
    given = {
        "ratio": 4.0, "ionic": MitchellSchaeffer(), "stimuli": PACED, "end_ms": 300.0, "step_ms": 0.02,
    } | changes  # fmt: skip
    return write_opencarp_case(folder, mesh, diffusivity, **given)


def check(mesh, diffusivity, folder, error, ratio=4.0):
    found = read_opencarp_case(folder)
    np.testing.assert_allclose(found.mesh.points[:, : mesh.dim], mesh.points, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found.mesh.cells, mesh.cells)
    np.testing.assert_array_equal(found.mesh.regions, mesh.regions)
    np.testing.assert_allclose(found.mesh.fibres[:, : mesh.dim], mesh.fibres, atol=1e-9)
    there = diffusivity > 0
    assert (found.along[~there] == 0).all()
    assert np.abs(found.along[there] / diffusivity[there] - 1).max(initial=0) <= error * (1 + 1e-9) + 1e-12
    np.testing.assert_allclose(found.across, found.along / ratio, rtol=1e-12)
    return found


@pytest.mark.parametrize("form", ["surface", "plane", "volume"])
def test_round_trip(tmp_path, form, shell):
    mesh = {"surface": shell, "plane": sheet(9.0, 9.0, 1.0), "volume": slab(4.0, 3.0, 2.0, 1.0)}[form]
    rng = np.random.default_rng(1)
    diffusivity = np.exp(rng.normal(-2.0, 0.7, len(mesh.cells)))
    diffusivity[:5] = 0.0
    error = write(tmp_path / "case", mesh, diffusivity)
    found = check(mesh, diffusivity, tmp_path / "case", error)
    assert 0 < error < 0.2
    assert (found.end_ms, found.step_ms) == (300.0, pytest.approx(0.02))
    for one, two in zip(found.stimuli, PACED, strict=True):
        np.testing.assert_array_equal(one.nodes, two.nodes)
        assert (one.onset_ms, one.duration_ms) == (two.onset_ms, two.duration_ms)
        assert one.strength == pytest.approx(two.strength, rel=1e-14)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 40))
def test_classes(tmp_path_factory, seed, classes, values):
    """Regions stay apart, few values stay exact, and many err by no more than half a class."""
    rng = np.random.default_rng(seed)
    flat = sheet(4.0, 4.0, 0.5)
    mesh = Mesh(flat.points, flat.cells, flat.fibres, rng.integers(-3, 3, len(flat.cells)))
    diffusivity = rng.choice(np.exp(rng.uniform(-6, 2, values)), len(mesh.cells))
    folder = tmp_path_factory.mktemp("case")
    error = write(folder, mesh, diffusivity, classes=classes)
    check(mesh, diffusivity, folder, error)
    tags = np.array([line.split()[-1] for line in (folder / "tissue.elem").read_text().splitlines()[1:]], int)
    assert set(tags) == set(range(1, tags.max() + 1))
    for region in np.unique(mesh.regions):
        here = mesh.regions == region
        assert not set(tags[here]) & set(tags[~here])
        assert len(set(tags[here])) <= classes
    width = np.log(diffusivity.max() / diffusivity.min()) / classes
    assert error <= np.expm1(width / 2) + 1e-12
    if values <= classes:
        assert error < 1e-14


def test_the_parameter_file(tmp_path, shell):
    diffusivity = np.full(len(shell.cells), 0.2)
    write(tmp_path, shell, diffusivity)
    text = (tmp_path / "case.par").read_text()
    assert "" not in text.splitlines()  # openCARP refuses empty lines
    said = dict(re.findall(r"^(\S+) = (.*?)(?: #.*)?$", text, re.MULTILINE))
    assert said["bidomain"] == "0"
    assert said["bidm_eqv_mono"] == "0"
    assert float(said["dt"]) == pytest.approx(20.0)  # us
    assert float(said["tend"]) == 300.0
    # 140 /mm, 0.14 /um; D chi C_m
    assert float(said["imp_region[0].cellSurfVolRatio"]) == pytest.approx(0.14)
    assert float(said["gregion[0].g_il"]) == pytest.approx(0.2 * SURFACE_TO_VOLUME * MEMBRANE_CAPACITANCE)
    assert float(said["gregion[0].g_it"]) == pytest.approx(0.05 * SURFACE_TO_VOLUME * MEMBRANE_CAPACITANCE)
    # 0.5 /ms of 100 mV at 1 uF/cm2
    assert float(said["stim[0].pulse.strength"]) == pytest.approx(50.0)
    assert said["stim[1].elec.vtx_file"] == '"stimulus_1"'
    assert said["imp_region[0].im"] == '"MitchellSchaeffer"'
    assert "tau_close=150.0" in said["imp_region[0].im_param"]
    assert float(said["lats[0].threshold"]) == -30.0
    assert len({line.split(" = ")[0] for line in text.splitlines() if "=" in line}) == text.count(" = ")
    assert (tmp_path / "stimulus_0.vtx").read_text() == "3\nintra\n0\n3\n5\n"


def test_other_cells(tmp_path, shell):
    diffusivity = np.full(len(shell.cells), 0.2)
    write(tmp_path / "modified", shell, diffusivity, ionic=ModifiedMitchellSchaeffer.atrial())
    found = read_opencarp_case(tmp_path / "modified")
    assert found.parameters["imp_region[0].im"] == "mMS"
    assert "a_crit=0.1" in found.parameters["imp_region[0].im_param"]
    assert found.stimuli[1].strength == pytest.approx(0.75)
    one = MitchellSchaeffer(tau_in=jnp.asarray(0.25))
    write(tmp_path / "one", shell, diffusivity, ionic=one)
    assert "tau_in=0.25" in (tmp_path / "one/case.par").read_text()
    with pytest.raises(InputError, match="tau_in with a value for each node"):
        write(tmp_path / "many", shell, diffusivity, ionic=MitchellSchaeffer(tau_in=jnp.full(9, 0.3)))
    assert not (tmp_path / "many").exists()

    with pytest.raises(InputError, match="a cell of type Other"):
        write(tmp_path / "other", shell, diffusivity, ionic=Other())


def test_a_file_edited_by_hand(tmp_path, shell):
    """With the default rule of openCARP, a factor, and one group for several tags."""
    diffusivity = np.where(shell.centroids[:, 0] > 0, 0.1, 0.2)
    write(tmp_path, shell, diffusivity)
    path = tmp_path / "case.par"
    text = path.read_text().split("# conductivities")[0].replace("bidm_eqv_mono = 0", "bidm_eqv_mono = 1")
    tags = 1 + max(int(line.split()[-1]) for line in (tmp_path / "tissue.elem").read_text().splitlines()[1:])
    text += f"num_gregions = 1\ngregion[0].num_IDs = {tags - 1}\n"
    text += "".join(f"gregion[0].ID[{k}] = {k + 1}\n" for k in range(tags - 1))
    for key in ("g_il", "g_it", "g_el", "g_et"):
        text += f"gregion[0].{key} = 0.28  # S/m\n"
    path.write_text(text + "gregion[0].g_mult = 2\nnum_stim = 0\n")
    found = read_opencarp_case(tmp_path)
    np.testing.assert_allclose(found.along, 0.2, rtol=1e-12)
    np.testing.assert_allclose(found.across, 0.2, rtol=1e-12)
    assert found.stimuli == ()


def test_a_real_atrium(tmp_path, data):
    mesh = read_mesh(data / "atrium_dtmri/Labelled.pts").mesh
    rng = np.random.default_rng(0)
    diffusivity = np.exp(rng.normal(-2.0, 0.5, len(mesh.cells)))
    error = write(tmp_path, mesh, diffusivity)
    found = check(mesh, diffusivity, tmp_path, error)
    np.testing.assert_array_equal(found.mesh.points, mesh.points)


def test_bad_input(tmp_path, shell):
    diffusivity = np.full(len(shell.cells), 0.2)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="not empty"):
        write(full, shell, diffusivity)
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="cannot be used"):
        write(full / "mine.txt", shell, diffusivity)
    far = Electrode(np.array([10**6]))
    for changes, message in (
        ({"ratio": 0.0}, "a ratio of"),
        ({"ratio": float("nan")}, "a ratio of"),
        ({"step_ms": 0.0}, "steps of"),
        ({"end_ms": float("inf")}, "steps of"),
        ({"classes": 0}, "0 classes"),
        ({"stimuli": ()}, "no stimulus"),
        ({"stimuli": (far,)}, "nodes from 0"),
        ({"stimuli": (Electrode(np.zeros(0, int)),)}, "at 0 nodes"),
        ({"stimuli": (Electrode(np.array([0]), -1.0),)}, "an onset of 0 or more"),
        ({"stimuli": (Electrode(np.array([0]), 0.0, 2.0, float("nan")),)}, "finite numbers"),
    ):
        with pytest.raises(InputError, match=message):
            write(tmp_path / "new", shell, diffusivity, **changes)
        assert not (tmp_path / "new").exists()
    for wrong in (diffusivity[:3], -diffusivity, diffusivity * np.nan):
        with pytest.raises(InputError, match="diffusivities of shape"):
            write(tmp_path / "new", shell, wrong)


def test_damaged_files(tmp_path, shell):
    write(tmp_path, shell, np.full(len(shell.cells), 0.2))
    path = tmp_path / "case.par"
    text = path.read_text()
    for old, new, message in (
        ("gregion[0].g_il = ", "gregion[0].g_il = x", "a number"),
        ("gregion[0].g_il = ", "#", "g_il = nothing"),
        ("num_gregions = ", "num_gregions = 0 #", "without a conductivity"),
        ("simID = output", "what is this", "at line 3"),
        ("V_max=20.0", "V_max=-90.0", "a span above 0"),
        ("tend = ", "tend = nan #", "a finite number"),
    ):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(InputError, match=message):
            read_opencarp_case(tmp_path)
    path.write_text(text)
    (tmp_path / "stimulus_1.vtx").write_text("1\nintra\n1000000\n")
    with pytest.raises(InputError, match=r"stimulus_1\.vtx with the index 1000000, at line 3"):
        read_opencarp_case(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not text"):
        read_opencarp_case(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        read_opencarp_case(tmp_path)
