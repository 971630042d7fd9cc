"""Column names of tables: their quantity and unit."""

import re

LENGTHS = {"mm": 1.0, "cm": 10.0, "m": 1e3, "um": 1e-3, "\N{GREEK SMALL LETTER MU}m": 1e-3}
TIMES = {"ms": 1.0, "msec": 1.0, "s": 1e3, "sec": 1e3, "us": 1e-3, "\N{GREEK SMALL LETTER MU}s": 1e-3}
VOLTAGES = {"mv": 1.0, "v": 1e3, "uv": 1e-3, "\N{GREEK SMALL LETTER MU}v": 1e-3}

# plain names of LAT arrays, the most specific first
LATS = ("lat_ms", "lat", "local_activation_time", "activation_time", "activation_times", "activation", "act")
_AXES = {f"{axis}_mm": (axis, f"points_{k}", f"point_{k}", f"coordinates_{k}", f"coord_{axis}", f"pos_{axis}",
                        f"position_{axis}", f"{axis}_coordinate")
         for k, axis in enumerate("xyz")}  # fmt: skip
# quantity in the unit of the package -> its units and names, the most specific first
KNOWN: dict[str, tuple[dict[str, float], tuple[str, ...]]] = {
    **{name: (LENGTHS, aliases) for name, aliases in _AXES.items()},
    "lat_ms": (TIMES, LATS[1:]),
    "map_id": ({}, ("map_id",)),
    "bipolar_mv": (VOLTAGES, ("bipolar", "bipolar_voltage", "bip")),
    "unipolar_mv": (VOLTAGES, ("unipolar", "unipolar_voltage", "uni")),
    "sigma_ms": (TIMES, ("sigma",)),
    "woi_from_ms": (TIMES, ("woi_from",)),
    "woi_to_ms": (TIMES, ("woi_to",)),
    "silent": ({}, ("silent",)),
}
_UNIT = re.compile(r"(.+?)(?:[\s_]+|\s*[\[(]\s*|\s*/\s*|,\s*)([^\W\d_]{1,4})\s*[\])]?")


def plain(name: str) -> str:
    """A name in lower case, its punctuation as single underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def quantity(title: str) -> tuple[str, int, float, bool] | None:
    """The quantity of a column title: name, rank among its names (0 is the most specific), factor to the unit
    of the package, and whether the title contains a unit; None for an unknown title.

    "LAT [s]" is ("lat_ms", 1, 1000.0, True), "Points:0" is ("x_mm", 2, 1.0, False).
    """
    title = title.casefold().strip()  # turns the micro sign into a Greek mu
    found = _UNIT.fullmatch(title)
    for name, (units, aliases) in KNOWN.items():
        if plain(title) == name:
            return name, 0, 1.0, True
        if found and found[2] in units and plain(found[1]) in aliases:
            return name, 1 + aliases.index(plain(found[1])), units[found[2]], True
        if plain(title) in aliases:
            return name, 1 + aliases.index(plain(title)), 1.0, not units
    return None
