"""Farthest-point sampling."""

import numpy as np
from scipy.spatial import KDTree

from jaxtwin.anatomy.spread import farthest_points


def test_they_cover_the_square_evenly():
    """200 points crowd into one corner; the other 200 cover the square."""
    random = np.random.default_rng(0)
    points = np.concatenate([random.uniform(0.0, 1.0, (200, 2)), random.uniform(0.0, 0.1, (200, 2))])
    chosen = farthest_points(points, 25)
    assert len(np.unique(chosen)) == 25
    assert (points[chosen] < 0.1).all(axis=1).sum() <= 1
    apart = KDTree(points[chosen]).query(points[chosen], 2)[0][:, 1].min()
    assert KDTree(points[chosen]).query(points)[0].max() <= apart


def test_fewer_places_than_asked_for():
    points = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], 4, axis=0)
    assert sorted(farthest_points(points, 10) // 4) == [0, 1, 2]
