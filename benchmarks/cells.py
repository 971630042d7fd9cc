"""Single cells against solutions of their published files."""

from typing import Any

# Beat 100 at 1 Hz by Myokit 1.39.2 with Sundials 6.4.1, tolerances 1e-8, of the files in
# github.com/Chaste/cellml@8c9c042: strength (mV/ms) and duration (ms) of their stimulus; rest and peak (mV),
# largest dV/dt (mV/ms), APD50 and APD90 (ms)
BEATS = {
    "TenTusscherPanfilov": ("", 52.0, 1.0, (-85.469, 37.962, 380.17, 275.22, 303.02)),
    "TenTusscherPanfilov endo": ("endo", 52.0, 1.0, (-86.032, 38.969, 383.54, 270.81, 298.89)),
    "TenTusscherPanfilov mid": ("mid", 52.0, 1.0, (-85.880, 37.804, 382.87, 363.21, 394.36)),
    "Courtemanche": ("", 20.0, 2.0, (-81.149, 23.331, 213.76, 164.95, 291.66)),
}


def beats() -> dict[str, Any]:
    """The largest error of each figure of beat 100 over all cells, with the step of `jaxtwin cell`."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jaxtwin as jt

    runs, names = {}, ("rest", "peak", "upstroke", "apd50_ms", "apd90_ms")
    for name, (variant, strength, duration, reference) in BEATS.items():
        kind = getattr(jt, name.split()[0])
        model = getattr(kind, variant)() if variant else kind()
        paced = jt.pace(model, (1000.0,), prepacing=99, strength=strength, duration_ms=duration)
        found = jt.action_potentials(paced)
        runs[name] = {key: float(getattr(found, key)[0]) for key in names}
        runs[name] |= {
            f"{key}_error": abs(runs[name][key] - wanted)
            for key, wanted in zip(names, reference, strict=True)
        }
        runs[name]["upstroke_error"] /= reference[2]
    return {
        f"largest_{key}_error": max(run[f"{key}_error"] for run in runs.values()) for key in names
    } | {"runs": runs}  # fmt: skip


BENCHMARKS = {"beats": beats}
