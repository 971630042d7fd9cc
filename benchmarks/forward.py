"""the solver and its gradient: what they cost, and how wrong they are"""

from . import accuracy, implicit, peers, speed

BENCHMARKS = {
    "dispersion": accuracy.dispersion,
    "sheet": speed.sheet,
    "atrium": speed.atrium,
    "scaling": speed.scaling,
    "assembly": speed.assembly,
    "batch": speed.batch,
    "peers": peers.peers,
    "implicit": implicit.implicit,
}
