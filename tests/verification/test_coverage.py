"""Coverage counts what it says it counts, and notices intervals that are too narrow."""

import numpy as np
import pytest

from jaxtwin.verify import coverage, small_sheet


@pytest.fixture(scope="module")
def found():
    return coverage(small_sheet(edge=2.0, truth_edge=2.0, points=50), truths=4)


def test_scores_of_truths_from_the_prior_are_about_standard_normal(found):
    """Four truths at twelve places: a standard deviation between a half and two."""
    assert found.score.shape == (4, 12)
    assert 0.5 < found.score.std() < 2.0
    assert abs(found.score.mean()) < 1.0


def test_shares_are_those_of_the_scores(found):
    assert found.levels == (0.5, 0.8, 0.95)
    for edge, share in zip((0.6745, 1.2816, 1.96), found.share, strict=True):
        assert share == pytest.approx((np.abs(found.score) < edge).mean(), abs=0.03)
