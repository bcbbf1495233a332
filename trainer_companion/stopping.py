"""When a training ends before its last epoch: time is over, or somebody asked for it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopping:
    """Asked between steps. `minutes`: how long this training may take in all, None for as long as it wants.

    `elapsed` goes on where a resumed training had been (`resume`).
    """

    def __init__(self, minutes: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._before = 0.0
        self.seconds = None if minutes is None else minutes * 60
        self.requested = False

    def request(self) -> None:
        """End soon, keeping the best model."""
        self.requested = True

    def resume(self, elapsed: float) -> None:
        """An earlier process worked on this for `elapsed` seconds."""
        self._before = elapsed

    @property
    def elapsed(self) -> float:
        """Seconds of work so far, in all processes that worked on this one after the other."""
        return self._before + self._clock() - self._started


@contextmanager
def told_to_end(request: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call `request`, in place of ending the process; afterwards they do what they did before."""

    def told(number: int, frame: FrameType | None) -> None:
        del number, frame
        request()

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
