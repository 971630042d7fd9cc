"""From the surface exported by a mapping system to a computational mesh."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .._results import InputError
from ..anatomy import (
    Cut,
    LocalRefinement,
    Mesh,
    Opening,
    Repaired,
    Surface,
    cut,
    cut_at,
    openings,
    refine_to,
    repair,
    stiffness_bound,
)
from ..anatomy.fibres import place_fibres


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
    steps: tuple[Cut | Repaired | LocalRefinement, ...]

    def carry(self, values: Float[np.ndarray, "surface_nodes ..."]) -> Float[np.ndarray, "nodes ..."]:
        """Maps values at the points of the surface to the nodes of the mesh."""
        for step in self.steps:
            values = step.carry(values)
        return values

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
    merge_distance: float | None = None,
) -> Chamber:
    """Prepares a mapped surface for computation: cuts openings, repairs, refines, and removes the slivers
    that refinement has made.

    Edges much shorter than `edge_mm` remain unless they make slivers: collapsing more would move measured
    positions.

    **Arguments:**

    - `surface`: as read from an export.
    - `edge_mm`: no edge is longer than this after refinement; the following repair may leave a few longer
      ones where it removes slivers (2 of 73,000 at 1.5 mm on a real map).
    - `cut_out`: remove the triangles that the system marks as an opening.
    - `cuts`: further openings, each a centre (mm) and a radius (mm), for a closed surface.
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
    lines = [_sizes("The surface", mesh)]
    marked = surface.cut_out if cut_out else np.zeros(len(mesh.cells), bool)
    # Not the largest part yet: duplicate nodes, which some systems write, are not merged yet.
    steps: list[Cut | Repaired | LocalRefinement] = [cut(mesh, marked, largest=False)]
    if marked.any():
        lines.append(f"Cells cut out as the system marked them: {int(marked.sum())}.")
    bound = stiffness_bound(steps[-1].mesh).max()
    clean = repair(steps[-1].mesh, merge_distance=merge_distance, keep="largest")
    steps.append(clean)
    lines += clean.report.lines()
    for centre, radius in cuts:
        before = len(steps[-1].mesh.cells)
        steps.append(cut_at(steps[-1].mesh, np.asarray(centre, np.float64), radius))
        lines.append(f"Opening of {radius:g} mm cut: {before - len(steps[-1].mesh.cells)} cells.")
    steps.append(refine_to(steps[-1].mesh, edge_mm))
    lines.append(_sizes(f"Refined to edges of {edge_mm:g} mm", steps[-1].mesh))
    # Splitting a long thin cell leaves thinner neighbours. Once only: splitting the edges that this
    # lengthens again would bring the slivers back.
    clean = repair(steps[-1].mesh, merge_distance=0, keep="largest")
    steps.append(clean)
    lines += clean.report.lines()[1:]
    mesh = steps[-1].mesh
    # repair rotates cells slightly
    mesh = Mesh(mesh.points, mesh.cells, place_fibres(mesh.points, mesh.cells, mesh.fibres)[0], mesh.regions)
    rings, longer = openings(mesh), int((mesh.edge_lengths > edge_mm).sum())
    lines.append(_sizes("The mesh", mesh))
    if longer:
        lines.append(f"Edges longer than {edge_mm:g} mm, where slivers were removed: {longer}.")
    around = ", ".join(f"{each.perimeter_mm:.1f}" for each in rings)
    lines.append(f"Openings found: {len(rings)}" + (f", perimeters {around} mm." if rings else "."))
    lines.append(
        f"Largest stiffness bound: {bound:.3g} /mm2 before, {stiffness_bound(mesh).max():.3g} /mm2 after "
        "(times D: 1/ms)."
    )
    fields = dict(surface.fields)
    for step in steps:
        fields = {name: step.carry(values) for name, values in fields.items()}
    return Chamber(mesh, fields, rings, tuple(lines), tuple(steps))


def _sizes(what: str, mesh: Mesh) -> str:
    length = mesh.edge_lengths
    return (
        f"{what}: {len(mesh.points)} nodes, {len(mesh.cells)} cells, edges {length.min():.3g} to "
        f"{length.max():.3g} mm, median {np.median(length):.3g} mm."
    )
