"""What a figure was measured on. No host name, no user name."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax


def machine() -> dict[str, Any]:
    """Processor, cores, devices and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "devices": [d.device_kind for d in jax.devices()],
        "python": platform.python_version(),
        "versions": {p: version(p) for p in ("jaxtwin", "jax", "jaxlib", "equinox", "optax")},
    }
