"""Tells the Loop how this box is: every so often, and as soon as something is different."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Protocol

import anyio

from appliance.versions.pauses import pause
from models.errors import LoopBusy, LoopError
from models.wire.loop import DetectorStatus

log = logging.getLogger(__name__)

CYCLE_SECONDS = 5.0
"""What one of the `sync_cycles` lasts."""

LOOK_SECONDS = 1.0
"""Between two looks whether something is different."""

AWAY_CAP = 60.0
"""Seconds between two tries at most, however long the Loop has been away."""

ANSWER_WITHIN = 60.0


class ReportsTo(Protocol):
    """A project of a Loop; see `models.loop.project.LoopProject`. Raises `LoopError` in its kinds."""

    async def report_detector(self, status: DetectorStatus) -> None: ...


class Reporter:
    """See the module's docstring. Belongs to one event loop. `status` is asked for what to tell; `every` is in seconds."""

    def __init__(
        self,
        loop: ReportsTo,
        status: Callable[[], DetectorStatus],
        every: float,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.problem: str | None = None
        """Why the Loop does not know how this box is; None if it does."""
        self._loop = loop
        self._status = status
        self._every = every
        self._chance = chance
        self._failures = 0
        self._running = asyncio.Event()
        self._running.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to report; returns at once."""
        self._task = asyncio.create_task(self._keep_reporting(), name="reporting to the Loop")

    async def close(self) -> None:
        """Report no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def set_paused(self, paused: bool) -> None:
        """Do not report for as long as this is set."""
        if paused:
            self._running.clear()
        else:
            self._running.set()

    async def _keep_reporting(self) -> None:
        await asyncio.sleep(self._chance() * LOOK_SECONDS)
        while True:
            await self._running.wait()
            try:
                told = self._status()
                with anyio.fail_after(ANSWER_WITHIN):
                    await self._loop.report_detector(told)
            except (LoopError, TimeoutError) as error:
                await asyncio.sleep(self._failed(error))
            except Exception:  # whatever it is, the next report may be understood
                log.exception("telling the Loop how this box is failed")
                await asyncio.sleep(AWAY_CAP)
            else:
                self._failures, self.problem = 0, None
                await self._until_due(told)

    async def _until_due(self, told: DetectorStatus) -> None:
        """Return when the next report is due, or something is different than it was told."""
        facts = _facts(told)
        with anyio.move_on_after(self._every):
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                if _facts(self._status()) != facts:
                    return

    def _failed(self, error: Exception) -> float:
        """Seconds until the next try."""
        self._failures += 1
        self.problem = str(error) or f"The Loop did not answer within {ANSWER_WITHIN:g} s"
        if self._failures == 1:
            log.warning("the Loop is not told how this box is: %s", self.problem)
        seconds = pause(self._failures, first=CYCLE_SECONDS, cap=AWAY_CAP, chance=self._chance())
        asked = error.retry_after if isinstance(error, LoopBusy) and error.retry_after else 0.0
        return max(seconds, min(asked, 3600.0))


def _facts(status: DetectorStatus) -> dict[str, Any]:
    """What is worth a report of its own when it changes: all but the time."""
    return status.model_dump(exclude={"uptime"})
