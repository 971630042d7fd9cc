"""Programs that several threads call."""

import threading
import time

import equinox as eqx
import jax.numpy as jnp

from jaxtwin.twin import compiled_once, of_each


def test_a_program_that_threads_share_is_compiled_once():
    """For each shape of its arguments; with a shape that is known the threads run side by side."""
    traced = []

    @compiled_once
    @eqx.filter_jit
    def mean(numbers, power):
        traced.append(numbers.shape)
        time.sleep(0.2)
        return jnp.mean(numbers**power)

    for size, power, programs in ((3, 2, 1), (3, 2, 1), (4, 2, 2), (4, 3, 3)):
        begin = threading.Barrier(4)
        found = [None] * 4

        def work(k, begin=begin, found=found, size=size, power=power):
            begin.wait()
            found[k] = float(mean(jnp.full(size, float(k)), power))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [float(k) ** power for k in range(4)]
        assert len(traced) == programs


def test_what_each_map_gives_is_in_their_order():
    assert of_each(lambda k: jnp.asarray(k) ** 2, [3, 1, 2]) == [9, 1, 4]
