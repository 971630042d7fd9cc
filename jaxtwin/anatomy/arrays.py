"""The arrays of a file that hold fibres and regions, recognised by the names that tools use."""

import re
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int

Arrays = dict[str, np.ndarray]

# The most specific first, compared without case and punctuation. longitudinal_fibres and cell_region come
# from OpenEP, fiber and elemTag from openCARP, carputils and Meshtool, f0 from ldrb and pulse, l_cell from
# FiberNet, FIB_DIR from SimVascular.
FIBRE_NAMES = tuple(
    f"{first}{fibre}{last}"
    for first, last in (("longitudinal", "s"), ("longitudinal", ""), ("", "s"), ("", ""))
    for fibre in ("fibre", "fiber")
)
FIBRE_NAMES += tuple(
    f"{fibre}{last}"
    for last in ("direction", "directions", "orientation", "orientations", "vector", "vectors")
    for fibre in ("fibre", "fiber", "fibres", "fibers")
)
FIBRE_NAMES += ("fibdir", "f0", "lcell")
REGION_NAMES = ("regions", "region", "cellregion", "cellregions", "regionid", "regionids", "elemtag")
REGION_NAMES += ("elemtags", "tag", "tags", "celltag", "celltags", "elementtag", "elementtags")
REGION_NAMES += ("anatomicaltag", "anatomicaltags", "cellentityids", "gmshphysical", "meditref")
REGION_NAMES += ("material", "materials", "materialid", "materialids", "label", "labels")


def find_fibres(
    point_data: Arrays, cell_data: Arrays, cells: Int[np.ndarray, "cells corners"]
) -> tuple[Float[np.ndarray, "cells 3"], str]:
    """Axes of the cells from the array whose name matches fibres best, on cells or on points, and a note on
    it.

    Among several, a placeholder that points along x everywhere comes last, and cell arrays come before point
    arrays. Vectors on points become those of cells as axes, f equivalent to -f: the first eigenvector of the
    sum of f (x) f over the corners. Without any, all axes are (1, 0, 0).
    """
    found = [
        (_is_placeholder(array), where != "cell", FIBRE_NAMES.index(_plain(name)), where, name, array)
        for where, data in (("cell", cell_data), ("point", point_data))
        for name, array in data.items()
        if _plain(name) in FIBRE_NAMES and _are_vectors(array)
    ]
    if not found:
        axes = np.zeros((len(cells), 3))
        axes[:, 0] = 1.0
        others = [name for data in (cell_data, point_data) for name in data if _are_vectors(data[name])]
        return axes, "no vectors named like fibres" + _listed("vectors of other names", others)
    *_, where, name, array = min(found, key=lambda each: each[:3])
    others = [f"{each[3]} array {each[4]!r}" for each in found if each[5] is not array]
    note, rest = f"fibres taken from {where} array {name!r}", _listed("not from", others)
    if where == "point":
        return _axes_of_cells(array, cells), f"{note}, averaged to cells as axes{rest}"
    return array.astype(np.float64), note + rest


def find_regions(cell_data: Arrays, count: int) -> tuple[Int[np.ndarray, " cells"], str]:
    """Tags of the cells from the integer array whose name matches regions best, or 0, and a note."""
    whole = [name for name, array in cell_data.items() if _are_tags(array)]
    found = sorted(
        (name for name in whole if _plain(name) in REGION_NAMES), key=lambda n: REGION_NAMES.index(_plain(n))
    )
    if not found:
        note = "no whole numbers on cells named like regions: all cells in region 0"
        return np.zeros(count, np.int32), note + _listed("whole numbers of other names", whole)
    tags = cell_data[found[0]].reshape(count).astype(np.int32)
    others = [f"{name!r}" for name in found[1:]]
    return tags, f"regions taken from cell array {found[0]!r}" + _listed("not from", others)


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _listed(what: str, names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f" ({what}: {', '.join(names[:5])}{more})" if names else ""


def _are_vectors(array: np.ndarray) -> bool:
    return array.shape[1:] == (3,) and array.dtype.kind == "f"


def _is_placeholder(array: np.ndarray) -> bool:
    return bool((np.abs(array[:, 0]) > 0).all() and (array[:, 1:] == 0).all())


def _are_tags(array: np.ndarray) -> bool:
    if array.shape not in ((len(array),), (len(array), 1)) or array.dtype.kind not in "buif":
        return False
    within = np.isfinite(array).all() and (np.abs(array.astype(np.float64)) < 2**31).all()
    return bool(within and (array == np.round(array)).all())


def _axes_of_cells(vectors, cells):
    """The axis closest to those of the corners; zero if no corner has one."""
    size = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    known = np.isfinite(size) & (size > 0)
    unit = np.divide(vectors, size, out=np.zeros((len(vectors), 3)), where=known)
    corner = unit[cells]
    value, vector = np.linalg.eigh(np.einsum("cki,ckj->cij", corner, corner))
    return np.where(value[:, -1:] > 0, vector[..., -1], 0.0)
