"""Travelling windows that follow the waves of a fit from one evaluation to the next."""

import numpy as np
from jaxtyping import Array, Float

from ..monodomain import AHEAD, BEHIND, Window, eikonal, travelling_window
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
        self._windows: dict[int, Window] = {}
        self._eikonal: dict[int, np.ndarray] = {}
        self._resumed = False

    def windows(self, problem: Problem, placed: tuple[PlacedMap, ...], white: Theta) -> list[Window | None]:
        """The window of each map at these parameters; None where all nodes are to be stepped."""
        if not all(may_travel(problem, one) for one in placed):
            return [None for _ in placed]
        theta = problem.prior.at(white)
        waves = of_each(lambda one: eikonal_arrival(problem.twin, theta, one), placed)
        self._eikonal = dict(enumerate(waves))
        windows = [self._window(problem.twin, k) for k in range(len(placed))]
        self._resumed = False
        return windows

    def saw(self, activation: tuple[Float[Array, " nodes"], ...]) -> None:
        """Stores the simulated activation at the parameters of the last call of `windows`."""
        for k, eikonal_now in self._eikonal.items():
            lat = np.asarray(activation[k], np.float64)
            if np.isfinite(lat).any():
                self._seen[k] = lat, eikonal_now

    def arrays(self, maps: int) -> Float[np.ndarray, "three maps nodes"] | None:
        """The state for `resume`; None until all maps have a window."""
        if not all(k in self._seen and k in self._made for k in range(maps)):
            return None
        return np.stack([[*self._seen[k], self._made[k]] for k in range(maps)], axis=1)

    def resume(self, arrays: Float[np.ndarray, "three maps nodes"], at_seen: bool) -> None:
        """Restores a saved state. `at_seen`: the next evaluation repeats the last one, and so uses the same
        windows; a resumed fit then ends with the same digits as an uninterrupted one."""
        for k, (lat, wave, made) in enumerate(zip(*arrays, strict=True)):
            self._seen[k], self._made[k] = (lat, wave), made
        self._resumed = at_seen

    def _window(self, twin: Twin, k: int) -> Window | None:
        if k not in self._seen:
            return None
        simulated, eikonal_then = self._seen[k]
        expected = simulated + np.nan_to_num(self._eikonal[k] - eikonal_then)
        made = self._made.get(k)
        if made is None or not (self._resumed or _near(made, expected)):
            self._made[k], made = expected, expected
            self._windows.pop(k, None)
        if k not in self._windows:
            like = max(self._windows.values(), key=lambda one: one.share, default=None)
            self._windows[k] = window_around(twin, made, like)
        return self._windows[k] if self._windows[k].share <= WORTH else None


def _near(made: np.ndarray, expected: np.ndarray) -> bool:
    same = np.isfinite(made) == np.isfinite(expected)
    return bool(same.all() and np.nanmax(np.abs(made - expected), initial=0.0) <= SLACK / 2)


def may_travel(problem: Problem, placed: PlacedMap) -> bool:
    """Whether a window can save work: one pulse, many nodes, and evidence from arrival times only."""
    alone = placed.beat.stimulus.pulses == 1 and problem.twin.space.nodes >= SMALL
    return alone and all(one.recorder(problem.twin, placed) is None for one in problem.evidence)


def window_around(twin: Twin, arrival: np.ndarray, like: Window | None = None) -> Window:
    """The window of a twin around a predicted arrival, with some slack; `like`: see `travelling_window`."""
    return travelling_window(
        twin.space.layout, arrival, twin.times, behind=BEHIND + SLACK, ahead=AHEAD + SLACK, like=like
    )


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

    def around(pair) -> Window | None:
        one, lat = pair[0], np.asarray(pair[1], np.float64)
        if not (may_travel(problem, one) and np.isfinite(lat).any()):
            return None
        window = window_around(problem.twin, lat)
        return window if window.share <= WORTH and stays(white, problem, one, window) else None

    return of_each(around, list(zip(placed, activation, strict=True)))
