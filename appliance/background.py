"""What goes on in the background for as long as the box runs, and is held up now and then."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod


class Background(ABC):
    """`_work` runs from `start` to `close`; it waits for `_running` wherever it may be held up. Belongs to one event loop."""

    def __init__(self, name: str) -> None:
        self._running = asyncio.Event()
        self._running.set()
        self._name = name
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def _work(self) -> None: ...

    def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._work(), name=self._name)

    async def close(self) -> None:
        """End it, wherever it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def set_paused(self, paused: bool) -> None:
        """Hold it up for as long as this is set."""
        if paused:
            self._running.clear()
        else:
            self._running.set()
