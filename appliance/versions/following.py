"""Asks the Loop, again and again, which model shall serve, and keeps what it said."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from appliance.background import Background
from appliance.connection import LoopConnection
from appliance.versions.pauses import pause, pause_after
from appliance.versions.plan import FileKey, LoopView, Probed
from appliance.versions.ports import LoopModels, offer_of
from models.errors import LoopError, NotInLoop

log = logging.getLogger(__name__)

MAX_PROBES = 100
"""Files whose last look is remembered."""


@dataclass(frozen=True)
class Pace:
    """How often the Loop is asked, seconds. `away_cap` bounds the back-off while it does not answer.

    `list_first` and `list_cap` bound how often its list of models is asked for while something is missing in it.
    """

    poll: float = 5.0
    away_cap: float = 60.0
    list_first: float = 5.0
    list_cap: float = 60.0
    answer_within: float = 60.0


class LoopWatch(Background):
    """See the module's docstring. Belongs to one event loop. `on_change` is called when there is something new to consider.

    `clock` counts seconds and never jumps; `chance` is a number from 0 to 1.
    """

    def __init__(
        self,
        loop: LoopModels,
        connection: LoopConnection,
        on_change: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__("following the Loop")
        self.pace = Pace()
        self.view = LoopView()
        self._loop = loop
        self._connection = connection
        self._on_change = on_change
        self._clock = clock
        self._chance = chance
        self._silences = 0
        self._lists = 0
        self._at_once = asyncio.Event()

    def set_paused(self, paused: bool) -> None:
        """Do not ask for as long as this is set."""
        if paused:
            self._connection.off()
        elif not self._running.is_set():
            self._connection.connecting()
        super().set_paused(paused)
        self._at_once.set()

    async def _work(self) -> None:
        await asyncio.sleep(self._chance() * min(1.0, self.pace.poll))  # a hundred boxes that got power together
        while True:
            await self._running.wait()
            self._at_once.clear()
            try:
                seconds = await self._ask_for_target()
            except Exception:  # whatever it is, the Loop is to be asked again
                log.exception("asking the Loop for the deployment target failed")
                seconds = self.pace.away_cap
            with anyio.move_on_after(seconds):
                await self._at_once.wait()

    async def _ask_for_target(self) -> float:
        """Ask once. Returns the seconds until the next time."""
        try:
            with anyio.fail_after(self.pace.answer_within):
                target = await self._loop.deployment_target()
        except (LoopError, TimeoutError) as error:
            return self._silent(error)
        if not self._running.is_set():
            return 0.0
        self._silences = 0
        self._connection.answered()
        changed = target != self.view.target
        if changed:
            log.info("the Loop's deployment target is %s", target.version if target is not None else "none")
            self._lists = 0
            self.view = replace(self.view, models=None, ask_again=0.0)
        if changed or not self.view.answers:
            self.view = replace(self.view, answers=True, target=target)
            self._on_change()
        return self.pace.poll * (0.9 + 0.2 * self._chance())

    def _silent(self, error: Exception) -> float:
        self._silences += 1
        because = str(error) or f"it did not answer within {self.pace.answer_within:g} s"
        if self._running.is_set():
            self._connection.away(because)
        if self._silences == 1:
            log.warning("the Loop is away: %s", because)
        if self.view.answers:
            self.view = replace(self.view, answers=False)
            self._on_change()
        return pause_after(error, self._silences, first=self.pace.poll, cap=self.pace.away_cap, chance=self._chance())

    async def ask_for_models(self) -> None:
        """Bring the list of models up to date; if it cannot be had, it is asked for again later."""
        self._lists += 1
        pause_seconds = pause(self._lists, first=self.pace.list_first, cap=self.pace.list_cap, chance=self._chance())
        again = self._clock() + pause_seconds
        try:
            with anyio.fail_after(self.pace.answer_within):
                models = await self._loop.models()
        except (LoopError, TimeoutError) as error:
            log.warning("the Loop does not tell which models it has: %s", error or "no answer in time")
            self.view = replace(self.view, ask_again=again)
        else:
            self.view = replace(self.view, models=tuple(models), ask_again=again)

    def forget_models(self) -> None:
        """Ask for the list of models again as soon as it matters."""
        self._lists = 0
        self.view = replace(self.view, models=None, ask_again=0.0)

    async def probe(self, key: FileKey) -> Probed:
        """Look whether the Loop has other bytes of a file by now."""
        at = self._clock()
        try:
            with anyio.fail_after(self.pace.answer_within):
                found = await self._loop.probe_model(*key)
        except NotInLoop:
            probed = Probed(at, "gone")
        except (LoopError, TimeoutError):
            probed = Probed(at, told=False)
        else:
            probed = Probed(at, offer_of(found))
        others = [(each, value) for each, value in self.view.probes.items() if each != key]
        self.view = replace(self.view, probes=dict([*others, (key, probed)][-MAX_PROBES:]))
        return probed
