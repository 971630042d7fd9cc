"""mapping data as systems export them: read, checked, stored, made into hearts, exported"""

from .fuzz import fuzz
from .large import large
from .real import carto, round_trips
from .two_commands import two_commands

BENCHMARKS = {
    "carto": carto,
    "round-trips": round_trips,
    "two-commands": two_commands,
    "two-commands-no-fibres": lambda: two_commands(fibres=False),
    "large": large,
    "fuzz": fuzz,
}
