"""Single precision changes activation times by far less than a measurement can tell."""

import jax
import pytest

from jaxtwin.verify import PRECISION_MESHES, precision_difference


@pytest.mark.parametrize("name", PRECISION_MESHES)
def test_float32_against_float64(name):
    """2,400 steps on triangles, a curved surface and tetrahedra: below 0.1 ms, and above nothing."""
    gap = precision_difference(name)
    assert 0.0 < gap.rms <= gap.largest < 0.1
    assert gap.last > 30.0
    assert jax.config.jax_enable_x64, "the precision was not put back"
