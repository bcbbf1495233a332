"""One batch on its way to the Loop: taken, sent, halved where one of its pictures is not wanted, and written down.

Whatever happens, and wherever it is cancelled, each picture ends as sent, set aside, or free to be sent again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from appliance.outbox.batching import halves
from appliance.outbox.courtesy import MOST_AT_ONCE, Concurrency, Rate, TokenBucket
from appliance.outbox.queue import Outbox, StoredPicture
from appliance.outbox.verdict import verdict
from models.errors import DetectorApplianceError, LoopError, LoopUnreachable
from models.loop.uploads import ImageUpload, Throttle

log = logging.getLogger(__name__)

T = TypeVar("T")

THREADS = 4
DELETING_AT_ONCE = 8
"""Batches that were sent and are being deleted meanwhile; a disk that is slower than the line sets the pace then."""

ANSWER_WITHIN_S = 120.0
SLOWEST_LINE = 10_000
"""A request may take so long, and beside that as long as its bytes take at so many a second."""


class Uploads(Protocol):
    """What takes the pictures: a project of the Loop."""

    async def upload_images(self, batch: Sequence[ImageUpload], *, throttle: Throttle | None = None) -> None:
        """Returns when the Loop has them all. Raises `LoopError`."""


@dataclass(frozen=True)
class Outcome:
    """How many pictures the Loop took, and what then ended it, if something did."""

    sent: int = 0
    failure: LoopError | None = None


class Delivery:
    """Belongs to one event loop. `concurrency` and `rate` are told how requests go, `complain` what the disk refuses."""

    def __init__(
        self,
        outbox: Outbox,
        loop: Uploads,
        bucket: TokenBucket | None,
        concurrency: Concurrency,
        rate: Rate,
        complain: Callable[[str], None],
    ) -> None:
        self._outbox = outbox
        self._loop = loop
        self._bucket = bucket
        self._concurrency = concurrency
        self._rate = rate
        self._complain = complain
        self._booking: set[asyncio.Task[Any]] = set()
        # Of its own: a disk that takes long to delete what was sent must not keep uploads from being saved meanwhile.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="outbox")

    async def take(self, max_items: int, *, suspect: bool) -> list[StoredPicture]:
        """See `Outbox.take`."""
        taking = self._book(self._in_thread(self._outbox.take, max_items, suspect=suspect))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            # The thread goes on, and nobody will send what it takes.
            self._book(self._take_back(taking))
            raise

    async def deliver(self, batch: Sequence[StoredPicture]) -> Outcome:
        """Send a batch."""
        to_do: list[Sequence[StoredPicture]] = [batch]
        sent = 0
        try:
            while to_do:
                error = await self._request(to_do[-1])
                part = to_do.pop()
                if error is None:
                    sent += len(part)
                    await self._delete(part)
                    continue
                meaning = verdict(error)
                if not meaning.unwanted:
                    give_back = partial(self._outbox.give_back, _ids(part), str(error), guilty=meaning.guilty)
                    await self._write_down(give_back)
                    return Outcome(sent, error)
                if len(part) > 1:
                    to_do += reversed(halves(part))
                else:
                    log.warning("The Loop does not want the picture %s: %s", part[0].id, error)
                    await self._write_down(self._outbox.reject, part[0].id, str(error), error.status)
            return Outcome(sent)
        finally:
            if to_do:
                self.give_back(picture for part in to_do for picture in part)

    async def settle(self, at_most: int = 0) -> None:
        """Return when everything is written down, or all but `at_most`."""
        while len(self._booking) > at_most:
            await asyncio.wait(list(self._booking), return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Return when everything is written down; nothing can be sent any more."""
        await self.settle()
        self._threads.shutdown(wait=False)

    def give_back(self, batch: Iterable[StoredPicture]) -> None:
        """What was taken is not sent."""
        self._book(self._in_thread(self._outbox.release, _ids(batch)))

    async def _request(self, batch: Sequence[StoredPicture]) -> LoopError | None:
        """What was wrong, if anything was."""
        size = sum(len(each.picture) + len(each.document) for each in batch)
        patience, began = self._patience(size), _now()
        try:
            await within(
                patience,
                self._loop.upload_images(
                    [ImageUpload(each.id, each.picture, each.document) for each in batch],
                    throttle=None if self._bucket is None else self._throttle,
                ),
            )
        except LoopError as error:
            if not verdict(error).unwanted:
                self._concurrency.failed(began, _now())
            return error
        except asyncio.TimeoutError:
            self._concurrency.failed(began, _now())
            return LoopUnreachable(f"The Loop did not take {len(batch)} pictures within {patience:.0f} s.")
        self._rate.add(began, _now(), size)
        self._concurrency.succeeded(began, _now(), size)
        return None

    def _patience(self, size: int) -> float:
        """Seconds in which a request of so many bytes must be answered."""
        throttled = 0.0 if self._bucket is None else MOST_AT_ONCE * size / self._bucket.bytes_per_second
        return ANSWER_WITHIN_S + size / SLOWEST_LINE + throttled

    async def _throttle(self, size: int) -> None:
        assert self._bucket is not None
        await asyncio.sleep(self._bucket.take(size, _now()))

    async def _delete(self, part: Sequence[StoredPicture]) -> None:
        """The next request need not wait until the disk has deleted what the last one has brought to the Loop."""
        self._book(self._write_down(self._outbox.sent, _ids(part)))
        await self.settle(DELETING_AT_ONCE)

    async def _write_down(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do it, even if sending is stopped meanwhile. What the disk refuses is told; the next start tries again."""
        try:
            await asyncio.shield(self._book(self._in_thread(work, *arguments)))
        except DetectorApplianceError as error:
            log.error("%s", error)
            self._complain(str(error))

    async def _take_back(self, taking: asyncio.Future[list[StoredPicture]]) -> None:
        taken = await taking
        await self._in_thread(self._outbox.release, _ids(taken))

    async def _in_thread(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments, **options))

    def _book(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._booking.add(task)
        task.add_done_callback(self._booked)
        return task

    def _booked(self, task: asyncio.Task[Any]) -> None:
        self._booking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("What became of pictures could not be noted: %s", error)


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Raises asyncio.TimeoutError when the time is over; the work has then been cancelled.

    `asyncio.wait_for` takes a cancellation that comes together with the result for none (before Python 3.12): sending
    would go on when it should stop.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=max(0.0, seconds))
        if not task.done():
            raise asyncio.TimeoutError
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _ids(pictures: Iterable[StoredPicture]) -> list[str]:
    return [picture.id for picture in pictures]


def _now() -> float:
    return asyncio.get_running_loop().time()
