"""The time grid."""

import equinox as eqx
import numpy as np

from .._results import InputError


class Times(eqx.Module):
    """The time grid of a solve: from `start` to `stop` in steps of `dt`, ms.

    It is static: another grid compiles another program.

    **Example:** `jt.Times(200.0, 0.1)` is 0 to 200 ms in steps of 0.1 ms.
    """

    stop: float = eqx.field(static=True)
    dt: float = eqx.field(static=True, default=0.2)
    start: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        if not (
            np.isfinite([self.start, self.stop, self.dt]).all() and self.dt > 0 and self.stop > self.start
        ):
            raise InputError(
                f"times from {self.start} to {self.stop} ms in steps of {self.dt} ms",
                "a positive step and an end after the start", "Correct the times",
            )  # fmt: skip

    @property
    def steps(self) -> int:
        """Number of steps; the last one may end after `stop` by less than one step."""
        return max(1, int(np.ceil((self.stop - self.start) / self.dt - 1e-6)))
