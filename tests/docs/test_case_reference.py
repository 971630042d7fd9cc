"""Pages that are made of data say what the data say."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_the_definition_makes():
    made = runpy.run_path(str(DOCS / "case_reference.py"))["page"]()
    assert (DOCS / "reference" / "case.md").read_text(encoding="utf-8") == made, (
        "docs/reference/case.md is out of date: run `python docs/case_reference.py`"
    )


def test_the_page_on_fits_is_drawn_from_the_stored_results(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    made = runpy.run_path(str(DOCS / "inverse.py"))["page"]()
    assert (DOCS / "topics" / "inverse.md").read_text(encoding="utf-8") == made, (
        "docs/topics/inverse.md is out of date: run `python docs/inverse.py`"
    )


def test_the_page_on_performance_is_drawn_from_the_stored_results():
    made = runpy.run_path(str(DOCS / "performance.py"))["page"]()
    assert (DOCS / "topics" / "performance.md").read_text(encoding="utf-8") == made, (
        "docs/topics/performance.md is out of date: run `python docs/performance.py`"
    )
