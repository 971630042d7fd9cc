"""Eikonal waves: arrival times of a front whose speed is known."""

import heapq

import numpy as np
from jaxtyping import Float, Int

from .._compiled import compiled
from .._results import InputError
from ..anatomy import Mesh
from ..fem import p1_gradients
from .rays import Rays, chained


def eikonal(
    mesh: Mesh,
    diffusivity: Float[np.ndarray, "cells dim dim"],
    speed: float,
    starts: Int[np.ndarray, " starts"],
    onset: Float[np.ndarray, " starts"],
    gradients: Float[np.ndarray, "cells corners dim"] | None = None,
) -> tuple[Float[np.ndarray, " nodes"], Rays]:
    """Returns the first arrival times of an eikonal wave with speed c = k sqrt(n.D n), and its rays.

    T_i is the minimum over the cells of a node and over the points x of the facet opposite to it: T(x),
    linear between the corners, plus the travel time from x straight to the node (Bornemann, Rasch 2006, doi
    10.1007/s00791-006-0016-y). It is first order in the edge length, on any simplices, however stretched they
    are in the metric of D: a node is updated again if one of its predecessors turns out to be earlier. The
    rays give the exact derivative of these times.

    **Arguments:**

    - `diffusivity`: D, (cells, dim, dim), mm2/ms.
    - `speed`: k, the speed of a plane wave at D = 1 mm2/ms, mm/ms; 0 means that no node but `starts`
      activates.
    - `starts`: source nodes. `onset`: their activation times, ms.
    - `gradients`: of the P1 functions, if already computed.

    **Returns:** (nodes,), ms, NaN where not activated, and `Rays`.

    **Raises:** `InputError` without any source node.
    """
    if not len(starts):
        raise InputError("no node where a wave starts", "one or more", "Check the stimulus")
    grads = p1_gradients(mesh) if gradients is None else np.asarray(gradients, np.float64)
    tensor = speed**2 * np.asarray(diffusivity, np.float64)
    rate = np.einsum("cid,cde,cje->cij", grads, tensor, grads, optimize=True)
    count, corners = len(mesh.points), mesh.corners
    order = np.argsort(mesh.cells.ravel(), kind="stable")
    first = np.searchsorted(mesh.cells.ravel()[order], np.arange(count + 1))
    time = np.full(count, np.inf)
    np.minimum.at(time, starts, onset)
    cell, weights = np.zeros(count, np.int64), np.zeros((count, corners))
    cells = mesh.cells.astype(np.int64)
    if speed > 0.0:
        _advance(cells, rate, first, order // corners, np.unique(starts), time, cell, weights)
    came = np.isfinite(time) & (weights.sum(axis=1) > 0)
    before, local = cells[cell], rate[cell]
    arrival = np.where(np.isfinite(time), time, 0.0)
    delay = np.where(came, arrival - (weights * arrival[before]).sum(axis=1), 0.0)
    # the covector of the last piece, from the point that it starts at to the node
    own = before == np.arange(count)[:, None]
    push = np.where(came[:, None, None], local, np.eye(corners)[None])
    others = np.where(own[:, :, None] | own[:, None, :], np.eye(corners)[None], push)
    lift = np.linalg.solve(others, weights[..., None])[..., 0] / np.where(came, delay, 1.0)[:, None]
    slope = -np.einsum("nid,ni->nd", grads[cell], np.where(own | ~came[:, None], 0.0, lift))
    lat = np.where(np.isfinite(time), time, np.nan)
    return lat, chained(before, weights, time, cell, slope, delay)


@compiled
def _advance(cells, rate, first, around, starts, time, cell, weights):
    """Takes nodes in the order of their arrival and updates the neighbouring cells until no arrival gets
    earlier."""
    corners = cells.shape[1]
    fixed = np.zeros(len(time), np.bool_)
    queue = [(time[starts[0]], starts[0])]
    for start in starts[1:]:
        heapq.heappush(queue, (time[start], start))
    fixed[starts] = True
    share = np.zeros(corners)
    while len(queue) > 0:
        when, node = heapq.heappop(queue)
        if when > time[node]:
            continue
        for c in around[first[node] : first[node + 1]]:
            for i in range(corners):
                other = cells[c, i]
                if other == node or fixed[other]:
                    continue
                new = _through(rate[c], time, cells[c], i, share)
                if new < time[other] - 1e-12 * (1.0 + abs(new)):
                    time[other], cell[other] = new, c
                    weights[other] = share
                    heapq.heappush(queue, (new, other))


@compiled
def _through(rate, time, nodes, i, share):
    """Arrival at corner i of a cell through the facet opposite; the barycentric point of origin is written to
    `share`.

    With P the `rate` among the other corners and t their times, a ray from inside the facet satisfies (T -
    t).P(T - t) = 1 and starts at the point whose coordinates are proportional to P(T - t).
    """
    share[:] = 0.0
    a = (i + 1) % len(nodes)
    if len(nodes) == 2:
        share[a] = 1.0
        return time[nodes[a]] + 1.0 / np.sqrt(rate[a, a])
    b = (i + 2) % len(nodes)
    if len(nodes) == 3:
        return _from_edge(rate[a, a], rate[a, b], rate[b, b], time[nodes[a]], time[nodes[b]], a, b, share)
    c = (i + 3) % len(nodes)
    t, near = np.array([time[nodes[a]], time[nodes[b]], time[nodes[c]]]), (a, b, c)
    p = np.empty((3, 3))
    for k in range(3):
        for m in range(3):
            p[k, m] = rate[near[k], near[m]]
    if np.isfinite(t).all():
        base = t.min()
        u = t - base
        row = p.sum(axis=0)
        total, mean = row.sum(), (row * u).sum()
        root = mean**2 - total * ((p * np.outer(u, u)).sum() - 1.0)
        if root >= 0.0:
            new = (mean + np.sqrt(root)) / total
            point = (p * (new - u)).sum(axis=1)
            if point.min() >= 0.0:
                for k in range(3):
                    share[near[k]] = point[k] / point.sum()
                return new + base
    g = np.linalg.inv(p)
    best, kept = np.inf, np.zeros(4)
    for k in range(3):
        m = (k + 1) % 3
        det = g[k, k] * g[m, m] - g[k, m] ** 2
        share[:] = 0.0
        new = _from_edge(
            g[m, m] / det, -g[k, m] / det, g[k, k] / det, t[k], t[m], near[k], near[m], share
        )  # fmt: skip
        if new < best:
            best = new
            kept[:] = share
    share[:] = kept
    return best


@compiled
def _from_edge(paa, pab, pbb, ta, tb, a, b, share):
    if np.isfinite(ta) and np.isfinite(tb):
        base = min(ta, tb)
        ua, ub = ta - base, tb - base
        total, mean = paa + 2.0 * pab + pbb, (paa + pab) * ua + (pab + pbb) * ub
        root = mean**2 - total * (paa * ua**2 + 2.0 * pab * ua * ub + pbb * ub**2 - 1.0)
        if root >= 0.0:
            new = (mean + np.sqrt(root)) / total
            of_a, of_b = paa * (new - ua) + pab * (new - ub), pab * (new - ua) + pbb * (new - ub)
            if of_a >= 0.0 and of_b >= 0.0:
                share[a], share[b] = of_a / (of_a + of_b), of_b / (of_a + of_b)
                return new + base
    det = paa * pbb - pab**2
    from_a, from_b = ta + np.sqrt(pbb / det), tb + np.sqrt(paa / det)
    if from_a <= from_b:
        share[a], share[b] = 1.0, 0.0
        return from_a
    share[a], share[b] = 0.0, 1.0
    return from_b
