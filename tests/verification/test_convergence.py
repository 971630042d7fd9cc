"""Orders of convergence against exact solutions (see `jaxtwin.verify.exact` for the problems)."""

import pytest

from jaxtwin.monodomain import RungeKuttaChebyshev
from jaxtwin.verify import spatial_order, temporal_order


@pytest.mark.parametrize("name", ["sheet", "distorted sheet", "sphere", "slab"])
def test_second_order_in_space(name):
    """Anisotropic 2-D, a curved surface, tetrahedra."""
    assert spatial_order(name).order > 1.8


def test_order_in_time_is_the_declared_one():
    """With reaction, anisotropy and the gate crossing its threshold at different times across the sheet."""
    for found in temporal_order().values():
        assert found.order > RungeKuttaChebyshev.order - 0.2
