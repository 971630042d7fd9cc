"""The size of a heart, and what an unusual size implies about the unit of its file."""

import numpy as np

from .._results import InputError
from .mesh import Mesh

POSSIBLE = (0.2, 1000.0)  # mm, from a piece of tissue to more than any heart
RODENT, HORSE = 18.0, 300.0  # mm: hearts of mice and rats are shorter, those of horses not longer
ROUND = 0.35  # shortest over longest side of the bounding box, above which tissue may be a chamber


def size_warnings(mesh: Mesh, name: str, unit: str = "auto") -> tuple[str, ...]:
    """Warnings on an unusual size of a mesh in mm, read from the file `name` in `unit`.

    Chambers are 40 to 130 mm long in adults, 250 in a horse, 6 to 15 in a mouse or a rat; a human heart in
    centimetres looks like the last. Sheets, slabs and cables may have any size. Raises `InputError` for a
    mesh of less than 0.2 mm or more than 1000 mm.
    """
    box = np.ptp(mesh.points, axis=0)
    size = float(box.max())
    if not POSSIBLE[0] <= size <= POSSIBLE[1]:
        raise InputError(
            f'unit = "{unit}", which makes {name} {size:.3g} mm long',
            "a heart of 0.2 to 1000 mm",
            'Set unit to that of the file ("um", "mm", "cm" or "m"), or leave it out to have it recognised',
        )
    if size > HORSE:
        return (
            f"The mesh is {size:.3g} mm long, which is unusual for a heart, even of a horse: check unit.",
        )
    if mesh.dim == 3 and box.min() > ROUND * size and size < RODENT:
        sides = " x ".join(f"{side:.2g}" for side in box)
        return (
            f"The mesh is {sides} mm large, as the heart of a mouse or a rat. If it is a human one, the file "
            'is probably in centimetres: set unit = "cm".',
        )
    return ()
