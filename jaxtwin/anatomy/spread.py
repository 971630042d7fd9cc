"""Points spread evenly over a heart."""

import numpy as np
from jaxtyping import Float, Int


def farthest_points(points: Float[np.ndarray, "points dim"], count: int) -> Int[np.ndarray, " chosen"]:
    """Indices of up to `count` of the points, each the one farthest from all before it.

    Farthest-point sampling (Gonzalez 1985, doi 10.1016/0304-3975(85)90224-5): no point is farther from a
    chosen one than twice the least distance that this number of points allows. Begins with the point farthest
    from the centroid; of points at one place only the first is chosen.
    """
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmax())]
    away = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < min(count, len(points)) and away.max() > 0.0:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.asarray(chosen)
