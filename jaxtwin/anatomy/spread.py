"""Points spread evenly over a heart."""

import numpy as np
from jaxtyping import Float, Int


def farthest_points(points: Float[np.ndarray, "points dim"], count: int) -> Int[np.ndarray, " chosen"]:
    """Returns the indices of up to `count` of the points, each the farthest from all previous ones.

    Farthest-point sampling (Gonzalez 1985, doi 10.1016/0304-3975(85)90224-5): no point is farther from a
    chosen one than twice the smallest distance possible with this number of points. It begins with the point
    farthest from the centroid; of coincident points only the first is chosen.
    """
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmax())]
    away = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < min(count, len(points)) and away.max() > 0.0:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.asarray(chosen)
