"""Who imports whom, and what an import of the package does: nothing but define names."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "jaxtwin"
FILES = sorted(ROOT.rglob("*.py"))
FREE = {"__init__", "__main__", "_cli"}  # these bind everything together and may import all
FENCES = {
    "blackjax": ["posterior/nuts.py"],
    "meshio": ["anatomy/*"],
    "defusedxml": ["mapping/formats/xml.py"],
    "h5py": [
        "anatomy/*",
        "mapping/storage.py",
        "monodomain/storage.py",
        "mapping/formats/matlab73.py",
        "twin/checkpoint.py",
        "view/vtkhdf.py",
    ],
    "numba": ["_compiled.py"],
    "optax": ["posterior/optimise.py"],
    "matplotlib": ["view/*"],
}


def package(path: Path) -> str:
    """The first name below jaxtwin: a package or a module."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in the file; a name from a package counts as
    its module."""
    here = ("jaxtwin", *path.relative_to(ROOT).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def offences(path: Path) -> set[str]:
    """Packages of jaxtwin that this file must not import: those that do not stand before its own."""
    own = package(path)
    if own in FREE:
        return set()
    used = {name.split(".")[1] for name in imports(path) if name.startswith("jaxtwin.")}
    return {other for other in used if not other.startswith("_") and other > own} | (used & FREE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_package_imports_only_what_stands_before_it(path):
    """Its own files, packages earlier in the alphabet, and files with an underscore, which import nothing."""
    assert not offences(path)
    if package(path) in {"_compiled", "_files", "_results", "_types", "_units"}:
        assert not {name for name in imports(path) if name.startswith("jaxtwin.") and "._" not in name}


def test_the_rule_sees_what_it_should(tmp_path, monkeypatch):
    """A file that breaks it in every way of writing an import."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "fem" / "bad.py"
    path.parent.mkdir()
    path.write_text(
        "from ..ionic import gate\nfrom .. import twin, anatomy\ndef f():\n import jaxtwin.view.surface"
    )
    assert offences(path) == {"ionic", "view", "twin"}
    path.write_text(
        "from .._results import InputError\nfrom ..anatomy import Mesh\nfrom .space import Space\n"
    )
    assert offences(path) == set()


def test_the_listing_is_the_data_flow():
    """The packages in the order in which data pass through them, with the twin before the evidence."""
    flow = [
        "anatomy",
        "fem",
        "ionic",
        "mapping",
        "monodomain",
        "observe",
        "posterior",
        "twin",
        "verify",
        "view",
    ]
    listed = sorted({package(f) for f in FILES})
    assert flow == sorted(flow)
    assert [name for name in listed if name in flow] == [name for name in flow if name in listed]


@pytest.mark.parametrize("library", FENCES)
def test_third_parties_stay_behind_their_fences(library):
    users = [f for f in FILES if any(name.split(".")[0] == library for name in imports(f))]
    assert users
    outside = [f for f in users if not any(f.relative_to(ROOT).match(p) for p in FENCES[library])]
    assert outside == []


def test_importing_prints_nothing_and_sets_no_flag():
    """In a fresh interpreter, with warnings as errors."""
    code = (
        "import jax; before = dict(jax.config.values); import jaxtwin;"
        "assert jax.config.jax_enable_x64 is False; assert dict(jax.config.values) == before;"
        "import sys; assert 'matplotlib' not in sys.modules; assert 'meshio' not in sys.modules;"
        "assert 'blackjax' not in sys.modules"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, cwd=ROOT.parent, env=environment, timeout=120,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
