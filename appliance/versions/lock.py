"""The update lock: a lease under which no model is swapped, for a robot that must not be changed while it works."""

from __future__ import annotations

import math
from collections.abc import Callable

from models.errors import InvalidInput

MAX_SECONDS = 24 * 3600.0
"""The longest lease. Whoever needs more asks again; a robot that is gone does not keep its box from updates for ever."""


class UpdateLock:
    """Ends by itself. Kept in memory: after a restart, which loads the model anyway, there is none.

    `clock` counts seconds and never jumps. `on_change` is told when a lease was given or taken back.
    """

    def __init__(self, clock: Callable[[], float], on_change: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self._until = -math.inf
        self.on_change = on_change

    @property
    def until(self) -> float:
        """When the lease ends, or has ended, on the clock."""
        return self._until

    @property
    def seconds_left(self) -> float:
        """0 where there is no lease."""
        return max(0.0, self._until - self._clock())

    def hold(self, seconds: float) -> None:
        """Have a lease of that length from now on, in place of an earlier one; 0 takes it back. Raises `InvalidInput`."""
        if not 0 <= seconds <= MAX_SECONDS:  # NaN is neither
            raise InvalidInput(
                f"An update lock of {seconds:g} seconds is not given; it should be from 0 to {MAX_SECONDS:.0f} seconds, "
                "and may be asked for again before it ends"
            )
        self._until = self._clock() + seconds if seconds else -math.inf
        self.on_change()

    def release(self) -> None:
        """Take the lease back, if there is one."""
        self.hold(0)
