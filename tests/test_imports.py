"""Who imports whom, and what an import of the package does: nothing but define names.

Layers between packages are declared in `pyproject.toml` and checked by `lint-imports`; here is what it cannot
see.
"""

import ast
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "jaxtwin"
FILES = sorted(ROOT.rglob("*.py"))
FENCES = {
    "blackjax": ["inference/nuts.py"],
    "meshio": ["anatomy/*"],
    "mmgpy": ["anatomy/remesh.py"],
    "defusedxml": ["mapping/formats/xml.py"],
    "h5py": [
        "anatomy/*",
        "mapping/storage.py",
        "monodomain/storage.py",
        "mapping/formats/matlab73.py",
        "inference/checkpoint.py",
        "inference/storage.py",
        "view/vtkhdf.py",
    ],
    "numba": ["_compiled.py"],
    "robust_laplacian": ["fem/matern.py"],
    "optax": ["inference/optimise/lbfgs.py"],
    "matplotlib": ["view/*"],
}


def name(path: Path) -> str:
    """The module of a file."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Full names of all that a file imports, wherever in the file, at once or on first use."""
    here = path.relative_to(ROOT.parent).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            found |= {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy_loader.load":
            found.add(ast.literal_eval(node.args[0]))
    return found


def test_no_circle_between_files():
    """A file imports another file, or the package of one, which stands for all that it exports."""
    modules = {name(path): path for path in FILES}

    def module_of(imported: str) -> str:
        return imported if imported in modules else imported.rpartition(".")[0]

    graph = {
        own: {module_of(each) for each in imports(path) if each.startswith("jaxtwin.")} - {own}
        for own, path in modules.items()
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("library", FENCES)
def test_third_parties_stay_behind_their_fences(library):
    users = [f for f in FILES if any(name.split(".")[0] == library for name in imports(f))]
    assert users
    outside = [f for f in users if not any(f.relative_to(ROOT).match(p) for p in FENCES[library])]
    assert outside == []


def test_importing_prints_nothing_sets_no_flag_and_computes_nothing():
    """In a fresh interpreter, with warnings as errors."""
    code = (
        "import jax; before = dict(jax.config.values); import jaxtwin; jaxtwin.Twin; jaxtwin.read_mesh;"
        "assert jax.config.jax_enable_x64 is False; assert dict(jax.config.values) == before;"
        "import sys; assert 'matplotlib' not in sys.modules; assert 'meshio.ply' not in sys.modules;"
        "assert 'blackjax' not in sys.modules;"
        # several processes must be able to find each other before anything is computed
        "from jax._src import xla_bridge; assert not xla_bridge.backends_are_initialized()"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, cwd=ROOT.parent, env=environment, timeout=120,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
