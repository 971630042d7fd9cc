"""Travelling windows that follow the waves of a fit from one evaluation to the next."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float

from ..monodomain import AHEAD, BEHIND, Window, eikonal, travelling_windows
from ..twin import PlacedMap, Theta, Twin, of_each
from .log_speed import speed_tensor
from .map_loss import stays
from .problem import Problem

SMALL = 4000  # nodes below which a window saves nothing
WORTH = 0.5  # share of the node-steps above which it does not either
SLACK = 2.0  # ms by which a predicted arrival may be wrong, or move before the window is made anew


class Following:
    """The windows of all maps of a fit.

    The predicted arrival at new parameters is that of the last simulation of the map plus the change of its
    eikonal wave since then. There is no window before the first simulation, for beats of several pulses, and
    for evidence with a recorder of its own.
    """

    def __init__(self):
        self._seen: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # simulated and eikonal arrival
        self._made: dict[int, np.ndarray] = {}  # arrival around which the window of a map was made
        self._windows: list[Window] = []  # of all maps, of one shape
        self._eikonal: dict[int, np.ndarray] = {}
        self.shape: tuple[int, ...] = ()  # of the last windows
        self._resumed = False

    def windows(self, problem: Problem, placed: tuple[PlacedMap, ...], white: Theta) -> list[Window | None]:
        """The window of each map at these parameters; None where all nodes are to be stepped."""
        if not all(may_travel(problem, one) for one in placed):
            return [None for _ in placed]
        theta = problem.prior.at(white)
        waves = of_each(lambda one: eikonal_arrival(problem.twin, theta, one), placed)
        self._eikonal = dict(enumerate(waves))
        if not all(k in self._seen for k in self._eikonal):
            return [None for _ in placed]
        self._follow(problem.twin)
        return [worth(window) for window in self._windows]

    def saw(self, activation: tuple[Float[Array, " nodes"], ...]) -> None:
        """Stores the simulated activation at the parameters of the last call of `windows`."""
        for k, eikonal_now in self._eikonal.items():
            lat = np.asarray(activation[k], np.float64)
            if np.isfinite(lat).any():
                self._seen[k] = lat, eikonal_now

    def arrays(self, maps: int) -> Float[np.ndarray, "three maps nodes"] | None:
        """The state for `resume`, with `shape`; None until all maps have a window."""
        if not all(k in self._seen and k in self._made for k in range(maps)):
            return None
        return np.stack([[*self._seen[k], self._made[k]] for k in range(maps)], axis=1)

    def resume(
        self, arrays: Float[np.ndarray, "three maps nodes"], shape: tuple[int, ...], at_seen: bool
    ) -> None:
        """Restores a saved state. `at_seen`: the next evaluation repeats the last one, and so uses the same
        windows; a resumed fit then ends with the same digits as an uninterrupted one."""
        for k, (lat, wave, made) in enumerate(zip(*arrays, strict=True)):
            self._seen[k], self._made[k] = (lat, wave), made
        self.shape, self._resumed = shape, at_seen

    def _follow(self, twin: Twin) -> None:
        """Makes windows where there are none, or where a wave has moved away from its own."""
        moved = not self._windows
        for k, eikonal_now in self._eikonal.items():
            simulated, eikonal_then = self._seen[k]
            expected = simulated + np.nan_to_num(eikonal_now - eikonal_then)
            if k not in self._made or not (self._resumed or _near(self._made[k], expected)):
                self._made[k], moved = expected, True
        self._resumed = False
        if moved:
            self._windows = windows_around(twin, list(self._made.values()), self.shape)
            self.shape = self._windows[0].shape


def _near(made: np.ndarray, expected: np.ndarray) -> bool:
    same = np.isfinite(made) == np.isfinite(expected)
    return bool(same.all() and np.nanmax(np.abs(made - expected), initial=0.0) <= SLACK / 2)


def may_travel(problem: Problem, placed: PlacedMap) -> bool:
    """Whether a window can save work: one pulse, many nodes, and evidence from arrival times only."""
    alone = placed.beat.stimulus.pulses == 1 and problem.twin.space.nodes >= SMALL
    return alone and all(one.recorder(problem.twin, placed) is None for one in problem.evidence)


def windows_around(twin: Twin, arrivals: Sequence[np.ndarray], least: tuple[int, ...] = ()) -> list[Window]:
    """The windows of a twin around predicted arrivals, with some slack; `least`: see `travelling_windows`."""
    return travelling_windows(
        twin.space.layout, arrivals, twin.times, behind=BEHIND + SLACK, ahead=AHEAD + SLACK, least=least
    )


def worth(window: Window) -> Window | None:
    """The window if it saves work."""
    return window if window.share <= WORTH else None


def eikonal_arrival(twin: Twin, theta: Theta, placed: PlacedMap) -> Float[np.ndarray, " nodes"]:
    """Arrival of the eikonal wave of a map at the nodes, ms."""
    diffusivity, speed = speed_tensor(twin, theta)
    gradients = np.asarray(twin.space.gradients)
    return eikonal(twin.mesh, np.asarray(diffusivity), float(speed), *placed.beat.starts(), gradients)[0]


def windows_at(
    problem: Problem,
    placed: tuple[PlacedMap, ...],
    white: Theta,
    activation: tuple[Float[Array, " nodes"], ...],
) -> list[Window | None]:
    """The window of each map around a known activation at these parameters; None where the front would leave
    it."""

    lat = [np.asarray(each, np.float64) for each in activation]
    travels = [may_travel(problem, o) and np.isfinite(a).any() for o, a in zip(placed, lat, strict=True)]
    if not any(travels):
        return [None for _ in placed]
    windows = iter(windows_around(problem.twin, [a for a, t in zip(lat, travels, strict=True) if t]))
    each = [(one, worth(next(windows)) if t else None) for one, t in zip(placed, travels, strict=True)]
    kept = of_each(lambda pair: pair[1] is not None and stays(white, problem, *pair), each)
    return [window if stay else None for (_, window), stay in zip(each, kept, strict=True)]
