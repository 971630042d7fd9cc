"""What a user is told when something cannot be done: what was got, what was wanted, what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Input that cannot be used. The command line prints it as one paragraph and exits with 2.

    `got`, `wanted` and `do` are plain sentences or phrases without a closing full stop.
    """

    def __init__(self, got: str, wanted: str, do: str):
        self.got, self.wanted, self.do = got, wanted, do
        super().__init__(f"Got {got}. Wanted {wanted}. {do}.")


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
