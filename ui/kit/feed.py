"""What is so now, told to whoever looks: read once for all who look, newest only, and not at all when nobody does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class Feed(Generic[T]):
    """A value that changes, with a name for the log.

    `read` is asked every `every` seconds for as long as somebody is subscribed, at once after `poke`, and its answer is
    told if it differs from the one before. Each subscriber has a place for one value: who is slow gets the newest, never
    a queue. `on_unwatched` is called when the last one has gone. Belongs to one event loop.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Awaitable[T]],
        every: float,
        *,
        on_unwatched: Callable[[], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._read = read
        self._every = every
        self._on_unwatched = on_unwatched
        self._sleep = sleep
        self._subscribers: set[Subscription[T]] = set()
        self._reading: asyncio.Task[None] | None = None
        self._poked = asyncio.Event()

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return bool(self._subscribers)

    async def now(self) -> T:
        """What is so now, read for the asker alone."""
        return await self._read()

    def poke(self) -> None:
        """Something was changed: look again at once, if anybody looks."""
        self._poked.set()

    @contextmanager
    def subscribe(self) -> Iterator[Subscription[T]]:
        """Be told, for as long as the context lasts; begins with what is so now."""
        subscription: Subscription[T] = Subscription()
        self._subscribers.add(subscription)
        self._poked.set()
        if self._reading is None:
            self._reading = asyncio.create_task(self._keep_reading(), name=f"feed {self._name}")
        try:
            yield subscription
        finally:
            self._subscribers.discard(subscription)
            if not self._subscribers and self._reading is not None:
                self._reading.cancel()
                self._reading = None
                if self._on_unwatched is not None:
                    self._on_unwatched()

    async def _keep_reading(self) -> None:
        while True:
            self._poked.clear()
            try:
                value = await self._read()
            except Exception:  # a page that shows what was so is better than none; the next look may succeed
                log.exception("cannot read %s", self._name)
            else:
                for subscription in self._subscribers:
                    subscription.offer(value)
            await self._pause()

    async def _pause(self) -> None:
        pause, poke = asyncio.ensure_future(self._sleep(self._every)), asyncio.ensure_future(self._poked.wait())
        try:
            await asyncio.wait({pause, poke}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            poke.cancel()


class Subscription(Generic[T]):
    """The place for the newest value. Iterate: each step waits for one that differs from the last that was taken."""

    def __init__(self) -> None:
        self._arrived = asyncio.Event()
        self._newest: T | None = None
        self._taken: T | None = None

    def offer(self, value: T) -> None:
        """Put a value there, in place of one that nobody has taken."""
        if value == self._taken:
            self._arrived.clear()
            return
        self._newest = value
        self._arrived.set()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        await self._arrived.wait()
        self._arrived.clear()
        assert self._newest is not None
        self._taken = self._newest
        return self._newest
