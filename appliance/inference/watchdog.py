"""A worker that has something to do gives an answer now and then, or it hangs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)


class Watched(Protocol):
    """What the watchdog has to know of a worker."""

    @property
    def pid(self) -> int: ...

    @property
    def busy(self) -> int: ...

    @property
    def gone(self) -> asyncio.Future[str]: ...

    def kill(self) -> None: ...


class Watchdog:
    """Kills a worker that is busy and has shown no sign of life for `deadline` seconds. Ends with the worker."""

    def __init__(self, worker: Watched, deadline: float, on_hang: Callable[[], None]) -> None:
        self._worker = worker
        self._deadline = deadline
        self._on_hang = on_hang
        self._last_sign = 0.0
        self._watching = False

    def feed(self) -> None:
        """It has answered, or was idle and gets something to do now."""
        self._last_sign = asyncio.get_running_loop().time()
        if not self._watching:
            self._look_again()

    def _look_again(self) -> None:
        self._watching = True
        asyncio.get_running_loop().call_at(self._last_sign + self._deadline, self._look)

    def _look(self) -> None:
        self._watching = False
        if not self._worker.busy or self._worker.gone.done():
            return
        # Signs of life do not move the timer: there are many of them, and it is late only seldom.
        if asyncio.get_running_loop().time() < self._last_sign + self._deadline:
            self._look_again()
            return
        log.error("worker %d has answered nothing for %g s, it is killed", self._worker.pid, self._deadline)
        self._on_hang()
        self._worker.kill()
