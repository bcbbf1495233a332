"""Samples of what the box does: one a second while somebody looks, gaps where nobody did."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from appliance.accelerator_vitals import AcceleratorVitals
from appliance.dashboard.readings import SECONDS, Sampler
from appliance.recent import Recent
from appliance.services import Services
from appliance.vitals import Machine, Vitals


class Place:
    """A box that detects when told to."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.looks = 0
        self.recent = Recent(clock=lambda: self.seconds)
        services = SimpleNamespace(
            supervisor=SimpleNamespace(counters=SimpleNamespace(restarts=2), queue_length=3),
            detecting=SimpleNamespace(counters=SimpleNamespace(pictures=7)),
        )
        self.sampler = Sampler(cast(Services, services), self.recent, cast(Machine, self), lambda: self.seconds)

    def look(self) -> Vitals:
        """As the machine would."""
        self.looks += 1
        return Vitals(cpu=float(self.looks), temperature=50.0, accelerator=AcceleratorVitals(30.0, 45.0))

    def detect(self, count: int, milliseconds: float) -> None:
        """So many pictures, which took so long each."""
        for _ in range(count):
            self.recent.pictures += 1
            total = self.recent.milliseconds
            total["inference"] = total.get("inference", 0.0) + milliseconds


def test_a_sample_a_second_with_the_mean_of_its_pictures() -> None:
    async def story() -> None:
        place = Place()
        place.detect(1000, 99.0)  # before anybody looked
        await place.sampler.look()
        for milliseconds in (10.0, 20.0):
            place.seconds += 1
            place.detect(4, milliseconds)
            readings = await place.sampler.look()

        latency = dict(readings.latency)
        assert latency["inference"][-3:] == (None, 10.0, 20.0)
        assert readings.cpu[-3:] == (1.0, 2.0, 3.0)
        assert (readings.accelerator[-1], readings.accelerator_temperature[-1]) == (30.0, 45.0)
        assert {len(readings.cpu), len(readings.rate), len(latency["wait"])} == {SECONDS}
        assert (readings.pictures, readings.restarts, readings.waiting) == (7, 2, 3)

    asyncio.run(story())


def test_a_second_without_pictures_has_no_latency() -> None:
    async def story() -> None:
        place = Place()
        await place.sampler.look()
        place.seconds += 1
        readings = await place.sampler.look()
        assert dict(readings.latency)["inference"][-1] is None

    asyncio.run(story())


def test_many_who_look_take_one_sample() -> None:
    async def story() -> None:
        place = Place()
        one, other = await asyncio.gather(place.sampler.look(), place.sampler.look())
        assert one is other
        assert place.looks == 1

    asyncio.run(story())


def test_while_nobody_looked_there_is_a_gap() -> None:
    async def story() -> None:
        place = Place()
        await place.sampler.look()
        place.seconds += 10
        place.detect(500, 10.0)
        readings = await place.sampler.look()

        assert readings.cpu[-11:] == (1.0, *[None] * 9, 2.0)
        assert dict(readings.latency)["inference"][-1] is None, "these were not of this second"

    asyncio.run(story())
