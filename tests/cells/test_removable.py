"""Quotients at and near their removable singularity, with their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxtwin.cells.removable import expm1_over, over_expm1


@settings(max_examples=300, deadline=None)
@given(st.floats(-30.0, 30.0).filter(lambda x: abs(x) > 1e-3))
def test_away_from_zero_they_are_the_quotients(x):
    assert float(over_expm1(jnp.asarray(x))) == pytest.approx(x / np.expm1(x), rel=1e-12)
    assert float(expm1_over(jnp.asarray(x))) == pytest.approx(np.expm1(x) / x, rel=1e-12)


def test_at_zero_value_and_derivatives_are_those_of_the_series():
    zero = jnp.zeros(())
    for function, wanted in ((over_expm1, (1.0, -1 / 2, 1 / 6)), (expm1_over, (1.0, 1 / 2, 1 / 3))):
        first = jax.grad(function)
        found = [float(each(zero)) for each in (function, first, jax.grad(first))]
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("function", [over_expm1, expm1_over])
def test_series_and_quotient_meet(function):
    at = jnp.asarray([0.1 - 1e-9, 0.1 + 1e-9])
    for each in (function, jax.vmap(jax.grad(function))):
        left, right = np.asarray(each(at))
        assert left == pytest.approx(right, abs=1e-8)
