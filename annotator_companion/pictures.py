"""The pictures that people are annotating: fetched once, decoded once, forgotten when others need the room."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import NamedTuple

from annotator_companion.tools.base import Picture
from models.errors import DetectorApplianceError
from models.images import ImageLimits, prepare, read_header

FAILURE_RESTS_S = 5.0
"""A picture that could not be had is not asked for again for so long: the mouse moves on meanwhile."""

MOST_FAILURES = 256
MOST_AT_ONCE = 4
"""Pictures that are fetched or decoded at the same time."""


class PictureKey(NamedTuple):
    """Which picture of a Loop."""

    organization: str
    project: str
    image_id: str


Fetch = Callable[[PictureKey], Awaitable[bytes]]
"""The bytes of a picture; raises every kind of `LoopError`."""


class Pictures:
    """Decoded pictures, `most_bytes` of them at most, the one that was not used for the longest time going first.

    Belongs to one event loop; decodes in `threads`.
    """

    def __init__(
        self, fetch: Fetch, threads: Executor, most_bytes: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._threads = threads
        self._most_bytes = most_bytes
        self._now = now
        self._kept: OrderedDict[PictureKey, Picture] = OrderedDict()
        self._coming: dict[PictureKey, asyncio.Task[Picture]] = {}
        self._failures: OrderedDict[PictureKey, tuple[DetectorApplianceError, float]] = OrderedDict()
        self._limits = ImageLimits(max_pixels=max(min(ImageLimits().max_pixels, most_bytes // 3), 1))
        self._doors = asyncio.Semaphore(MOST_AT_ONCE)
        self.fetched = 0

    @property
    def bytes(self) -> int:
        """What is kept, decoded."""
        return sum(picture.pixels.nbytes for picture in self._kept.values())

    async def get(self, key: PictureKey) -> Picture:
        """The picture as displayed. Raises `LoopError`s, `ImageUnreadable`, and `InputTooLarge` beyond the bound."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key in self._failures:
            error, since = self._failures[key]
            if self._now() - since < FAILURE_RESTS_S:
                raise copy.copy(error)
        task = self._coming.get(key)
        if task is None:
            task = self._coming[key] = asyncio.create_task(self._have(key), name="a picture of the Loop")
            task.add_done_callback(lambda done: self._came(key, done))
        # Others may wait for it, too: who gives up does not end it for them.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End what is under way, and forget everything."""
        coming = list(self._coming.values())
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
        self._kept.clear()
        self._failures.clear()

    async def _have(self, key: PictureKey) -> Picture:
        async with self._doors:
            data = await self._fetch(key)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, decoded, data, self._limits)

    def _came(self, key: PictureKey, task: asyncio.Task[Picture]) -> None:
        self._coming.pop(key, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self.fetched += 1
            self._failures.pop(key, None)
            self._kept[key] = task.result()
            while self.bytes > self._most_bytes and len(self._kept) > 1:
                self._kept.popitem(last=False)
        elif isinstance(error, DetectorApplianceError):
            self._failures[key] = (error, self._now())
            self._failures.move_to_end(key)
            while len(self._failures) > MOST_FAILURES:
                self._failures.popitem(last=False)


def decoded(data: bytes, limits: ImageLimits) -> Picture:
    """Bytes from the Loop as a picture as displayed. Raises `ImageUnreadable`, `InputTooLarge`."""
    limits.check_bytes(len(data))
    header = read_header(data, limits)
    pixels = prepare(data, header.width, header.height, limits=limits).pixels
    pixels.setflags(write=False)
    return Picture(pixels)
