"""Simulating several maps in parallel."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax

from .._processors import processors


def at_once(maps: int) -> int:
    """Number of maps that are simulated in parallel: one per core of a CPU, one on other devices."""
    return min(maps, processors()) if jax.default_backend() == "cpu" else 1


def of_each(work: Callable, maps: Sequence) -> list:
    """`work` applied to every map. On a CPU as many in parallel as there are cores, since one beat occupies
    one core; on other devices sequentially, within the memory of one gradient."""
    with ThreadPoolExecutor(at_once(len(maps))) as pool:
        return list(pool.map(lambda one: jax.block_until_ready(work(one)), maps))
