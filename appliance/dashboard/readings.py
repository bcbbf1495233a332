"""What the box does and how it fares, second by second, for as long as somebody looks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.recent import Recent
from appliance.services import Services
from appliance.vitals import Machine, Vitals
from ui.ports import Readings

SECONDS = 120
"""How far back charts go."""

STAGES = ("wait", "decode", "inference", "postprocess")


@dataclass(frozen=True)
class Sample:
    """One second. None where it is not known."""

    rate: float | None = None
    latency: tuple[float | None, ...] = (None,) * len(STAGES)
    vitals: Vitals = field(default_factory=Vitals)


class Sampler:
    """Takes a sample a second while it is asked; a pause leaves a gap. Belongs to one event loop."""

    def __init__(
        self,
        services: Services,
        recent: Recent,
        machine: Machine,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._recent = recent
        self._machine = machine
        self._clock = clock
        self._samples: deque[Sample] = deque([Sample()] * SECONDS, maxlen=SECONDS)
        self._at: float | None = None
        self._pictures = 0
        self._milliseconds: dict[str, float] = {}
        self._readings = Readings()
        self._turn = asyncio.Lock()
        self.vitals = Vitals()

    async def look(self) -> Readings:
        """The last two minutes. Asked more often than once a second, it says the same again."""
        async with self._turn:
            now = self._clock()
            if self._at is None or now - self._at >= 0.9:
                await self._sample(now)
            return self._readings

    async def _sample(self, now: float) -> None:
        missed = SECONDS if self._at is None else min(round(now - self._at) - 1, SECONDS)
        self._at = now
        self.vitals = await asyncio.to_thread(self._machine.look)
        self._samples.extend([Sample()] * missed)
        self._samples.append(self._latest(after_a_pause=missed > 1))
        self._pictures, self._milliseconds = self._recent.pictures, dict(self._recent.milliseconds)
        self._readings = self._told()

    def _latest(self, after_a_pause: bool) -> Sample:
        if after_a_pause:  # what happened while nobody looked is nothing of this second
            return Sample(self._recent.rate(), vitals=self.vitals)
        pictures = self._recent.pictures - self._pictures
        latency = tuple(
            (self._recent.milliseconds.get(stage, 0.0) - self._milliseconds.get(stage, 0.0)) / pictures
            if pictures
            else None
            for stage in STAGES
        )
        return Sample(self._recent.rate(), latency, self.vitals)

    def _told(self) -> Readings:
        samples, supervisor = tuple(self._samples), self._services.supervisor
        return Readings(
            rate=tuple(each.rate for each in samples),
            latency=tuple(
                (stage, tuple(each.latency[number] for each in samples)) for number, stage in enumerate(STAGES)
            ),
            cpu=tuple(each.vitals.cpu for each in samples),
            memory=tuple(each.vitals.memory for each in samples),
            temperature=tuple(each.vitals.temperature for each in samples),
            accelerator=tuple(each.vitals.accelerator.load for each in samples),
            accelerator_temperature=tuple(each.vitals.accelerator.temperature for each in samples),
            pictures=self._services.detecting.counters.pictures,
            restarts=supervisor.counters.restarts,
            waiting=supervisor.queue_length,
        )
