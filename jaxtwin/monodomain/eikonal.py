"""Eikonal waves and rays: arrival times, and their derivative with respect to the tissue along the path."""

import heapq

import equinox as eqx
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from .._compiled import compiled
from .._results import InputError
from ..anatomy import Mesh
from ..fem import p1_gradients

DUST = 1e-9  # fraction of a ray that is neglected
SWEEPS = 100  # passes over the nodes, for rays that repeatedly come from later nodes


class Rays(eqx.Module):
    """Rays of a wave: the path by which the front reached each node, and the delay on the last segment of
    each.

    If the speed of a front is c = k sqrt(n.D n), arrival times T satisfy k^2 grad T.D grad T = 1. A small
    change of the tissue changes them by

        dT_i = sum_j a_ij dT_j - delay_i dq_i,    q_i = log k + log(grad T.D grad T)/2,

    with a_ij the barycentric weights of the point where the ray -D grad T from node i leaves the cell it came
    through. A front of finite width averages over about a millimetre on both sides of its ray; apart from
    that, this is the derivative of the monodomain equation, at the cost of a sparse triangular solve.

    - `cell`: the cell through which the front reached a node. `slope`: grad T in it, ms/mm.
    - `delay`: ms between that point and the node; 0 at source nodes and at non-activated nodes.
    - `before`, `weights`: the corners of that cell, and a_ij. `order`: the nodes sorted by time.
    """

    cell: Int[np.ndarray, " nodes"]
    slope: Float[np.ndarray, "nodes dim"]
    delay: Float[np.ndarray, " nodes"]
    before: Int[np.ndarray, "nodes corners"]
    weights: Float[np.ndarray, "nodes corners"]
    order: Int[np.ndarray, " nodes"]

    def pull(self, rows: sp.csr_array) -> sp.csr_array:
        """d(rows T)/dq: (points, nodes), for weights `rows` of the nodes; zero away from the rays."""
        place = np.empty_like(self.order)
        place[self.order] = np.arange(len(place))
        ends, nodes, share = _trace(
            rows.indptr.astype(np.int64), rows.indices.astype(np.int64), rows.data.astype(np.float64),
            self.before.astype(np.int64), self.weights, self.order, place,
        )  # fmt: skip
        return sp.csr_array((-share * self.delay[nodes], nodes, ends), shape=rows.shape)

    def push(self, slower: Float[np.ndarray, "nodes cases"]) -> Float[np.ndarray, "nodes cases"]:
        """Change of the arrival at each node, ms, if the delays on the last segments change by factors 1 +
        `slower`. One pass over the nodes serves all cases, as in `pull`."""
        own = np.ascontiguousarray(self.delay[:, None] * slower)
        return _carried(own, self.before.astype(np.int64), self.weights, self.order)


