"""The heart as data: meshes with fibres and regions, read, generated, repaired and written."""

from .fibres import across_fibres
from .generate import atrial_shell, cable, sheet, slab, ventricular_ellipsoid
from .grid import MeshFile
from .heart import Heart, read_heart
from .holes import Closed, close_holes
from .intersections import intersecting
from .manifold import manifold
from .mesh import Mesh
from .meshfile import read_mesh, write_mesh
from .openings import Cut, Opening, cut, cut_at, openings
from .order import Reordered, reorder
from .quality import quality, stiffness_bound
from .refine import Refinement, refine, refine_with_map
from .refine_to import LocalRefinement, refine_to
from .remesh import Remeshed, edge_share, remesh
from .repair import Repaired, RepairReport, repair
from .spread import farthest_points
from .surface import Surface

__all__ = [
    "Closed", "Cut", "Heart", "LocalRefinement", "Mesh", "MeshFile", "Opening", "Refinement", "Remeshed",
    "Reordered", "RepairReport", "Repaired", "Surface", "across_fibres", "atrial_shell", "cable",
    "close_holes", "cut", "cut_at", "edge_share", "farthest_points", "intersecting", "manifold", "openings",
    "quality", "read_heart", "read_mesh", "refine", "refine_to", "refine_with_map", "remesh", "reorder",
    "repair", "sheet", "slab", "stiffness_bound", "ventricular_ellipsoid", "write_mesh",
]  # fmt: skip
