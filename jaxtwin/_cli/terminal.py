"""The terminal: notes, progress, and JAX set up for a command."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def say(text: str) -> None:
    """A note for the user."""
    console.print(f"  {text}", markup=False)


@contextmanager
def bar(name: str, state: str) -> Iterator[Callable[[float, float, str], None]]:
    """A progress bar with what is known, the time gone and the time left: update(done, all, state).

    It vanishes where the block ends with an error, so that the message stands alone.
    """
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console,
    ) as progress:  # fmt: skip
        task = progress.add_task(name, total=None, state=state)
        try:
            yield lambda done, total, now: progress.update(task, completed=done, total=total, state=now)
        except BaseException:
            progress.live.transient = True
            raise


def configure(precision: str) -> None:
    """Sets JAX's precision and its cache of compiled programs, before anything is computed."""
    jax.config.update("jax_enable_x64", precision == "float64")
    cache = Path(os.environ.get("JAXTWIN_CACHE", Path.home() / ".cache" / "jaxtwin"))
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def of_iterations(update: Callable[[float, float, str], None]):
    """The report of a fit for a progress bar."""

    def report(iteration: int, iterations: int, now) -> None:
        state = f"{iteration}/{iterations}  loss {now.loss:.1f}  RMSE {now.rmse_ms:.2f} ms"
        update(iteration, iterations, state)

    return report


def of_beats(update: Callable[[float, float, str], None], beats: int):
    """The report of a simulation of several beats for a progress bar."""

    def report(now: float, end: float, beat: int) -> None:
        state = f"{now:.0f} of {end:.0f} ms" + (f", beat {beat} of {beats}" if beats > 1 else "")
        update(now, end, state)

    return report
