"""Partition of a space into parts of equal shape, one for each device."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._results import InputError
from ..anatomy import Mesh
from .layout import Halo, Layout, Slice, cuts
from .space import Space, edges_of


def bisect(points: Float[np.ndarray, "nodes dim"], parts: int) -> Int[np.ndarray, " nodes"]:
    """The part of each node, by recursive bisection of the longest side: sizes differ by at most one."""
    part = np.zeros(len(points), np.int32)

    def cut(nodes, first: int, count: int) -> None:
        if count == 1:
            part[nodes] = first
            return
        longest = np.argmax(np.ptp(points[nodes], axis=0))
        left = count // 2
        ordered = nodes[np.argsort(points[nodes, longest], kind="stable")]
        middle = len(nodes) * left // count
        cut(ordered[:middle], first, left)
        cut(ordered[middle:], first + left, count - left)

    cut(np.arange(len(points)), 0, parts)
    return part


class Partition(eqx.Module):
    """A space divided into parts. Arrays of all parts have one shape, padded, with the part as the leading
    axis.

    Each part has its own nodes, then its halo nodes, which other parts own, and all cells that touch its own
    nodes.

    - `spaces`: a `Space` whose arrays have the part as leading axis. `nodes`: (parts, nodes of a part), the
      node of the mesh that each one is. `cells`: likewise.
    - `own_nodes`, `own_edges`: masks, (parts, nodes) and (parts, edges), of the nodes and edges that a part
      counts in a sum over the mesh, so that each is counted once.
    - `place`: (nodes,), position of each node of the mesh among the concatenated nodes of all parts.
    """

    spaces: Space
    nodes: Int[Array, "parts nodes"]
    cells: Int[Array, "parts cells"]
    own_nodes: Bool[Array, "parts nodes"]
    own_edges: Bool[Array, "parts edges"]
    place: Int[Array, " mesh_nodes"]

    @property
    def parts(self) -> int:
        """Number of parts."""
        return self.nodes.shape[0]


class Part(eqx.Module):
    """One part in local numbering: own nodes first, then (from `rows` on) halo nodes.

    `own`, `borrowed`, `cells`: global numbers. `points`, `corners`, `ends`, `terms`: as of a mesh of these
    nodes and cells; of the edges only those with an own node at one end.
    """

    own: np.ndarray
    borrowed: np.ndarray
    cells: np.ndarray
    points: np.ndarray
    corners: np.ndarray
    ends: np.ndarray
    terms: np.ndarray

    def __init__(self, mesh: Mesh, own, borrowed, cells, rows: int):
        self.own, self.borrowed, self.cells = own, borrowed, cells
        number = np.full(len(mesh.points), -1)
        number[own], number[borrowed] = np.arange(len(own)), rows + np.arange(len(borrowed))
        self.corners = number[mesh.cells[cells]]
        self.points = np.zeros((rows + len(borrowed), mesh.dim))
        self.points[: len(own)], self.points[rows:] = mesh.points[own], mesh.points[borrowed]
        ends, terms = edges_of(Mesh(self.points, self.corners, mesh.fibres[cells]))
        used = (ends < rows).any(axis=1)
        self.ends, self.terms = ends[used], terms[:, used]


def partition(mesh: Mesh, space: Space, parts: int, axis: str = "parts") -> Partition:
    """Divides `space` on `mesh` into parts for `simulate_split`.

    **Arguments:** `parts`: their number, one for each device. `axis`: name of the device axis.

    **Returns:** a `Partition`.

    **Raises:** `InputError` for more parts than nodes.

    **Example:** `split = jt.partition(mesh, tissue.space, 4)`
    """
    count = len(mesh.points)
    if not 1 <= parts <= count:
        raise InputError(
            f"{parts} parts of {count} nodes", "between 1 part and one for each node", "Ask for fewer"
        )
    part, degree = bisect(mesh.points, parts), np.bincount(mesh.edges.ravel(), minlength=count)
    rows = int(np.bincount(part, minlength=parts).max())
    pieces = []
    for p in range(parts):
        own = np.flatnonzero(part == p)
        own = own[np.argsort(-degree[own], kind="stable")]
        cells = np.flatnonzero((part[mesh.cells] == p).any(axis=1))
        corners = np.unique(mesh.cells[cells])
        pieces.append(Part(mesh, own, corners[part[corners] != p], cells, rows))
    most = max(len(piece.borrowed) for piece in pieces)
    # position of each node in its own part, and among the values that all parts send
    local, offer = np.empty(count, np.int64), np.zeros(count, np.int64)
    borrowed = np.unique(np.concatenate([piece.borrowed for piece in pieces]))
    lent = [borrowed[part[borrowed] == p] for p in range(parts)]
    sent = max(map(len, lent))
    for p, piece in enumerate(pieces):
        local[piece.own] = np.arange(len(piece.own))
        offer[lent[p]] = p * sent + np.arange(len(lent[p]))
    halos = [
        Halo(
            jnp.asarray(_filled(local[lent[p]], sent), jnp.uint32),
            jnp.asarray(_filled(offer[piece.borrowed], most), jnp.uint32), axis,
        )
        for p, piece in enumerate(pieces)
    ]  # fmt: skip
    nodes = [
        np.r_[_filled(piece.own, rows), _filled(piece.borrowed, most)].astype(np.int32) for piece in pieces
    ]
    real = [
        np.r_[np.arange(rows) < len(piece.own), np.arange(most) < len(piece.borrowed)] for piece in pieces
    ]
    mass = [np.where(r, np.asarray(space.mass)[n], 1.0) for r, n in zip(real, nodes, strict=True)]
    layouts = _layouts(pieces, halos, rows, [degree[piece.own] for piece in pieces])
    edges = max(len(piece.ends) for piece in pieces)
    # an edge between two parts belongs to the lower one
    counted = [
        _filled(part[n[piece.ends]].min(axis=1) == p, edges)
        for p, (piece, n) in enumerate(zip(pieces, nodes, strict=True))
    ]
    return Partition(
        _spaces(space, pieces, mass, layouts, edges),
        jnp.asarray(np.stack(nodes)), _stacked([_filled(p.cells, _most_cells(pieces)) for p in pieces]),
        jnp.asarray(np.stack(real) & (np.arange(rows + most) < rows)[None]), jnp.asarray(np.stack(counted)),
        jnp.asarray(part * (rows + most) + local, jnp.int32),
    )  # fmt: skip


def _layouts(pieces: list[Part], halos: list[Halo], rows: int, degrees: list[np.ndarray]) -> list[Layout]:
    """The layouts of all parts in one shape: the same slices, of the same widths."""
    bounds = cuts(np.max([_filled(degree, rows) for degree in degrees], axis=0))
    first = [Layout(piece.points, piece.ends, rows=rows, bounds=bounds) for piece in pieces]
    runs = range(len(bounds) - 1)
    owned = [max(layout.slices[k].owned for layout in first) for k in runs]
    layouts = [Layout(piece.points, piece.ends, rows=rows, bounds=bounds, owned=owned) for piece in pieces]
    slots = [max(len(layout.slices[k].edges) for layout in layouts) for k in runs]
    edges = max(len(layout.owners) for layout in layouts)
    loose = max(layout.loose.shape[1] for layout in layouts)
    return [
        _padded(layout, halo, bounds, slots, edges, loose)
        for layout, halo in zip(layouts, halos, strict=True)
    ]


def _padded(layout: Layout, halo: Halo, bounds, slots, edges: int, loose: int) -> Layout:
    """A layout padded to the common shape: empty slots point to the node itself and to no edge."""
    slices, none = [], len(layout.owners)
    for k, piece in enumerate(layout.slices):
        more = slots[k] - len(piece.edges)
        own = np.tile(np.arange(bounds[k], bounds[k + 1], dtype=np.uint32), (more, 1))
        table = np.where(np.asarray(piece.edges) == none, edges, np.asarray(piece.edges))
        table = np.pad(table, ((0, more), (0, 0)), constant_values=edges)
        neighbours = np.concatenate([np.asarray(piece.neighbours), own])
        slices.append(Slice(jnp.asarray(neighbours), jnp.asarray(table), piece.owned))
    padded = (
        tuple(slices), jnp.pad(layout.loose, ((0, 0), (0, loose - layout.loose.shape[1]))),
        jnp.pad(layout.owners, (0, edges - none)), halo,
    )  # fmt: skip
    return eqx.tree_at(
        lambda m: (m.slices, m.loose, m.owners, m.halo), layout, padded, is_leaf=lambda x: x is None
    )


def _most_cells(pieces: list[Part]) -> int:
    return max(len(piece.cells) for piece in pieces)


def _spaces(space: Space, pieces: list[Part], mass, layouts: list[Layout], edges: int) -> Space:
    """The spaces of all parts, stacked. Cells and masses are those of the whole mesh."""
    wide, per_cell = _most_cells(pieces), np.asarray(space.cells).shape[1]
    pairs = per_cell * (per_cell - 1) // 2
    most = max(len(piece.terms) for piece in pieces)
    gradients, measures = np.asarray(space.gradients), np.asarray(space.measures)
    tables = []
    for piece in pieces:
        table = np.full((most, edges), wide * pairs, np.int32)
        none = len(piece.cells) * pairs
        table[: len(piece.terms), : len(piece.ends)] = np.where(
            piece.terms == none, wide * pairs, piece.terms
        )
        tables.append(table)
    return space.replaced(
        gradients=_stacked([_filled(gradients[piece.cells], wide) for piece in pieces]),
        measures=_stacked([_filled(measures[piece.cells], wide) for piece in pieces]),
        mass=_stacked(mass).astype(space.mass.dtype),
        cells=_stacked([_filled(piece.corners, wide) for piece in pieces]), edge_terms=_stacked(tables),
        layout=jax.tree.map(lambda *leaves: jnp.stack(leaves), *layouts),
    )  # fmt: skip


def _filled(values: np.ndarray, size: int) -> np.ndarray:
    """The values, and zeros up to `size` rows."""
    return np.concatenate([values, np.zeros((size - len(values), *values.shape[1:]), values.dtype)])


def _stacked(arrays: list[np.ndarray]) -> Array:
    stacked = np.stack(arrays)
    return jnp.asarray(stacked.astype(np.int32) if stacked.dtype == np.int64 else stacked)