def rays(
    mesh: Mesh,
    diffusivity: Float[np.ndarray, "cells dim dim"],
    activation: Float[np.ndarray, " nodes"],
    starts: Int[np.ndarray, " starts"],
    gradients: Float[np.ndarray, "cells corners dim"] | None = None,
) -> Rays:
    """Returns the rays of a simulated or measured activation.

    **Arguments:** `diffusivity`: (cells, dim, dim), mm2/ms. `activation`: (nodes,), ms, NaN where not
    activated. `starts`: nodes excited by the stimulus. `gradients`: of the P1 functions, if already computed.
    """
    grads = p1_gradients(mesh) if gradients is None else np.asarray(gradients, np.float64)
    time, cells = np.asarray(activation, np.float64), mesh.cells
    count, corners = len(time), mesh.corners
    at = time[cells]
    reached = np.isfinite(at)
    slope = np.einsum("cid,ci->cd", grads, np.where(reached.all(axis=1, keepdims=True), at, 0.0))
    along = np.einsum("cde,ce->cd", np.asarray(diffusivity, np.float64), slope)
    rate = np.einsum("cid,cd->ci", grads, along)  # of each barycentric coordinate along D grad T
    best, cell, weights = np.full(count, -np.inf), np.zeros(count, int), np.zeros((count, corners))
    for i in range(corners):
        with np.errstate(divide="ignore", invalid="ignore"):
            share = -rate / rate[:, i : i + 1]
        share[:, i] = 0.0
        # the front must come from nodes reached earlier, otherwise the nodes have no causal order
        share = np.where(at >= at[:, i : i + 1], np.minimum(share, 0.0), share)
        usable = reached.all(axis=1) & np.greater(rate[:, i], 0.0) & np.greater(share.max(axis=1), 0.0)
        inside = np.where(usable, share.min(axis=1), -np.inf)
        node = cells[:, i]
        order = np.lexsort((inside, node))
        last = order[np.r_[node[order][1:] != node[order][:-1], True]]  # the best cell of each node
        better = last[inside[last] > best[node[last]]]
        at_node = node[better]
        best[at_node], cell[at_node] = inside[better], better
        kept = np.maximum(share[better], 0.0)
        weights[at_node] = kept / kept.sum(axis=1, keepdims=True)
    passive = ~np.isfinite(best)
    passive[starts] = True
    weights[passive] = 0.0
    delay = np.where(passive, 0.0, time - np.where(weights > 0, weights * time[cells[cell]], 0.0).sum(axis=1))
    return _chained(cells[cell], weights, time, cell, slope[cell], delay)


def _chained(before, weights, time, cell, slope, delay) -> Rays:
    order = np.argsort(np.where(np.isfinite(time), time, np.inf), kind="stable")
    return Rays(cell, slope, delay, before, weights, order)


@compiled
def _trace(ends, nodes, values, before, weights, order, place):
    """Follows the ray of each row back to its source: the fraction of it that passes through each node, as
    CSR rows.

    One pass from the latest node to the earliest. If a ray comes from a slightly later node, as in cells that
    are stretched in the metric of D, it is followed again from there.
    """
    count = len(order)
    rest, total = np.zeros(count), np.zeros(count)
    new_ends = np.zeros(len(ends), np.int64)
    kept, shares = np.empty(1024, np.int64), np.empty(1024)
    size = 0
    for row in range(len(ends) - 1):
        start = -1
        for k in range(ends[row], ends[row + 1]):
            rest[nodes[k]] += values[k]
            start = max(start, place[nodes[k]])
        latest, sweeps = start, 0
        while start >= 0 and sweeps < SWEEPS:
            again = -1
            for k in range(start, -1, -1):
                node = order[k]
                share = rest[node]
                if share == 0.0:
                    continue
                rest[node] = 0.0
                total[node] += share
                if abs(share) < DUST:
                    continue
                for c in range(before.shape[1]):
                    if weights[node, c] > 0.0:
                        other = before[node, c]
                        rest[other] += share * weights[node, c]
                        if place[other] >= k:
                            again = max(again, place[other])
            start, sweeps = again, sweeps + 1
            latest = max(latest, again)
        for k in range(latest + 1):
            node = order[k]
            rest[node] = 0.0
            if total[node] != 0.0:
                if size == len(kept):
                    kept = np.concatenate((kept, np.empty_like(kept)))
                    shares = np.concatenate((shares, np.empty_like(shares)))
                kept[size], shares[size] = node, total[node]
                total[node] = 0.0
                size += 1
        new_ends[row + 1] = size
    return new_ends, kept[:size], shares[:size]


@compiled
def _carried(own, before, weights, order):
    """Accumulates delays along the rays, from the earliest node to the latest, until nothing changes."""
    later = own.copy()
    for _ in range(SWEEPS):
        change, most = 0.0, 1e-300
        for node in order:
            for case in range(own.shape[1]):
                total = own[node, case]
                for c in range(before.shape[1]):
                    if weights[node, c] > 0.0:
                        total += weights[node, c] * later[before[node, c], case]
                change = max(change, abs(total - later[node, case]))
                most = max(most, abs(total))
                later[node, case] = total
        if change <= 1e-9 * most:
            break
    return later


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
    return lat, _chained(before, weights, time, cell, slope, delay)


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
