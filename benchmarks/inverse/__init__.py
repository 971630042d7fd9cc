"""conductivity and scar from maps whose truth is known: errors, intervals, predictions"""

from .atrium import atrium
from .fibres import fibres
from .intervals import covered
from .limits import null_space, refusals
from .real_map import real_map
from .sheet import sheet

BENCHMARKS = {
    "atrium": atrium,
    "null-space": null_space,
    "refusals": refusals,
    "fibres-clean": lambda: fibres(0.0),
    "fibres-1ms": lambda: fibres(1.0),
    "sheet-1ms": lambda: sheet("1"),
    "sheet-5ms": lambda: sheet("5"),
    "sheet-8ms": lambda: sheet("8"),
    "sheet-heavy": lambda: sheet("heavy"),
    "real-100": lambda: real_map(100, 5.0),
    "real-200": lambda: real_map(200, 5.0),
    "real-500": lambda: real_map(500, 5.0),
    "real-500-physics": lambda: real_map(500, 0.0),
    "coverage-clean": lambda: covered(0.0, 1.0),
    "coverage-outliers": lambda: covered(0.05, 1.0),
    "coverage-coarse": lambda: covered(0.0, 0.5),
}
