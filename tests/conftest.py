"""Strict runs: double precision, no silent promotion, shapes checked at every call."""

import os
from pathlib import Path

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

os.environ["EAGER_IMPORT"] = "1"  # now, while the hook is there, and not when a name is first used
with install_import_hook("jaxtwin", "typechecker.typechecker"):
    import jaxtwin  # noqa: F401
del os.environ["EAGER_IMPORT"]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real files; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("JAXTWIN_DATA", Path(__file__).parents[1] / "../shared/data"))
    if not folder.is_dir():
        pytest.skip("the folder of real files is absent: set JAXTWIN_DATA to run this test")
    return folder.resolve()
