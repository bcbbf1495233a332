"""Sends what waits to the Loop: as fast as the line and the Loop like, and politely when they do not.

What was sent is deleted, what the Loop does not want is set aside with its words, and everything else is sent again, under
the same name: a Loop that stores the same name and bytes once has it exactly once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from appliance.outbox.batching import BatchSize
from appliance.outbox.courtesy import Backoff, Concurrency, Rate, TokenBucket
from appliance.outbox.delivery import Delivery, Uploads, within
from appliance.outbox.queue import Outbox, StoredPicture
from appliance.outbox.verdict import verdict
from models.errors import DetectorApplianceError, LoopError
from models.uninterrupted import in_thread

log = logging.getLogger(__name__)

SendingState = Literal["sending", "idle", "waiting", "stopped", "paused"]

START_WITHIN_S = 5.0
"""The first request comes at some moment within these: a hundred boxes may have got their power back together."""

GATHER_S = 1.0
"""What comes while nothing is sent waits so long for company: a request costs the Loop more than a picture does."""

RECOUNT_EVERY_S = 600.0
"""While nothing is to be sent, the folders are looked at so often: a person may have put something there."""

STOP_WITHIN_S = 0.8


@dataclass(frozen=True)
class SendingStatus:
    """How sending goes. `retry_in` is in seconds; `requests` may be under way at once, of so many `pictures` each."""

    state: SendingState
    retry_in: float | None
    last_error: str | None
    last_error_at: datetime | None
    bytes_per_second: float
    requests: int
    pictures: int


class Uploader:
    """Belongs to one event loop. `max_mbit` is in megabits a second; `chance` returns numbers from 0 to 1.

    `clock` tells the time of day, for people; waiting goes by the event loop's clock, which never jumps.
    """

    def __init__(
        self,
        outbox: Outbox,
        loop: Uploads,
        *,
        max_mbit: float | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        chance: Callable[[], float] = random.random,
        start_within: float = START_WITHIN_S,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._chance = chance
        self._start_within = start_within
        self._concurrency, self._size, self._rate = Concurrency(), BatchSize(), Rate()
        bucket = None if max_mbit is None else TokenBucket(max_mbit * 1e6 / 8)
        self._delivery = Delivery(outbox, loop, bucket, self._concurrency, self._rate, self._complain)
        self._backoff, self._suspects = Backoff(), Backoff()
        self._retry_at = self._suspects_at = 0.0
        self._suspect_turn = False
        self._arrived, self._nudged = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._started = self._paused = False
        self._ending = False
        self._holds = 0
        self._now: Callable[[], float] = float
        self._state: SendingState = "stopped"
        self._waiting_until = 0.0
        self._last_error: tuple[str, datetime] | None = None
        self._failing = False

    # -- the life --------------------------------------------------------------------------------------------------

    def start(self, *, paused: bool = False) -> None:
        """Begin to send, unless the mode is `stopped` or it is paused."""
        running = asyncio.get_running_loop()
        self._now = running.time

        def arrived() -> None:
            with suppress(RuntimeError):  # the event loop has just ended
                running.call_soon_threadsafe(self._arrived.set)

        self._outbox.tell(arrived)
        self._started, self._paused = True, paused
        self._adjust()

    async def set_mode(self, mode: str) -> None:
        """Change the mode, durably. With `stopped`, no byte leaves once this returns; what was under way is sent later.

        Raises as `Outbox.set_mode`.
        """
        self._holds += mode == "stopped"
        try:
            self._adjust()
            await self._ended()
            await in_thread(self._outbox.set_mode, mode)
        finally:
            self._holds -= mode == "stopped"
            self._adjust()

    def set_paused(self, paused: bool) -> None:
        """Send nothing for the time being, or go on. Not remembered over a restart."""
        self._paused = paused
        self._adjust()

    def retry_now(self) -> None:
        """Do not wait any longer: a person wants to see what happens."""
        self._backoff.succeeded()
        self._suspects.succeeded()
        self._retry_at = self._suspects_at = 0.0
        self._arrived.set()
        self._nudged.set()

    async def close(self) -> None:
        """End; what was under way is sent after the next start."""
        self._outbox.tell(None)
        self._started = False
        self._adjust()
        await self._ended()
        await self._delivery.close()

    def status(self) -> SendingStatus:
        """How it goes, from memory."""
        now = self._now()
        message, moment = self._last_error or (None, None)
        return SendingStatus(
            state=self._state,
            retry_in=max(0.0, self._waiting_until - now) if self._state == "waiting" else None,
            last_error=message,
            last_error_at=moment,
            bytes_per_second=self._rate.per_second(now),
            requests=self._concurrency.allowed,
            pictures=self._size.max_items,
        )

    def _adjust(self) -> None:
        """Begin or end, as it should be."""
        wanted = self._started and not self._paused and not self._holds and self._outbox.mode != "stopped"
        if wanted and self._task is None:
            self._task = asyncio.create_task(self._run(), name="uploader")
            self._task.add_done_callback(self._has_ended)
            self._ending = False
        elif not wanted and self._task is not None and not self._ending:
            self._ending = True  # once: a second time would disturb its ending
            self._task.cancel()
        if self._task is None:
            self._state = "paused" if self._paused and self._outbox.mode != "stopped" else "stopped"

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled() and not self._ending:  # by nobody here: the event loop itself ends
            self._started = False
        self._adjust()

    async def _ended(self) -> None:
        """Wait until nothing is sent any more, where that should be so."""
        if self._task is not None and (self._holds or not self._started):
            _, left = await asyncio.wait([self._task], timeout=STOP_WITHIN_S)
            if left:
                log.error("A request to the Loop does not end.")

    # -- the loop --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self._wait(self._start_within * self._chance())
        self._start_within = 0.0
        while True:
            try:
                await self._round()
            except Exception as error:
                # Supervises sending: what failed is tried again, and people see what it was.
                if not isinstance(error, DetectorApplianceError):
                    log.exception("Sending failed.")
                self._trouble(str(error) or type(error).__name__, None)

    async def _round(self) -> None:
        pause = self._retry_at - self._now()
        if pause > 0:
            await self._wait(pause)
            self._retry_at = 0.0  # the time is over, even if the clock's last digit does not say so yet
        self._arrived.clear()
        if await self._send_what_waits():
            return
        pause, recounts = RECOUNT_EVERY_S, True
        if await asyncio.to_thread(self._outbox.has_suspects):
            pause, recounts = self._suspects_at - self._now(), False
        if await self._wait_for_pictures(pause, is_waiting=not recounts):
            await asyncio.sleep(GATHER_S * (0.5 + 0.5 * self._chance()))
        elif recounts:
            await asyncio.to_thread(self._outbox.recount)
        else:
            self._suspects_at = 0.0

    async def _wait(self, seconds: float) -> None:
        """Until the time is over, or a person wants it now."""
        self._nudged.clear()
        self._state, self._waiting_until = "waiting", self._now() + seconds
        await _is_set(self._nudged, before=seconds)
        self._state = "sending"

    async def _wait_for_pictures(self, seconds: float, *, is_waiting: bool) -> bool:
        """Whether some arrived before the time was over."""
        self._state, self._waiting_until = "waiting" if is_waiting else "idle", self._now() + seconds
        arrived = await _is_set(self._arrived, before=seconds)
        self._state = "sending"
        return arrived

    async def _send_what_waits(self) -> bool:
        """Send until nothing waits, or it goes wrong; whether there was anything.

        The next batch is read from the disk while the last one is on the line.
        """
        running: set[asyncio.Task[None]] = set()
        next_batch = asyncio.create_task(self._next_batch())
        tried = False
        try:
            while self._retry_at <= self._now():
                if len(running) < self._concurrency.allowed:
                    batch, suspect = await next_batch
                    if batch:
                        tried = True
                        self._state = "sending"
                        running.add(asyncio.create_task(self._send(batch, suspect=suspect)))
                        next_batch = asyncio.create_task(self._next_batch())
                        continue
                if not running:
                    return tried
                running = await _one_less(running)
                if self._arrived.is_set() and next_batch.done() and not next_batch.result()[0]:
                    self._arrived.clear()
                    next_batch = asyncio.create_task(self._next_batch())
            while running:
                running = await _one_less(running)
            return tried
        finally:
            await _end(running)
            await self._not_needed(next_batch)

    async def _not_needed(self, next_batch: asyncio.Task[tuple[list[StoredPicture], bool]]) -> None:
        await _end([next_batch])
        if not next_batch.cancelled() and next_batch.exception() is None:
            self._delivery.give_back(next_batch.result()[0])

    async def _next_batch(self) -> tuple[list[StoredPicture], bool]:
        """Pictures to send, and whether it is a suspicious one: those take turns with others that got through."""
        suspects_may = self._suspects_at <= self._now()
        if suspects_may and self._suspect_turn:
            self._suspect_turn = False
            if suspect := await self._take(suspect=True):
                return suspect, True
        if batch := await self._take(suspect=False):
            return batch, False
        return (await self._take(suspect=True) if suspects_may else []), True

    async def _take(self, *, suspect: bool) -> list[StoredPicture]:
        return await self._delivery.take(self._size.max_items, suspect=suspect)

    async def _send(self, batch: Sequence[StoredPicture], *, suspect: bool) -> None:
        outcome = await self._delivery.deliver(batch)
        if outcome.sent:
            self._went_well(suspect=suspect)
        if outcome.failure is not None:
            self._failed(outcome.failure, suspect=suspect)

    # -- what came of it -------------------------------------------------------------------------------------------

    def _went_well(self, *, suspect: bool) -> None:
        if suspect:
            self._suspects.succeeded()
        if self._failing:
            log.info("The Loop takes pictures again.")
        self._failing = False
        self._suspect_turn = True
        self._backoff.succeeded()
        self._size.succeeded()

    def _failed(self, error: LoopError, *, suspect: bool) -> None:
        message, meaning = str(error), verdict(error)
        if suspect and meaning.guilty:
            # What is sent alone because it may be the cause makes nobody else wait.
            self._complain(message)
            self._suspects_at = self._now() + self._suspects.failed(self._chance(), meaning.retry_after)
            return
        if meaning.broke_off:
            self._size.broke_off()
        self._trouble(message, meaning.retry_after)

    def _trouble(self, message: str, retry_after: float | None) -> None:
        """Nothing is sent for a while."""
        now = self._now()
        self._complain(message)
        if self._retry_at > now and retry_after is None:
            return  # another request under way has met the same
        pause = self._backoff.failed(self._chance(), retry_after)
        self._retry_at = max(self._retry_at, now + pause)
        log.log(
            logging.DEBUG if self._failing else logging.WARNING,
            "Pictures cannot be sent: %s Trying again in %.0f s.", message, pause,
        )  # fmt: skip
        self._failing = True

    def _complain(self, message: str) -> None:
        self._last_error = (message, self._clock())


async def _is_set(event: asyncio.Event, *, before: float) -> bool:
    """Whether it is set before so many seconds are over."""
    try:
        await within(before, event.wait())
    except asyncio.TimeoutError:
        return False
    return True


async def _one_less(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Wait until at least one has ended; the others. Raises what went wrong with it."""
    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return running


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    left = list(tasks)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
