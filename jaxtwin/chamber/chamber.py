"""From the surface that a mapping system drew to a mesh one can compute on."""

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
    """A chamber ready for computation, and what was done to the surface it comes from.

    - `mesh`: fibres and regions are those of the surface; without fibres a placeholder, laid into the cells,
      until some are given (see `rule_fibres`).
    - `fields`: name -> (nodes,), the fields of the surface on the nodes of the mesh, NaN where unknown.
    - `rings`: the openings, the longest first.
    - `lines`: the report, one sentence each.
    - `steps`: what happened to the nodes, in this order; each carries values of nodes.
    """

    mesh: Mesh
    fields: dict[str, Float[np.ndarray, " nodes"]]
    rings: tuple[Opening, ...]
    lines: tuple[str, ...]
    steps: tuple[Cut | Repaired | LocalRefinement, ...]

    def carry(self, values: Float[np.ndarray, "surface_nodes ..."]) -> Float[np.ndarray, "nodes ..."]:
        """Values at the points of the surface, on the nodes of the mesh."""
        for step in self.steps:
            values = step.carry(values)
        return values

    def cells_from(self) -> Int[np.ndarray, " cells"]:
        """The triangle of the surface that each cell of the mesh comes from."""
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
    """Cut, repair, refine, and repair what refinement has stretched.

    **Arguments:**

    - `surface`: as read from an export.
    - `edge_mm`: no edge longer than this after refinement; the repair that follows may leave a few that are,
      where it takes slivers away (2 of 73,000 at 1.5 mm on a real map).
    - `cut_out`: leave out the triangles that the system marks as an opening.
    - `cuts`: further openings, each a centre (mm) and a radius (mm), where the export is a closed bag.
    - `merge_distance`: nodes closer than this (mm) are one, see `repair`.

    Edges much shorter than `edge_mm` stay unless they make slivers: collapsing more would move what was
    measured. Raises `InputError` for a surface without triangles, where cutting leaves nothing, and for an
    edge outside its range.
    """
    if not len(surface.triangles):
        raise InputError(
            f"a surface of {len(surface.points)} points without triangles", "a surface to compute on",
            "Export the map with its mesh",
        )  # fmt: skip
    mesh = surface.mesh()
    lines = [_sizes("The surface", mesh)]
    marked = surface.cut_out if cut_out else np.zeros(len(mesh.cells), bool)
    # Not the largest part yet: nodes at the same place, which some systems write, are still apart.
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
    # Splitting a long thin cell leaves thinner ones beside it. Once: the edges that this lengthens, if they
    # were split again, would bring the slivers back.
    clean = repair(steps[-1].mesh, merge_distance=0, keep="largest")
    steps.append(clean)
    lines += clean.report.lines()[1:]
    mesh = steps[-1].mesh
    # mending turns cells a little
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
