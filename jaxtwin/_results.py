"""What a user is told when something cannot be done: what was got, what was wanted, what to do."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Input that cannot be used. The command line prints it as one paragraph and exits with 2.

    `got`, `wanted` and `do` are plain sentences or phrases without a closing full stop.
    """

    def __init__(self, got: str, wanted: str, do: str):
        self.got, self.wanted, self.do = got, wanted, do
        super().__init__(f"Got {got}. Wanted {wanted}. {do}.")


def nearest(name: str, known: Iterable[str]) -> str:
    """What was wanted in the place of an unknown name: the most similar one first, then all."""
    every = list(known)
    close = difflib.get_close_matches(name.lower(), [each.lower() for each in every], 1, 0.5)
    alike = [each for each in every if each.lower() in close][:1]
    return "".join(f"perhaps {each}; " for each in alike) + f"one of {', '.join(every)}"


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Errors of input inside the block name this file, where they do not yet."""
    try:
        yield
    except InputError as error:
        if Path(path).name in error.got:
            raise
        raise InputError(f"{path}: {error.got}", error.wanted, error.do) from error


class SilentWarning(UserWarning):
    """A solve in which no node was activated, though recorders of activation were there."""


class SolveError(RuntimeError):
    """A computation that started on good input and failed. The command line exits with 1."""
