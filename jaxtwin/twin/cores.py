"""Simulating several maps in parallel."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import wraps

import equinox as eqx
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


def compiled_once(function: Callable) -> Callable:
    """A compiled function that several threads call: the first call with arguments of new shapes runs alone,
    so that its program is not compiled once in each thread."""
    known, lock = set(), threading.Lock()

    @wraps(function)
    def call(*arguments):
        arrays, others = eqx.partition(arguments, eqx.is_array)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays))
        key = jax.tree.structure(arrays), shapes, tuple(jax.tree.leaves(others))
        if key in known:
            return function(*arguments)
        with lock:
            found = jax.block_until_ready(function(*arguments))
            known.add(key)
            return found

    return call
