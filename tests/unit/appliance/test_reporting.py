"""The Loop is told how a box is: regularly, on changes, and not more often than it can bear."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from appliance.reporting import AWAY_CAP, Reporter
from models.errors import LoopBusy, LoopError, LoopRefused, LoopUnreachable
from models.wire.loop import DetectorStatus
from tests.support.virtual_time import in_virtual_time

EVERY = 30.0


class Loop:
    """Writes down when it was told what."""

    def __init__(self) -> None:
        self.told: list[tuple[float, DetectorStatus]] = []
        self.error: Exception | None = None
        self.takes = 0.0

    async def report_detector(self, status: DetectorStatus) -> None:
        self.told.append((now(), status))
        await asyncio.sleep(self.takes)
        if self.error is not None:
            raise self.error

    @property
    def pauses(self) -> list[float]:
        """Seconds between what it was told."""
        return [later - earlier for (earlier, _), (later, _) in itertools.pairwise(self.told)]


def now() -> float:
    return asyncio.get_running_loop().time()


class Box:
    """What is told of it."""

    def __init__(self) -> None:
        self.status = DetectorStatus(uuid="u", name="robot", model_format="litert", operation_mode="idle")

    def __call__(self) -> DetectorStatus:
        return self.status.model_copy(update={"uptime": int(now())})

    def becomes(self, **facts: object) -> None:
        """Something is different from now on."""
        self.status = self.status.model_copy(update=facts)


@asynccontextmanager
async def reporting(loop: Loop, box: Box) -> AsyncIterator[Reporter]:
    reporter = Reporter(loop, box, EVERY, chance=lambda: 0.5)
    reporter.start()
    yield reporter
    await reporter.close()


@in_virtual_time
async def test_the_loop_is_told_every_thirty_seconds() -> None:
    loop, box = Loop(), Box()
    async with reporting(loop, box):
        await asyncio.sleep(3600)
    assert 118 <= len(loop.told) <= 121
    assert all(29 <= pause <= 31 for pause in loop.pauses)
    uptimes = [status.uptime for _, status in loop.told]
    assert uptimes == sorted(set(uptimes))


@pytest.mark.parametrize(
    "facts",
    [
        {"current_model": "1.1"},
        {"target_model": "1.2"},
        {"errors": {"update_model": "It returns NaN"}},
        {"operation_mode": "detecting"},
    ],
)
@in_virtual_time
async def test_a_change_is_told_at_once_and_once(facts: dict[str, object]) -> None:
    loop, box = Loop(), Box()
    async with reporting(loop, box):
        await asyncio.sleep(70)
        box.becomes(**facts)
        changed, told = now(), len(loop.told)
        await asyncio.sleep(10)
        assert [
            status.model_dump()[key] == value for _, status in loop.told[told:] for key, value in facts.items()
        ] == [True]
        assert loop.told[told][0] - changed <= 1.1


@in_virtual_time
async def test_a_change_while_the_report_is_under_way_is_not_lost() -> None:
    loop, box = Loop(), Box()
    loop.takes = 5
    async with reporting(loop, box):
        await asyncio.sleep(2)
        box.becomes(current_model="1.1")
        await asyncio.sleep(10)
    assert [status.current_model for _, status in loop.told] == [None, "1.1"]


@pytest.mark.parametrize("error", [LoopUnreachable("no connection"), LoopBusy("later", 500), LoopRefused("no", 422)])
@in_virtual_time
async def test_a_loop_that_is_away_is_told_ever_less_often_and_again_when_it_is_back(error: LoopError) -> None:
    loop, box = Loop(), Box()
    loop.error = error
    async with reporting(loop, box) as reporter:
        await asyncio.sleep(7200)
        box.becomes(operation_mode="detecting")
        await asyncio.sleep(100)
        assert reporter.problem == str(error)
        assert loop.pauses[:3] == sorted(loop.pauses[:3])
        assert max(loop.pauses) <= AWAY_CAP
        assert min(loop.pauses[5:]) > 30, "changes do not make it hammer"
        told = len(loop.told)
        loop.error = None
        await asyncio.sleep(AWAY_CAP + 1)
        assert len(loop.told) > told
        assert reporter.problem is None
        assert loop.told[-1][1].operation_mode == "detecting"


@in_virtual_time
async def test_a_time_that_the_loop_names_is_waited_for_but_not_for_ever() -> None:
    loop, box = Loop(), Box()
    loop.error = LoopBusy("later", 429, retry_after=600)
    async with reporting(loop, box):
        await asyncio.sleep(590)
        assert len(loop.told) == 1
        loop.error = LoopBusy("later", 429, retry_after=1e9)
        await asyncio.sleep(20)
        assert len(loop.told) == 2
        await asyncio.sleep(3601)
        assert len(loop.told) == 3


@in_virtual_time
async def test_a_loop_that_never_answers_is_given_up_for_this_time() -> None:
    loop, box = Loop(), Box()
    loop.takes = 10**6
    async with reporting(loop, box) as reporter:
        await asyncio.sleep(70)
        assert reporter.problem == "The Loop did not answer within 60 s"


@in_virtual_time
async def test_a_bug_does_not_end_the_reports() -> None:
    loop, box = Loop(), Box()
    loop.error = ZeroDivisionError("a bug")
    async with reporting(loop, box):
        await asyncio.sleep(10)
        loop.error = None
        await asyncio.sleep(100)
    assert len(loop.told) >= 2


@in_virtual_time
async def test_while_paused_nothing_is_told() -> None:
    loop, box = Loop(), Box()
    async with reporting(loop, box) as reporter:
        await asyncio.sleep(10)
        reporter.set_paused(True)
        box.becomes(operation_mode="detecting")
        await asyncio.sleep(600)
        assert len(loop.told) == 1
        reporter.set_paused(False)
        await asyncio.sleep(1)
        assert len(loop.told) == 2
