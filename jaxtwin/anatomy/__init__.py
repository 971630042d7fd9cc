"""The heart as data: meshes with fibres and regions, read, generated, repaired and written."""

from .fibres import across_fibres
from .generate import atrial_shell, cable, sheet, slab, ventricular_ellipsoid
from .grid import MeshFile
from .heart import Heart, read_heart
from .mesh import Mesh
from .meshfile import read_mesh, write_mesh
from .openings import Cut, Opening, cut, cut_at, openings
from .order import Reordered, reorder
from .quality import quality, stiffness_bound
from .refine import Refinement, refine, refine_with_map
from .refine_to import LocalRefinement, refine_to
from .repair import Repaired, RepairReport, repair
from .spread import farthest_points
from .surface import Surface

__all__ = [
    "Cut", "Heart", "LocalRefinement", "Mesh", "MeshFile", "Opening", "Refinement", "Reordered",
    "RepairReport", "Repaired", "Surface", "across_fibres", "atrial_shell", "cable", "cut", "cut_at",
    "farthest_points", "openings", "quality", "read_heart", "read_mesh", "refine", "refine_to",
    "refine_with_map", "reorder", "repair", "sheet", "slab", "stiffness_bound", "ventricular_ellipsoid",
    "write_mesh",
]  # fmt: skip
