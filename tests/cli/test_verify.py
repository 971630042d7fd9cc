"""`jaxtwin verify`: what it prints and writes, and when it fails."""

import json

import jax
import numpy as np
import pytest

import jaxtwin._cli.verify as verifying
from jaxtwin._cli.claims import Claim, Group, Table, markdown
from jaxtwin.verify import SlabWave
from jaxtwin.verify.slab import POINTS


@pytest.fixture
def quick(monkeypatch):
    """Two groups that measure nothing: one keeps its bound, one does not."""

    def good(full, report):
        report("a note")
        precision = 64.0 if jax.numpy.zeros(()).dtype == np.float64 else 32.0
        table = Table("Figures", ("mesh", "ms"), [("sheet", 1.23456), ("slab", float("nan"))])
        claims = [Claim("bits", precision, ">=", 64.0), Claim("full", float(full), "<=", 1.0, "ms")]
        return Group("Good", claims, [table])

    def bad(full, report):
        return Group("Bad", [Claim("an error", 0.25, "<=", 0.1), Claim("a hole", float("nan"), "<=", 1.0)])

    monkeypatch.setattr(verifying, "GROUPS", {"good": good, "bad": bad})


def test_one_table_per_group_and_the_same_in_the_files(jaxtwin, quick, tmp_path):
    files = tmp_path / "out.json", tmp_path / "out.md"
    outcome = jaxtwin("verify", "--only", "good", "--json", files[0], "--markdown", files[1])
    assert outcome.code == 0, outcome.err
    assert "| bits | 64.0 | >= 64 | yes |" in outcome.out
    assert "| sheet | 1.23 |" in outcome.out
    assert "| slab | none |" in outcome.out
    assert "a note" in outcome.err
    assert "All 2 claims are met" in outcome.err
    page = files[1].read_text(encoding="utf-8")
    assert outcome.out.strip() in page
    assert "Research use only" in page
    found = json.loads(files[0].read_text(encoding="utf-8"))
    assert (found["met"], found["full"], list(found["groups"])) == (True, False, ["good"])
    assert found["groups"]["good"]["claims"][0]["figure"] == 64.0
    assert found["groups"]["good"]["tables"][0]["rows"] == [["sheet", 1.23456], ["slab", None]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.md"]


def test_a_claim_that_is_not_met_is_exit_code_1_and_is_written_down(jaxtwin, quick, tmp_path):
    outcome = jaxtwin("verify", "--full", "--json", tmp_path / "out.json")
    assert outcome.code == 1
    assert outcome.error == "Failed: 2 of 4 claims are not met: an error; a hole."
    assert "| an error | 0.250 | <= 0.1 | **no** |" in outcome.out
    assert "| full | 1.00 ms | <= 1 ms | yes |" in outcome.out
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (found["met"], found["full"]) == (False, True)
    assert [claim["met"] for claim in found["groups"]["bad"]["claims"]] == [False, False]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--only", "spice"], "one of good, bad"),
        (["--json", "missing/out.json"], "Make the folder"),
        (["--json", "."], "which is a folder"),
        (["--json", "same", "--markdown", "./same"], "two names"),
    ],
)
def test_bad_words_cost_no_time(jaxtwin, quick, monkeypatch, tmp_path, words, named):
    monkeypatch.chdir(tmp_path)
    outcome = jaxtwin("verify", *words)
    assert outcome.code == 2
    assert outcome.error.startswith("Error: ")
    assert named in outcome.error
    assert outcome.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_real_group(jaxtwin):
    before = jax.config.jax_enable_x64
    outcome = jaxtwin("verify", "--only", "invariance")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("| yes |") == 4
    assert jax.config.jax_enable_x64 == before


def test_groups_run_in_double_precision_and_leave_single_as_it_was(quick):
    with jax.enable_x64(False):
        assert verifying.run_group("good", False, lambda text: None).claims[0].figure == 64.0
        assert jax.numpy.zeros(()).dtype == np.float32


def waves_of(order: dict[float, float]):
    """A slab whose errors are known: limit + 8 h^order, for each share of the consistent mass."""

    def slab_wave(edge: float, dt: float = 0.1, *, consistent_mass: float = 0.0, stop: float) -> SlabWave:
        error = 1.0 + 0.3 * edge ** order[consistent_mass]
        limit = verifying.CONVERGED
        return SlabWave(
            edge, dt, consistent_mass, 1000, {p: limit[p] * error + 0.1 * dt for p in POINTS},
            0.285 / error, 0.103 / error, 0,
        )  # fmt: skip

    return slab_wave


def test_slab_table_shows_limit_and_order(monkeypatch):
    """With errors made to order: lumped of second, half consistent of fourth."""
    monkeypatch.setattr(verifying, "slab_wave", waves_of({0.0: 2.0, 0.5: 4.0}))
    monkeypatch.setattr(verifying, "_plane", lambda cell, diffusivity: 0.005)
    monkeypatch.setattr(verifying, "MEMORY_GIB", 0.0)
    group = verifying.run_group("slab", True, lambda text: None)
    assert [claim.text for claim in group.claims if not claim.met] == []
    lumped, half = group.tables
    assert lumped.head == ("", "0.5 mm", "0.25 mm", "0.125 mm", "0.0625 mm", "limit", "order", "plane wave")
    for table, order in ((lumped, 2.0), (half, 4.0)):
        rows = {row[0]: row for row in table.rows}
        assert rows["P8, ms"][5] == pytest.approx(verifying.CONVERGED["P8"] + 0.01, abs=0.01)
        assert rows["P8, ms"][6] == pytest.approx(order)
        assert rows["speed along, mm/ms"][7] == pytest.approx(0.2949, abs=1e-4)
    text = markdown(group)
    assert all(line.count("|") == 9 for line in text.split("Activation at")[1].splitlines() if "|" in line)


def test_full_on_a_small_machine_is_refused(jaxtwin, monkeypatch):
    monkeypatch.setattr(verifying, "MEMORY_GIB", 1e6)
    outcome = jaxtwin("verify", "--full", "--only", "slab")
    assert outcome.code == 2
    assert "Leave --full out" in outcome.error
