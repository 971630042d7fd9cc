"""Meshes whose pictures are known."""

from itertools import permutations

import numpy as np

from jaxtwin.anatomy import Mesh


def plane(columns=21, rows=11, width=20.0, height=10.0):
    x, y = np.meshgrid(np.linspace(0, width, columns), np.linspace(0, height, rows))
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    low = np.stack([corner, corner + 1, corner + columns], axis=1)
    high = np.stack([corner + 1, corner + columns + 1, corner + columns], axis=1)
    return Mesh(np.stack([x.ravel(), y.ravel()], axis=1), np.concatenate([low, high]))


def cube(n=4):
    grid = np.stack(np.meshgrid(*[np.arange(n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    base = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    cells = []
    for order in permutations(range(3)):
        corners = base[:, None] + np.concatenate(
            [np.zeros((1, 3), int), np.cumsum(np.eye(3, dtype=int)[list(order)], 0)]
        )
        cells.append(corners @ [(n + 1) ** 2, n + 1, 1])
    return Mesh(grid.astype(float), np.concatenate(cells))


def sphere(radius=10.0, rings=24):
    """Latitude and longitude, poles as degenerate rings, which a rasteriser must survive."""
    theta, phi = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1), indexing="ij"
    )
    points = radius * np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1
    )
    wide = 2 * rings + 1
    corner = (np.arange(rings)[:, None] * wide + np.arange(wide - 1)).ravel()
    cells = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + wide], 1),
            np.stack([corner + 1, corner + wide + 1, corner + wide], 1),
        ]
    )
    return Mesh(points.reshape(-1, 3), cells)
