"""The command line in this process: `jaxtwin("check", path)` gives exit code, output and messages."""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import pytest

from jaxtwin.__main__ import main
from jaxtwin.anatomy import Mesh, atrial_shell, write_mesh
from jaxtwin.mapping import MappingData, write_csv

FLAGS = (
    "jax_enable_x64",
    "jax_numpy_dtype_promotion",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
)


class Outcome(NamedTuple):
    """What a user sees of a run."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The paragraph of the error: the only thing the user has to read."""
        lines = [line for line in self.err.splitlines() if line.startswith(("Error: ", "Failed: "))]
        assert len(lines) == 1, self.err
        assert self.err.rstrip().endswith(lines[0]), "something stands below the message"
        assert "Traceback" not in self.err
        assert "━" not in self.err, "a progress bar is left"
        return lines[0]


@pytest.fixture(scope="session")
def jaxtwin(tmp_path_factory):
    """Calls the entry point with these words, and puts back what it sets for the whole process."""
    cache = tmp_path_factory.mktemp("cache")

    def run(*words: object, promotion: str = "strict") -> Outcome:
        before = {name: getattr(jax.config, name) for name in FLAGS}
        out, err, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["jaxtwin", *map(str, words)])
            patch.setenv("JAXTWIN_CACHE", str(cache))
            jax.config.update("jax_numpy_dtype_promotion", promotion)
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            finally:
                for name, value in before.items():
                    jax.config.update(name, value)
        return Outcome(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def shell() -> Mesh:
    """A coarse atrium of 48 x 40 x 31 mm."""
    return atrial_shell(4.0)


@pytest.fixture(scope="session")
def lat(shell):
    """Activation times at its nodes, ms: straight lines from the roof."""
    top = shell.points[shell.points[:, 2].argmax()]
    return 10.0 + ((shell.points - top) ** 2).sum(axis=1) ** 0.5 / 0.7


@pytest.fixture
def place(tmp_path, shell, lat) -> Path:
    """A folder with heart.vtu, heart.pts (.elem .lon) and map.csv."""
    write_mesh(tmp_path / "heart.vtu", shell)
    write_mesh(tmp_path / "heart.pts", shell)
    write_csv(tmp_path / "map.csv", MappingData(shell.points[::2], lat[::2]))
    return tmp_path


BASE = {
    "mesh": {"file": "heart.vtu"},
    "tissue": {"speed_mm_per_ms": 0.7},
    "beat.pulse": {"centre_mm": [0.0, 0.0, 18.0], "radius_mm": 8.0},
    "time": {"step_ms": 0.1},
    "map": {"file": "map.csv"},
    "fit": {"parameterisation": "uniform", "iterations": 1},
    "output": {"precision": "float64"},
}


@pytest.fixture
def case(place):
    """Writes case.toml with changes such as `{"tissue.speed_mm_per_ms": -1}`; None leaves a key out."""

    def write(changes: dict | None = None) -> Path:
        tables = {name: dict(keys) for name, keys in BASE.items()}
        for name, value in (changes or {}).items():
            table, _, key = name.rpartition(".")
            tables.setdefault(table, {})[key] = value
        text = "\n".join(
            f"[{table}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in keys.items() if v is not None)
            for table, keys in tables.items()
        )
        path = place / "case.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
