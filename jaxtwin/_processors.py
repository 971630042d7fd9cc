"""The number of processors that this process may use."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def processors() -> int:
    """Processors that this process may use, at least 1: its affinity mask (a Slurm share, `taskset`) within
    the quota of its control group (a container). `os.cpu_count()` counts those of the whole machine."""
    masked = hasattr(os, "sched_getaffinity")  # not on macOS and Windows
    allowed = len(os.sched_getaffinity(0)) if masked else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota())))


def _quota() -> float:
    """Processors that the control group grants, infinite without a limit (version 2, then version 1)."""
    texts = _text("cpu.max").split() or [_text("cpu/cpu.cfs_quota_us"), _text("cpu/cpu.cfs_period_us")]
    try:
        quota, period = map(float, texts)
    except ValueError:  # "max", or no control group
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf


def _text(name: str) -> str:
    try:
        return (CGROUP / name).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
