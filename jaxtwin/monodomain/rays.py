"""Rays: the path of a wave to each node, and how arrival times change with the tissue along it."""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from .._compiled import compiled
from ..anatomy import Mesh
from ..fem import p1_gradients

DUST = 1e-9  # fraction of an arrival time that is neglected
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
    - `before`, `weights`: the corners of that cell, and a_ij. `order`: the nodes such that each comes after
      those that its ray passes, where there is such an order.
    """

    cell: Int[np.ndarray, " nodes"]
    slope: Float[np.ndarray, "nodes dim"]
    delay: Float[np.ndarray, " nodes"]
    before: Int[np.ndarray, "nodes corners"]
    weights: Float[np.ndarray, "nodes corners"]
    order: Int[np.ndarray, " nodes"]

    def push(self, slower: Float[np.ndarray, "nodes cases"]) -> Float[np.ndarray, "nodes cases"]:
        """Change of the arrival at each node, ms, if the delays on the last segments change by factors 1 +
        `slower`. One pass over the nodes serves all cases."""
        own = np.ascontiguousarray(self.delay.astype(slower.dtype)[:, None] * slower)
        return _carried(own, *self._steps(own.dtype))

    def collect(self, weights: Float[np.ndarray, "nodes cases"]) -> Float[np.ndarray, "nodes cases"]:
        """The transpose of `push`: for weights of the arrival at each node, those of the factors."""
        total = _collected(np.array(weights, order="C"), *self._steps(weights.dtype))
        return self.delay.astype(weights.dtype)[:, None] * total

    def _steps(self, real: np.dtype):
        """What both passes need, and when a repeated pass has converged."""
        tolerance = max(DUST, 4.0 * float(np.finfo(real).eps))
        return self.before.astype(np.int64), self.weights.astype(real), self.order, tolerance


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
    return chained(cells[cell], weights, time, cell, slope[cell], delay)


def chained(before, weights, time, cell, slope, delay) -> Rays:
    """The rays, with their nodes in an order in which each comes after those that its ray passes; by time
    where there is no such order."""
    order = np.argsort(np.where(np.isfinite(time), time, np.inf), kind="stable")
    return Rays(cell, slope, delay, before, weights, _causal(before.astype(np.int64), weights, order))


@compiled
def _causal(before, weights, order):
    """The nodes in topological order; those on a circle and behind it at the end, in the given `order`."""
    count, corners = before.shape
    left = np.zeros(count, np.int64)  # predecessors that are not in the order yet
    ends = np.zeros(count + 1, np.int64)
    for node in range(count):
        for c in range(corners):
            if weights[node, c] > 0.0:
                left[node] += 1
                ends[before[node, c] + 1] += 1
    ends = np.cumsum(ends)
    filled, after = ends[:-1].copy(), np.empty(ends[-1], np.int64)
    for node in range(count):
        for c in range(corners):
            if weights[node, c] > 0.0:
                other = before[node, c]
                after[filled[other]] = node
                filled[other] += 1
    found, size, taken = np.empty(count, np.int64), 0, 0
    for node in order:
        if left[node] == 0:
            found[size] = node
            size += 1
    while taken < size:
        node = found[taken]
        taken += 1
        for k in range(ends[node], ends[node + 1]):
            left[after[k]] -= 1
            if left[after[k]] == 0:
                found[size] = after[k]
                size += 1
    for node in order:
        if left[node] > 0:
            found[size] = node
            size += 1
    return found


@compiled
def _carried(own, before, weights, order, tolerance):
    """Accumulates delays along the rays, from the earliest node to the latest; again until nothing changes if
    a ray comes from a later node."""
    count, cases = own.shape
    later, new = np.zeros_like(own), np.zeros_like(own[0])
    place = np.empty_like(order)
    place[order] = np.arange(count)
    for sweep in range(SWEEPS):
        again, change, most = False, 0.0, 0.0
        for k in range(count):
            node = order[k]
            new[:] = own[node]
            for c in range(before.shape[1]):
                weight, other = weights[node, c], before[node, c]
                if weight > 0.0:
                    again = again or place[other] > k
                    for case in range(cases):
                        new[case] += weight * later[other, case]
            if sweep > 0:
                for case in range(cases):
                    change = max(change, abs(new[case] - later[node, case]))
                    most = max(most, abs(new[case]))
            later[node] = new
        if not again or (sweep > 0 and change <= tolerance * most):
            break
    return later


@compiled
def _collected(rest, before, weights, order, tolerance):
    """The transpose of `_carried`, from the latest node to the earliest; again until nothing is left if a ray
    comes from a later node."""
    count, cases = rest.shape
    total = np.zeros_like(rest)
    place = np.empty_like(order)
    place[order] = np.arange(count)
    for _ in range(SWEEPS):
        again = False
        for k in range(count - 1, -1, -1):
            node = order[k]
            for c in range(before.shape[1]):
                weight, other = weights[node, c], before[node, c]
                if weight > 0.0:
                    again = again or place[other] > k
                    for case in range(cases):
                        rest[other, case] += weight * rest[node, case]
            for case in range(cases):
                total[node, case] += rest[node, case]
                rest[node, case] = 0.0
        if not again or np.abs(rest).max() <= tolerance * np.abs(total).max():
            break
    return total
