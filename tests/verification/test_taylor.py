"""The gradient of a misfit leaves a remainder of second order, over more than two decades of the step."""

import equinox as eqx
import numpy as np
import pytest

import jaxtwin as jt
from jaxtwin.verify import taylor, taylor_remainders


def test_remainder_of_second_order():
    """In a direction that changes conductivity, cells and stimulus at once: no step length picked out."""
    found = taylor_remainders(jt.MitchellSchaeffer)
    assert found.sizes[0] / found.sizes[-1] > 300
    assert found.order == pytest.approx(2.0, abs=0.1)
    between = np.diff(np.log(found.errors)) / np.diff(np.log(found.sizes))
    assert between == pytest.approx(2.0, abs=0.3)


def test_a_gradient_that_is_wrong_by_five_per_cent_shows(monkeypatch):
    """The test can fail: the remainder is then of first order at short steps."""
    right = eqx.filter_value_and_grad

    def wrong(function):
        def call(theta, *rest):
            value, gradient = right(function)(theta, *rest)
            return value, gradient | {"tau_in": 1.05 * gradient["tau_in"]}

        return call

    monkeypatch.setattr(taylor.eqx, "filter_value_and_grad", wrong)
    assert taylor_remainders(jt.MitchellSchaeffer).order < 1.5
