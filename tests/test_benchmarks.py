"""The claims as data: each well formed and judged by its bound; README and docs show the stored figures."""

import json
import re
from importlib import import_module
from typing import Any

import pytest

from benchmarks import claims, gpu, readme


def claim(**changes):
    fields: dict[str, Any] = {
        "group": "path",
        "text": "t",
        "command": "python -m benchmarks path x",
        "figure": "a.b",
        "bound": "<= 2",
    }
    return claims.Claim(**fields | changes)


def test_every_claim_names_a_benchmark_that_exists_and_a_bound_that_parses():
    for one in claims.load():
        module, name = re.fullmatch(r"python -m benchmarks (\w+) ([\w-]+)", one.command).groups()
        assert module == one.group
        known = gpu.PARTS if module == "gpu" else import_module(f"benchmarks.{module}").BENCHMARKS
        assert name in known
        assert isinstance(one.met(0.0), bool)


def test_figures_are_found_by_their_keys_and_judged():
    assert claim().value({"a": {"b": 1}}) == 1.0
    assert claim().met(2.0)
    assert not claim().met(2.1)
    assert claim(bound=">= 0.5").met(0.5)
    assert not claim(bound="== 1").met(0.999)
    with pytest.raises(KeyError):
        claim().value({"a": {}})


def test_a_command_that_fails_is_not_measured_and_not_met(monkeypatch, capsys):
    monkeypatch.setattr(claims, "load", lambda: [claim(command="python -c 'raise SystemExit(3)'")])
    assert claims.run(None, save=False) == 1
    shown = capsys.readouterr().out
    assert "not measured" in shown
    assert "exit code 3" in shown


def test_met_and_unmet_claims_decide_the_exit_code(monkeypatch, tmp_path):
    line = json.dumps({"a": {"b": 1.5}})
    monkeypatch.setattr(claims, "measure", lambda command: json.loads(line))
    monkeypatch.setattr(claims, "HERE", tmp_path)
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(claims, "load", lambda: [claim()])
    assert claims.run("path", save=True) == 0
    kept = json.loads((tmp_path / "results" / "path.json").read_text())
    assert kept["claims"][0]["value"] == 1.5
    assert kept["claims"][0]["met"]
    monkeypatch.setattr(claims, "load", lambda: [claim(bound="<= 1")])
    assert claims.run("path", save=False) == 1


def test_the_readme_and_the_page_of_claims_show_the_stored_figures():
    text = readme.README.read_text("utf-8")
    assert readme.renewed(text) == text
    assert readme.PAGE.read_text("utf-8") == readme.page()


def test_the_readme_shows_few_headlines_that_can_be_read_alone():
    headlines = [c for c in claims.load() if c.headline]
    assert 0 < len(headlines) <= readme.MOST_HEADLINES
    assert not [c.text for c in headlines if re.match("(the same|its|the fit) ?", c.text)]
    shown = readme.headlines()
    assert all(shown.count(f"| {c.text} |") == (1 if c.headline else 0) for c in claims.load())


def test_a_figure_that_misses_its_bound_or_was_not_measured_is_shown_as_such(monkeypatch):
    monkeypatch.setattr(readme, "stored", lambda group: {claim().command: {"a": {}}})
    assert readme.figure(claim()) == "not measured"
    monkeypatch.setattr(readme, "stored", lambda group: {claim().command: {"a": {"b": 3.0}}})
    assert readme.figure(claim(unit="ms")) == "3 ms (**not met**)"
    assert readme.figure(claim(bound="<= 3")) == "3"
    assert readme.figure(claim(command="another")) == "not measured"


def test_figures_of_several_days_name_the_first_and_the_last():
    one, other = {"date": "2026-11-22"}, {"date": "2026-11-27"}
    assert claims.days([one, one]) == "2026-11-22"
    assert claims.days([other, one]) == "2026-11-22 to 2026-11-27"
