"""diffusivity and scar from maps with a known ground truth: errors, intervals, predictions"""

from .fibres import fibres
from .interruption import killed
from .intervals import covered
from .limits import null_space, refusals
from .real_map import real_map
from .restitution import restitution
from .sampled import sampled
from .sheet import heavy, sheet

BENCHMARKS = {
    "killed": killed,
    "null-space": null_space,
    "refusals": refusals,
    "fibres-clean": lambda: fibres(0.0),
    "fibres-1ms": lambda: fibres(1.0),
    "sheet-1ms": lambda: sheet("1"),
    "sheet-5ms": lambda: sheet("5"),
    "sheet-heavy": heavy,
    "sheet-other-cells": lambda: sheet("1", other_cells=True),
    "restitution-1ms": lambda: restitution(1.0),
    "restitution-clean": lambda: restitution(0.0),
    "real-100": lambda: real_map(100, 5.0),
    "real-200": lambda: real_map(200, 5.0),
    "real-500": lambda: real_map(500, 5.0),
    "real-500-physics": lambda: real_map(500, 0.0),
    "coverage-clean": lambda: covered(0.0, 1.0),
    "coverage-outliers": lambda: covered(0.05, 1.0),
    "coverage-coarse": lambda: covered(0.0, 0.5),
    "sampled": sampled,
}
