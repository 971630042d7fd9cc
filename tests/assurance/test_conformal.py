"""Recalibrated intervals hold as often as they say, whatever the errors are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxtwin as jt
from jaxtwin.assurance import recalibrate


@given(st.integers(1, 200), st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_the_factor_is_the_smallest_that_holds_enough_of_the_points(count, level, seed):
    """ceil((n + 1) level) of the n points, which is what makes the chance of a new one `level` or more."""
    random = np.random.default_rng(seed)
    error, sd = random.standard_normal(count), random.uniform(0.5, 2.0, count)
    found = recalibrate(error, sd, level=level).factor
    wanted = int(np.ceil((count + 1) * level - 1e-9))
    if wanted > count:
        assert found == np.inf
        return
    assert (np.abs(error) <= found * sd * (1 + 1e-12)).sum() >= wanted
    assert (np.abs(error) <= found * sd * (1 - 1e-9)).sum() < wanted


def test_claims_that_are_too_narrow_are_widened_so_that_new_points_are_held():
    """Heavy tails, and standard deviations that are three times too small in one of two regions."""
    random = np.random.default_rng(0)
    region = random.integers(0, 2, 4000)
    error = random.standard_t(3.0, 4000) * np.where(region == 0, 1.0, 3.0)
    half = np.arange(4000) < 2000
    found = recalibrate(error[half], np.ones(2000), region[half], level=0.9)
    assert found.regions[1] == pytest.approx(3.0 * found.regions[0], rel=0.15)
    held = np.abs(error[~half]) <= found.of(region[~half])
    for r in (0, 1):
        assert held[region[~half] == r].mean() == pytest.approx(0.9, abs=0.03)


def test_a_region_with_few_points_has_the_factor_of_all():
    error, region = np.linspace(-1.0, 1.0, 100), np.asarray([0] * 90 + [7] * 10)
    found = recalibrate(error, np.ones(100), region)
    assert set(found.regions) == {0}
    np.testing.assert_array_equal(found.of(np.asarray([7, 0])), [found.factor, found.regions[0]])


def test_bad_levels_and_spreads_are_refused():
    with pytest.raises(jt.InputError, match="a level of 90"):
        recalibrate(np.zeros(3), np.ones(3), level=90.0)
    with pytest.raises(jt.InputError, match="not above 0"):
        recalibrate(np.zeros(3), np.zeros(3))
