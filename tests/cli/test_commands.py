"""The path of a newcomer: init, check, simulate, fit, and what each of them leaves."""

import dataclasses
import getpass
import hashlib
import json
import re
import socket
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import jaxtwin as jt
import jaxtwin.__main__ as jaxtwin_main
import jaxtwin._cli.fitted as fitting
import jaxtwin._cli.init as new_case
from jaxtwin.anatomy import atrial_shell
from jaxtwin.assurance import judge
from jaxtwin.inference import EIKONAL_ROUNDS
from jaxtwin.view import read_vtkhdf


@pytest.fixture(scope="module")
def folder(jaxtwin, tmp_path_factory) -> Path:
    """What `jaxtwin init` makes, with a coarser heart and a shorter fit."""
    folder = tmp_path_factory.mktemp("new") / "case"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(new_case, "atrial_shell", lambda edge: atrial_shell(4.0))
        outcome = jaxtwin("init", folder, promotion="standard")
    assert outcome.code == 0
    assert "jaxtwin simulate" in outcome.err
    assert sorted(path.name for path in folder.iterdir()) == ["case.toml", "heart.vtu", "map.csv"]
    text = (folder / "case.toml").read_text()
    for line in text.splitlines():
        assert not line or line.startswith(("#", "[")) or "  # " in line, f"{line} has no comment"
    for old, new in (
        ("step_ms = 0.2", "step_ms = 0.1"),
        ("modes = 100", "modes = 5"),
        ("iterations = 15", "iterations = 2"),
        ("next_sites = 0", "next_sites = 2"),
        ('precision = "float32"', 'precision = "float64"'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "case.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def beat(jaxtwin, folder) -> Path:
    """The folder of a simulation."""
    outcome = jaxtwin("simulate", folder)
    assert outcome.code == 0, outcome.err
    assert "500 of 500 ms" in outcome.err
    assert "activated_nodes: 297" in outcome.out
    return _moved(folder, "beat")


@pytest.fixture(scope="module")
def fitted(jaxtwin, folder) -> Path:
    """The folder of a fit."""
    with pytest.MonkeyPatch.context() as patch:
        for draw in ("conductivity_map", "residual_map"):  # slow, tested elsewhere
            patch.setattr(fitting, draw, lambda *data, **more: Figure())
        outcome = jaxtwin("fit", folder / "case.toml")
    assert outcome.code == 0, outcome.err
    most = 2 + EIKONAL_ROUNDS
    assert f"/{most}  loss " in outcome.err, "two steps by gradients after those of eikonal waves"
    assert "in doubt" not in outcome.err
    for row in ("RMSE, ms", "twin", "isotropic speed", "radial basis"):
        assert row in outcome.out
    return _moved(folder, "fitted")


def _moved(folder, name):
    assert {path.name for path in folder.glob(".*")} == set(), "something is left beside the result"
    return (folder / "result").rename(folder / name)


@pytest.fixture(params=["beat", "fitted"])
def result(request) -> Path:
    """Both kinds of results."""
    return request.getfixturevalue(request.param)


def test_check_of_what_init_makes(jaxtwin, folder):
    outcome = jaxtwin("check", folder / "heart.vtu", folder / "map.csv", folder / "case.toml", folder)
    assert outcome.code == 0, outcome.err
    assert "The median edge is" in outcome.out
    assert outcome.out.count("nothing wrong found") == 3
    assert outcome.out.count("stimulated_nodes") == 2


def test_result_file_holds_fields_and_provenance(result, folder):
    read = read_vtkhdf(result / "result.vtkhdf")
    assert np.isfinite(read.point_data["activation_ms"]).all()
    assert sorted(read.point_data["original_node"]) == list(range(297))
    record = read.provenance
    assert record["sha256"] == {
        f"../{name}": hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("heart.vtu", "map.csv")
        if name == "heart.vtu" or result.name == "fitted"
    }
    assert record["case"] == (result / "resolved.toml").read_text()
    assert record["seed"] == 0
    assert record["notice"].startswith("Research use only")
    assert {"jaxtwin", "jax", "numpy", "python"} <= set(record["versions"])


def test_the_fitted_twin_is_written(fitted):
    """And predicts the activation that stands in the result."""
    twin = jt.read_twin(fitted / "twin.h5")
    lat = twin.fit.twin.predict(twin.fit.theta, 0)
    stored = read_vtkhdf(fitted / "result.vtkhdf").point_data["activation_ms"]
    np.testing.assert_allclose(lat, stored, atol=1e-3)
    assert twin.posterior is not None


def test_a_fit_tells_how_sure_its_predictions_are_and_what_to_map_next(fitted):
    summary = json.loads((fitted / "summary.json").read_text())
    held = summary["intervals"]["held_out_points"]
    assert held["held"] > 0.8
    assert abs(held["held_recalibrated"] - 0.9) < 0.1
    fields = read_vtkhdf(fitted / "result.vtkhdf").point_data
    assert (fields["activation_90_percent_ms"] > fields["activation_sd_ms"]).all()
    first, second = summary["next_sites"]
    assert first["expected_nats"] > second["expected_nats"] > 0.0
    assert first["node"] != second["node"]


def test_voltages_are_asked_for_where_a_fit_is_to_use_them(jaxtwin, folder):
    text = (folder / "case.toml").read_text()
    (folder / "voltage.toml").write_text(text.replace("voltage = false", "voltage = true"))
    outcome = jaxtwin("fit", folder / "voltage.toml")
    (folder / "voltage.toml").unlink()
    assert outcome.code == 2
    assert "scar = false and 0 bipolar voltages" in outcome.err


def test_a_fit_that_was_interrupted_goes_on(jaxtwin, folder, fitted, monkeypatch):
    """To the result of one that was not; nothing is left beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtwin_main, "of_iterations", lambda update: interrupt)
        assert jaxtwin("fit", folder / "case.toml").code == 130
    (state,) = folder.glob(".*")
    assert state.name.startswith(".result.")
    assert state.name.endswith(".checkpoint.h5")
    for draw in ("conductivity_map", "residual_map"):
        monkeypatch.setattr(fitting, draw, lambda *data, **more: Figure())
    outcome = jaxtwin("fit", folder / "case.toml")
    assert outcome.code == 0, outcome.err
    assert "Resuming from" in outcome.err
    again = _moved(folder, "again")
    losses = [json.loads((f / "summary.json").read_text())["loss"] for f in (fitted, again)]
    assert losses[0] == losses[1]


def interrupt(iteration, iterations, assessment):
    if iteration == 2:
        raise KeyboardInterrupt


def test_a_twin_is_validated_only_where_it_beats_all():
    scores = {
        "held_out_points": {"rmse_ms": 2.0},
        "held_out_patch": {"rmse_ms": 5.0},
        "fit": {"rmse_ms": 1.0},
    }
    rival = {"held_out_points": {"rmse_ms": 3.0}, "held_out_patch": {"rmse_ms": 6.0}, "fit": {"rmse_ms": 0.1}}
    assert judge.validated(scores, {"a": rival}) == "validated"
    better = rival | {"held_out_patch": {"rmse_ms": 4.0}}
    lost = judge.validated(scores, {"a": rival, "gaussian_process": better})
    assert lost == "not validated: on points of the held-out patch, Gaussian process is as close or closer"
    lost = judge.validated(scores, {"a": better, "b": better, "c": better})
    assert lost.endswith(" patch, a, b and c are as close or closer")
    assert judge.validated({"fit": {"rmse_ms": 1.0}}, {"a": rival}).startswith("not tested")
    lost = scores | {"held_out_points": {"points": 9, "not_reached": 9}}
    assert judge.validated(lost, {"a": rival}).startswith("not validated")


def test_fibres_that_were_fitted_are_told_by_direction_and_speed():
    """Speeds of 2 to 1 at 45 degrees, asked for as a fit without fibres has them."""
    mesh = jt.sheet(4.0, 4.0, 1.0)
    one = jt.uniform(len(mesh.points))
    tissue_map = jt.LogDiffusivity(
        one, reference=0.1, floor=0.01, ceiling=1.0, ratio_basis=one, angle_basis=0.5 * one
    )
    twin = jt.Twin(
        mesh, cells=jt.MitchellSchaeffer(), tissue_map=tissue_map, times=jt.Times(10.0, 0.1),
        beats=(jt.pulse(jt.in_sphere(mesh, [0.0, 0.0], 1.0), len(mesh.points)),), estimate_mesh_error=False,
    )  # fmt: skip
    theta = twin.mean()
    theta["tissue"] |= {"angle": jnp.asarray([2.0 * np.log(2.0)])}
    found = fitting.principal(twin, theta)
    direction = found["conduction_direction"]
    np.testing.assert_allclose(np.abs(direction), np.sqrt(0.5), rtol=1e-6)
    assert (direction[:, 0] * direction[:, 1] > 0).all(), "counted from the fibres of the mesh"
    along = jt.wave_speed(twin.cells.model, tissue_map.diffusivity(theta["tissue"]))[0]
    np.testing.assert_allclose(found["speed_across_mm_per_ms"], along / 2.0, rtol=1e-5)


def test_fit_says_how_sure_it_is(fitted):
    """The estimate within its interval at every node, the shares of the surface whole, and a picture."""
    said = json.loads((fitted / "summary.json").read_text())["uncertainty"]
    assert sum(said["conductivity"].values()) == pytest.approx(1.0)
    assert said["gain"] == sorted(said["gain"], reverse=True)
    assert said["gain"][0] > 1.0
    data = read_vtkhdf(fitted / "result.vtkhdf").point_data
    assert (data["conductivity_p5_S_per_m"] < data["conductivity_S_per_m"]).all()
    assert (data["conductivity_S_per_m"] < data["conductivity_p95_S_per_m"]).all()
    assert 0.0 <= data["information"].min() < data["information"].max() <= 1.0
    assert (fitted / "information.png").is_file()


def test_beat_is_in_millivolts_and_not_repolarised_is_not_nan(beat):
    read = read_vtkhdf(beat / "result.vtkhdf")
    voltage = read.point_data["voltage_mV"]
    assert voltage.shape == (50, 297)
    assert -90 < voltage.min() < -70
    assert 0 < voltage.max() < 30
    late, lat = read.point_data["repolarisation_ms"], read.point_data["activation_ms"]
    done = np.isfinite(late)
    assert (late[done] > lat[done] + 100).all()


def test_summary_is_json_without_nan(result):
    def refuse(word):
        raise AssertionError(f"{word} in summary.json")

    summary = json.loads((result / "summary.json").read_text(), parse_constant=refuse)
    assert summary["nodes"] == 297
    assert summary["seconds"]["total"] > 0
    assert summary["notice"] == "Research use only. Not a medical device."


def test_figures_are_png(result):
    figures = list(result.glob("*.png"))
    assert "activation.png" in {path.name for path in figures}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in figures)


def test_no_user_and_no_machine_in_what_may_be_passed_on(result, folder):
    for path in (result / "result.vtkhdf", result / "summary.json", result / "resolved.toml"):
        content = path.read_bytes()
        for private in (str(folder), f"{Path.home()}/"):
            assert private.encode() not in content, f"{private} in {path.name}"
    record = json.dumps(read_vtkhdf(result / "result.vtkhdf").provenance)
    for private in (getpass.getuser(), socket.gethostname()):
        assert not re.search(rf"\b{re.escape(private)}\b", record), f"{private} in the provenance"


def test_resolved_case_is_the_case_with_all_filled_in(result, folder):
    case, again = jt.load_case(folder), jt.load_case(result / "resolved.toml")
    assert again.cells.parameters["tau_in"] == 0.3
    assert again.time.end_ms is not None
    case.cells, case.time.end_ms = again.cells, again.time.end_ms
    case.output.folder = result.name  # it was moved there
    assert again.mesh.file == "../heart.vtu"
    assert again.seen_from(case.where) == case


def test_simulating_the_resolved_case_replaces_the_result_by_the_same(jaxtwin, beat):
    before, text = read_vtkhdf(beat / "result.vtkhdf"), (beat / "resolved.toml").read_text()
    assert jaxtwin("simulate", beat / "resolved.toml").code == 0
    after = read_vtkhdf(beat / "result.vtkhdf")
    np.testing.assert_array_equal(after.point_data["voltage_mV"], before.point_data["voltage_mV"])
    assert (beat / "resolved.toml").read_text() == text


def test_a_map_on_its_own_clock_starts_the_wave_at_its_own_time(jaxtwin, case, place, lat):
    rows = (place / "map.csv").read_text().splitlines()
    head = rows[0].split(",").index("lat_ms")
    cells = [row.split(",") for row in rows]
    for row in cells[1:]:
        row[head] = str(float(row[head]) - 100.0)
    (place / "map.csv").write_text("\n".join(map(",".join, cells)))
    outcome = jaxtwin("simulate", case({"beat.pulse.kind": "map", "time.end_ms": 5}))
    assert outcome.code == 0, outcome.err
    first = json.loads((place / "result" / "summary.json").read_text())["first_activation_ms"]
    assert -95 < first < -80, "the earliest point of the map is at -90 ms"


def test_a_wave_that_never_starts_is_a_result_with_a_warning(jaxtwin, case, place):
    outcome = jaxtwin("simulate", case({"beat.pulse.strength_per_ms": 1e-3, "time.end_ms": 20}))
    assert outcome.code == 0, outcome.err
    assert "297 of 297 nodes were not activated by 20 ms" in outcome.err
    summary = json.loads((place / "result" / "summary.json").read_text())
    why = "The stimulus of 0.001 /ms, which would lift u by 0.002"
    assert why in outcome.err
    assert any(why in warning for warning in summary["warnings"])
    assert summary["first_activation_ms"] is None
    assert np.isnan(read_vtkhdf(place / "result" / "result.vtkhdf").point_data["activation_ms"]).all()


def test_waves_of_a_beat_and_beats_are_kept_in_result_and_summary(jaxtwin, case, place):
    """S1 and S2 of one beat 420 ms apart are two waves; the second beat starts from rest at another site."""
    path = case({"time.end_ms": 560, "time.step_ms": 0.2, "mesh.error_estimate": False})
    site = "centre_mm = [0.0, 0.0, 18.0]\nradius_mm = 8.0\n"
    text = path.read_text().replace("[beat.pulse]\n", "[[beat]]\n[[beat.pulse]]\n")
    text += f"\n[[beat.pulse]]\n{site}start_ms = 420\n"
    text += "[[beat]]\n[[beat.pulse]]\ncentre_mm = [24.0, 0.0, 0.0]\nradius_mm = 8.0\nstart_ms = 30\n"
    path.write_text(text, encoding="utf-8")
    outcome = jaxtwin("simulate", path)
    assert outcome.code == 0, outcome.err
    assert "beat 2 of 2" in outcome.err
    summary = json.loads((place / "result" / "summary.json").read_text())
    first, second = ([wave["onset_ms"] for wave in beat["waves"]] for beat in summary["beats"])
    assert (first, second) == ([0.0, 420.0], [30.0])
    assert summary["beats"][0]["waves"][1]["first_activation_ms"] > 420.0
    arrays = read_vtkhdf(place / "result" / "result.vtkhdf").point_data
    lat, late, other = (arrays[f"activation{each}_ms"] for each in ("", "_wave_2", "_beat_2"))
    both = np.isfinite(late)
    assert summary["beats"][0]["waves"][1]["activated_nodes"] == both.sum() > 200
    assert (late[both] > lat[both] + 300.0).all()
    assert 30.0 < np.nanmin(other) < 40.0
    assert lat.argmin() != other.argmin()
    assert arrays["voltage_mV"].shape == arrays["voltage_beat_2_mV"].shape
    assert {"repolarisation_wave_2_ms", "repolarisation_beat_2_ms"} <= arrays.keys()


def test_a_train_is_its_pulses(case):
    """Eight S1 and an S2, however they are listed: the wave of the last one is what a map shows."""
    train = {"beat.pulse.count": 8, "beat.pulse.interval_ms": 500.0, "beat.pulse.start_ms": 10.0}
    path = case(train)
    site = "centre_mm = [24.0, 0.0, 0.0]\nradius_mm = 8.0\n"
    text = path.read_text().replace("[beat.pulse]\n", "[[beat]]\n[[beat.pulse]]\n")
    before, after = text.split("[[beat]]\n")
    for listed in (
        f"{before}[[beat]]\n[[beat.pulse]]\n{site}start_ms = 3800\n{after}",
        f"{text}[[beat.pulse]]\n{site}start_ms = 3800\n",
    ):
        path.write_text(listed)
        ready = jt.prepare(jt.load_case(path))
        (beat,) = ready.beats
        assert ready.twin.beats[0].pulse == 8
        assert ready.twin.times.stop > 3800.0
        np.testing.assert_allclose(beat.onset, [*np.arange(10.0, 3600.0, 500.0), 3800.0])
        assert beat.site == (0,) * 8 + (1,)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("[[beat]]\n[[beat.pulse]]\n", "2 [[beat]] and 1 maps (map)"),
        ("[[beat.pulse]]\nstart_ms = 20\n", "whose last two pulses start 20 ms apart"),
        ("[[beat]]\n[[beat.pulse]]\nkind = 'map'\n#", "beats of kind map beside others"),
    ],
)
def test_beats_that_belong_to_no_map_are_refused(case, more, words):
    path = case()
    text = path.read_text().replace("[beat.pulse]\n", "[[beat]]\n[[beat.pulse]]\n")
    path.write_text(f"{text}{more}centre_mm = [0.0, 0.0, 18.0]\nradius_mm = 8.0\n")
    with pytest.raises(jt.InputError, match=re.escape(words)):
        _ = jt.prepare(jt.load_case(path)).twin


def test_a_fit_without_an_error_estimate_has_no_factors_of_it(case):
    """The key reaches the twin; with it, the fit has a factor for each map."""
    for estimated in (True, False):
        twin = jt.prepare(jt.load_case(case({"mesh.error_estimate": estimated}))).twin
        assert ("mesh_error" in twin.mean()["maps"]) == estimated


def test_the_twin_of_a_case_covers_its_map(case):
    """In whatever time reference, and without the points that are held out."""
    ready = jt.prepare(jt.load_case(case({"map.held_out_points": 20, "fit.uncertainty_directions": 0})))
    assert ready.held_out.points.sum() == 20
    assert ready.train.valid.sum() + 20 == ready.data.valid.sum()
    assert ready.twin.times.stop >= np.ptp(ready.train.lat_ms) + 25.0
    for shift in (-300.0, 1000.0):
        shifted = jt.prepare(ready.case, heart=ready.heart)
        shifted._measured = dataclasses.replace(ready.data, lat_ms=ready.data.lat_ms + shift), []
        assert shifted.twin.times == ready.twin.times
