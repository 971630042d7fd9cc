"""From the surface exported by a mapping system to a computational mesh."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .._results import InputError
from ..anatomy import (
    Closed,
    Cut,
    LocalRefinement,
    Mesh,
    Opening,
    Remeshed,
    Repaired,
    Surface,
    close_holes,
    cut,
    cut_at,
    edge_share,
    intersecting,
    manifold,
    openings,
    quality,
    refine_to,
    remesh,
    repair,
    stiffness_bound,
)
from ..anatomy.fibres import place_fibres
from ..anatomy.refine_to import check_edge
from ..anatomy.remesh import LEAST_QUALITY

Step = Cut | Repaired | Closed | Remeshed | LocalRefinement


@dataclass(frozen=True)
class Chamber:
    """A chamber prepared for computation, and what was done to its surface.

    - `mesh`: with the fibres and regions of the surface; without fibres a placeholder in the plane of the
      cells, until some are given (see `rule_fibres`).
    - `fields`: name -> (nodes,), the fields of the surface on the nodes of the mesh, NaN where unknown.
    - `rings`: the openings, the longest first.
    - `lines`: the report, one sentence each.
    - `steps`: the operations on the nodes, in this order; each maps nodal values.
    """

    mesh: Mesh
    fields: dict[str, Float[np.ndarray, " nodes"]]
    rings: tuple[Opening, ...]
    lines: tuple[str, ...]
    steps: tuple[Step, ...]

    def carry(self, values: Float[np.ndarray, "surface_nodes ..."]) -> Float[np.ndarray, "nodes ..."]:
        """Maps values at the points of the surface to the nodes of the mesh."""
        return _carried(self.steps, values)

    def cells_from(self) -> Int[np.ndarray, " cells"]:
        """The surface triangle from which each cell of the mesh comes."""
        origin = self.steps[0].cells
        for step in self.steps[1:]:
            origin = origin[step.cells]
        return origin


def chamber(
    surface: Surface,
    *,
    edge_mm: float,
    cut_out: bool = True,
    cuts: Sequence[tuple[Sequence[float] | np.ndarray, float]] = (),
    close_mm: float = 30.0,
    merge_distance: float | None = None,
) -> Chamber:
    """Prepares a mapped surface for computation: cuts openings, repairs, closes small holes, and remeshes, so
    that nothing later depends on the worst cell or on the fineness of the export.

    The nodes of the mesh lie on the surface, and rims and borders of regions stay (see `remesh`).

    **Arguments:**

    - `surface`: as read from an export.
    - `edge_mm`: length of the edges of the mesh, mm.
    - `cut_out`: remove the triangles that the system marks as an opening.
    - `cuts`: further openings, each a centre (mm) and a radius (mm), for a closed surface.
    - `close_mm`: holes with a perimeter below this (mm) are closed, save those cut out; 0 closes none. See
      `close_holes`.
    - `merge_distance`: nodes closer than this (mm) are merged, see `repair`.

    **Returns:** a `Chamber`.

    **Raises:** `InputError` for a surface without triangles, if nothing remains after cutting, and for an
    edge length out of range.
    """
    if not len(surface.triangles):
        raise InputError(
            f"a surface of {len(surface.points)} points without triangles", "a surface to compute on",
            "Export the map with its mesh",
        )  # fmt: skip
    mesh = surface.mesh()
    check_edge(mesh, edge_mm)
    lines = [_sizes("The surface", mesh)]
    marked = surface.cut_out if cut_out else np.zeros(len(mesh.cells), bool)
    # Not the largest part yet: duplicate nodes, which some systems write, are not merged yet.
    steps: list[Step] = [cut(mesh, marked, largest=False)]
    if marked.any():
        lines.append(f"Cells cut out as the system marked them: {int(marked.sum())}.")
    bound = stiffness_bound(steps[-1].mesh).max()
    clean = repair(steps[-1].mesh, merge_distance=merge_distance, keep="largest")
    steps.append(clean)
    lines += clean.report.lines()
    _part(steps, lines)
    rim = np.zeros(len(mesh.points))
    rim[mesh.cells[marked]] = 1.0
    _close(steps, lines, close_mm, _carried(steps, rim) > 0)
    for centre, radius in cuts:
        before = len(steps[-1].mesh.cells)
        steps.append(cut_at(steps[-1].mesh, np.asarray(centre, np.float64), radius))
        lines.append(f"Opening of {radius:g} mm cut: {before - len(steps[-1].mesh.cells)} cells.")
    _remesh(steps, lines, edge_mm)
    mesh = steps[-1].mesh
    # repair rotates cells slightly
    mesh = Mesh(mesh.points, mesh.cells, place_fibres(mesh.points, mesh.cells, mesh.fibres)[0], mesh.regions)
    rings = openings(mesh)
    lines.append(_sizes("The mesh", mesh))
    lines.append(_shape(mesh, edge_mm))
    around = ", ".join(f"{each.perimeter_mm:.1f}" for each in rings)
    lines.append(f"Openings found: {len(rings)}" + (f", perimeters {around} mm." if rings else "."))
    if crossing := int(intersecting(mesh).sum()):
        lines.append(f"The surface passes through itself: {crossing} cells cross others, without conduction.")
    lines.append(
        f"Largest stiffness bound: {bound:.3g} /mm2 before, {stiffness_bound(mesh).max():.3g} /mm2 after "
        "(times D: 1/ms)."
    )
    fields = {name: _carried(steps, values) for name, values in surface.fields.items()}
    return Chamber(mesh, fields, rings, tuple(lines), tuple(steps))


def _carried(steps, values):
    for step in steps:
        values = step.carry(values)
    return values


def _part(steps, lines):
    """Cuts the surface apart where it branches, and keeps the largest part."""
    mesh = steps[-1].mesh
    apart = manifold(mesh)
    if len(apart.origin) == len(mesh.points) and len(apart.cells) == len(mesh.cells):
        return
    branching = int((np.bincount(apart.origin) > 1).sum())
    lines.append(f"Nodes at which the surface branches or its parts touch, cut apart there: {branching}.")
    rest = repair(apart.mesh, merge_distance=0, keep="largest")
    steps += [apart, rest]
    lines += rest.report.lines()[1:]


def _close(steps, lines, close_mm, keep):
    closed = close_holes(steps[-1].mesh, close_mm, keep=keep)
    steps.append(closed)
    if len(around := closed.perimeters_mm):
        lines.append(
            f"Closed {len(around)} holes of {around.min():.3g} to {around.max():.3g} mm of perimeter, below "
            f"{close_mm:g} mm: {len(closed.cells) - len(steps[-2].mesh.cells)} cells."
        )


def _remesh(steps, lines, edge_mm):
    """Remeshes, or where that fails splits what is too long and repairs."""
    try:
        steps.append(remesh(steps[-1].mesh, edge_mm))
    except InputError as error:
        lines.append(f"Not remeshed, but refined: {error.got}.")
        steps.append(refine_to(steps[-1].mesh, edge_mm))
        # Splitting a long thin cell leaves thinner neighbours. Once only: splitting the edges that this
        # lengthens again would bring the slivers back.
    left = repair(steps[-1].mesh, merge_distance=0, keep="largest")
    if not left.report.clean:
        steps.append(left)
        lines += left.report.lines()[1:]


def _shape(mesh, edge_mm):
    found = quality(mesh)
    low, share = int((found < LEAST_QUALITY).sum()), edge_share(mesh, edge_mm)
    more = f", {low} cells below {LEAST_QUALITY:g}" if low else ""
    return (
        f"Edges of {edge_mm:g} mm: {100 * share:.4g} % between half and 1.6 of it. Least quality "
        f"{found.min():.3g}{more}."
    )


def _sizes(what: str, mesh: Mesh) -> str:
    length = mesh.edge_lengths
    return (
        f"{what}: {len(mesh.points)} nodes, {len(mesh.cells)} cells, edges {length.min():.3g} to "
        f"{length.max():.3g} mm, median {np.median(length):.3g} mm."
    )
