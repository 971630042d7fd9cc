"""As many maps at once as there are cores."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax

from .._processors import processors


def at_once(maps: int) -> int:
    """Number of maps that are simulated at the same time: one per core of a CPU, one elsewhere."""
    return min(maps, processors()) if jax.default_backend() == "cpu" else 1


def of_each(work: Callable, maps: Sequence) -> list:
    """`work` done for every map. On a CPU as many at once as there are cores, since one beat keeps one core
    busy; elsewhere one after another, in the memory of one gradient."""
    with ThreadPoolExecutor(at_once(len(maps))) as pool:
        return list(pool.map(lambda one: jax.block_until_ready(work(one)), maps))
