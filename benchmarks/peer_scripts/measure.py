"""What every peer's script does alike: runs the time loop, times it, reports one JSON line."""

import json
import time

import numpy as np


def measure(run, repeats: int):
    """Activation times of the last run; lowest CPU and wall seconds of the runs after the first."""
    seconds = []
    for _ in range(repeats + 1):
        begin, cpu = time.perf_counter(), time.process_time()
        lat = run()
        seconds.append((time.process_time() - cpu, time.perf_counter() - begin))
    cpu, wall = (min(column) for column in zip(*seconds[1:], strict=True))
    return lat, {"seconds": cpu, "wall_s": wall, "first_s": seconds[0][1]}


def nearest(points, at):
    """The node nearest to each point of `at`."""
    return [np.linalg.norm(points - np.asarray(place), axis=1).argmin() for place in at]


def report(**result):
    """Prints the result as one line."""
    print(json.dumps(result))
