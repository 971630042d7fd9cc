"""Fronts as rays: what the arrival of a wave owes to the tissue on its way."""

from typing import Any

import equinox as eqx
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse.linalg import splu

from ..anatomy import Mesh
from ..fem.p1 import p1_gradients


class Rays(eqx.Module):
    """The paths by which a front came to each node, and its delay on the last piece of each.

    Where the speed of a front is c = k sqrt(n.D n), arrival times T obey k^2 grad T.D grad T = 1, and a small
    change of the tissue moves them by

        dT_i = sum_j a_ij dT_j - delay_i dq_i,    q_i = log k + log(grad T.D grad T)/2,

    with a_ij the barycentric weights of the point at which the ray -D grad T from node i leaves the cell it
    came through. A front of finite width averages over a millimetre or so on both sides of its ray; beyond
    that this is the derivative of the monodomain equation, for the price of a sparse triangular solve.

    - `cell`: through which the front came to a node. `slope`: grad T in it, ms/mm.
    - `delay`: ms between that point and the node; 0 at nodes where a wave starts or none comes.
    """

    cell: Int[np.ndarray, " nodes"]
    slope: Float[np.ndarray, "nodes dim"]
    delay: Float[np.ndarray, " nodes"]
    order: Int[np.ndarray, " nodes"]
    solver: Any = eqx.field(static=True)

    def pull(self, rows: sp.csr_array) -> Float[np.ndarray, "points nodes"]:
        """d(rows T)/dq: (points, nodes), for weights `rows` of the nodes."""
        dense = rows.toarray()
        solved = self.solver.solve(np.ascontiguousarray(dense.T[self.order]), "T")
        dense[:, self.order] = solved.T
        return -dense * self.delay[None]


def rays(
    mesh: Mesh,
    diffusivity: Float[np.ndarray, "cells dim dim"],
    activation: Float[np.ndarray, " nodes"],
    starts: Int[np.ndarray, " starts"],
    gradients: Float[np.ndarray, "cells corners dim"] | None = None,
) -> Rays:
    """The rays of a simulated or measured activation, ms at the nodes, NaN where no wave came.

    `starts`: nodes that a stimulus excites. `gradients`: of the P1 functions, where they are at hand.
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
        # the front must come from nodes that it reached before, or there would be no order among them
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
    before = cells[cell]
    delay = np.where(passive, 0.0, time - np.where(weights > 0, weights * time[before], 0.0).sum(axis=1))
    chain = sp.csr_array(
        (weights.ravel(), before.ravel(), np.arange(count + 1) * corners), shape=(count,) * 2
    )
    order = np.argsort(np.where(np.isfinite(time), time, np.inf), kind="stable")
    system = sp.csc_array((sp.eye_array(count) - chain).tocsr()[order][:, order])
    # lower triangular as it stands: the factors cost nothing
    solver = splu(system, permc_spec="NATURAL", diag_pivot_thresh=0.0)
    return Rays(cell, slope[cell], delay, order, solver)
