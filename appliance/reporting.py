"""Tells the Loop how this box is: every so often, and as soon as something is different."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Protocol

import anyio

from appliance.background import Background
from appliance.versions.pauses import pause_after
from models.errors import LoopError
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


class Reporter(Background):
    """See the module's docstring. Belongs to one event loop. `status` is asked for what to tell; `every` is in seconds."""

    def __init__(
        self,
        loop: ReportsTo,
        status: Callable[[], DetectorStatus],
        every: float,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__("reporting to the Loop")
        self.problem: str | None = None
        """Why the Loop does not know how this box is; None if it does."""
        self._loop = loop
        self._status = status
        self._every = every
        self._chance = chance
        self._failures = 0

    async def _work(self) -> None:
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
        return pause_after(error, self._failures, first=CYCLE_SECONDS, cap=AWAY_CAP, chance=self._chance())


def _facts(status: DetectorStatus) -> dict[str, Any]:
    """What is worth a report of its own when it changes: all but the time."""
    return status.model_dump(exclude={"uptime"})
