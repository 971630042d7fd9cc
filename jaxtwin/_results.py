"""What a user is told when something cannot be done: what was got, what was wanted, what to do."""


class InputError(ValueError):
    """Input that cannot be used. The command line prints it as one paragraph and exits with 2.

    `got`, `wanted` and `do` are plain sentences or phrases without a closing full stop.
    """

    def __init__(self, got: str, wanted: str, do: str):
        self.got, self.wanted, self.do = got, wanted, do
        super().__init__(f"Got {got}. Wanted {wanted}. {do}.")


class SolveError(RuntimeError):
    """A computation that started on good input and failed. The command line exits with 1."""
