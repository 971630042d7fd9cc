"""The Python on the pages runs, in the order in which it stands, with no file but those of `jaxtwin init`.

Blocks marked `py` instead of `python` read the result of a fit and are not run.
"""

import re
from pathlib import Path

import pytest

from jaxtwin._cli.init import make_case

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a case in it, as the pages take it to be."""
    folder = tmp_path_factory.mktemp("pages")
    make_case(folder / "case", edge=4.0)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS.parent)) for page in PAGES])
def test_the_code_of_a_page_runs(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    program = "\n".join(BLOCK.findall(page.read_text(encoding="utf-8")))
    exec(compile(program, str(page), "exec"), {"__name__": page.stem})
