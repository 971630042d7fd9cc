"""The two commands that need no case."""

import json

import jaxtwin._cli.demo as demo
import jaxtwin._cli.doctor as doctor
from jaxtwin.inference import EIKONAL_ROUNDS


def test_doctor_passes(jaxtwin):
    outcome = jaxtwin("doctor", promotion="standard")
    assert outcome.code == 0, outcome.err
    assert "the self-test passed on" in outcome.err
    facts = json.loads(outcome.out)
    assert facts["self_test"]["passed"] is True
    assert facts["devices"][0]["platform"]
    assert facts["versions"]["jax"]


def test_doctor_that_finds_a_wrong_speed_fails(jaxtwin, monkeypatch):
    monkeypatch.setattr(doctor, "self_test", lambda: {"passed": False})
    outcome = jaxtwin("doctor", promotion="standard")
    assert outcome.code == 1
    assert outcome.error.startswith("Failed: The self-test failed")


def test_demo_prints_truth_beside_estimate(jaxtwin, tmp_path, monkeypatch):
    for draw in ("activation_map", "conductivity_map", "residual_map", "scar_map"):  # slow, tested elsewhere
        monkeypatch.setattr(demo, draw, lambda *data, **more: b"a figure")
    monkeypatch.setattr(demo, "save_figure", lambda figure, path: path.write_bytes(figure))
    outcome = jaxtwin(
        "demo", "--folder", tmp_path / "demo", "--edge", 4, "--iterations", 2, promotion="standard"
    )
    assert outcome.code == 0, outcome.err
    for word in ("Truth against estimate", "area of scar", "Dice", "Research use only"):
        assert word in outcome.out
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["iterations"] <= 2 + EIKONAL_ROUNDS, "steps by gradients, and rounds of eikonal waves"
    assert len(list((tmp_path / "demo").glob("*.png"))) == 5
