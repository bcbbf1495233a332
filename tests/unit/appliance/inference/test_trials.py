"""Every way to run a model is tried in a process that may die of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.inference.child import Child
from appliance.inference.trials import MAX_FATAL, try_ways
from models.errors import BundleError, DetectionUnavailable, ModelFailed
from models.fastest import Measured
from models.runtimes.base import Choice
from tests.support.fake_child import FakeProcess
from tests.support.fake_workers import a_bundle
from tests.support.virtual_time import in_virtual_time

FIRST, SECOND, THIRD = "litert/cpu/1", "litert/cpu/2", "onnx/cpu/1"

END = "the process says nothing more"
Act = Callable[[FakeProcess, str], str | None]


class Measuring:
    """Processes that try what they were not told to skip. `acts`: choice -> what happens; else it takes 10 ms."""

    def __init__(self, *ways: str, **acts: Act) -> None:
        self._ways = ways
        self._acts = acts
        self.orders: list[dict[str, Any]] = []
        self.processes: list[FakeProcess] = []

    async def start(self, module: str) -> Child:
        assert module == "appliance.inference.measuring"
        process = FakeProcess()
        self.processes.append(process)
        process.on_message(lambda order: self._work(process, order))
        return process.child

    def _work(self, process: FakeProcess, order: dict[str, Any]) -> None:
        self.orders.append(order)
        for way in self._ways:
            if way in order["skip"]:
                continue
            process.say({"trying": way})
            if way not in self._acts:
                process.say({"tried": way, "milliseconds": 10.0, "reason": None})
            elif self._acts[way](process, way) is END:
                return
        process.say({"done": True})

    async def tried(self, deadline: float = 120.0) -> list[Measured]:
        measured = await try_ways(a_bundle(), Path("cache"), "auto", deadline, self.start)
        assert not any(process.alive for process in self.processes)
        return measured


def aborts(process: FakeProcess, way: str) -> str:
    process.cry(b"double free or corruption\n")
    process.end(-6)
    return END


def hangs(process: FakeProcess, way: str) -> str:
    return END


def cannot(process: FakeProcess, way: str) -> None:
    process.say({"tried": way, "milliseconds": None, "reason": "unresolved custom op"})


def is_refused(process: FakeProcess, way: str) -> str:
    process.say({"failed": "BundleError", "message": "head is unknown"})
    return END


def takes_ten_minutes(process: FakeProcess, way: str) -> str:
    def finish() -> None:
        process.say({"tried": way, "milliseconds": 2.0, "reason": None})
        process.say({"done": True})

    asyncio.get_running_loop().call_later(600.0, finish)
    return END


def works(way: str) -> Measured:
    return Measured(Choice.parse(way), 10.0)


@in_virtual_time
async def test_all_ways_are_tried_in_one_process() -> None:
    measuring = Measuring(FIRST, SECOND)
    assert await measuring.tried() == [works(FIRST), works(SECOND)]
    assert measuring.orders == [{"folder": "model-1.0", "cache": "cache", "wanted": "auto", "skip": []}]


@in_virtual_time
async def test_a_way_that_does_not_work_says_why() -> None:
    measuring = Measuring(FIRST, SECOND, **{FIRST: cannot})
    reason = "unresolved custom op"
    assert await measuring.tried() == [Measured(Choice.parse(FIRST), None, reason), works(SECOND)]


@in_virtual_time
async def test_a_way_that_kills_its_process_is_skipped_by_the_next_one() -> None:
    measuring = Measuring(FIRST, SECOND, THIRD, **{SECOND: aborts})
    measured = await measuring.tried()
    assert measured[:2] == [works(FIRST), works(THIRD)]
    assert measured[2].choice == Choice.parse(SECOND)
    assert measured[2].reason == (
        "killed the process that tried it. It was ended by signal 6. Its last words: double free or corruption"
    )
    assert [order["skip"] for order in measuring.orders] == [[], [SECOND]]


@in_virtual_time
async def test_a_way_that_hangs_is_given_up_and_skipped() -> None:
    measuring = Measuring(FIRST, SECOND, **{FIRST: hangs})
    began = asyncio.get_running_loop().time()
    measured = await measuring.tried(deadline=60.0)
    assert asyncio.get_running_loop().time() - began == pytest.approx(60.0, abs=3.0)
    assert measured == [works(SECOND), Measured(Choice.parse(FIRST), None, "did not come to an end within 60 s")]


@in_virtual_time
async def test_tensorrt_is_given_the_time_to_compile() -> None:
    """Minutes on a Jetson, the first time."""
    way = "onnx/tensorrt/1"
    measuring = Measuring(way, **{way: takes_ten_minutes})
    assert await measuring.tried(deadline=120.0) == [Measured(Choice.parse(way), 2.0)]


@in_virtual_time
async def test_where_one_way_after_the_other_is_fatal_an_end_is_made() -> None:
    ways = [f"litert/cpu/{number}" for number in range(1, 20)]
    measuring = Measuring(*ways, **dict.fromkeys(ways, aborts))
    measured = await measuring.tried()
    assert [str(way.choice) for way in measured] == ways[:MAX_FATAL]
    assert all(way.milliseconds is None for way in measured)


@in_virtual_time
async def test_what_is_wrong_with_the_bundle_is_said_at_once() -> None:
    measuring = Measuring(FIRST, **{FIRST: is_refused})
    with pytest.raises(BundleError, match=r"^head is unknown$"):
        await measuring.tried()
    assert not measuring.processes[0].alive


@in_virtual_time
async def test_a_process_that_dies_before_it_tries_anything_is_no_way_to_run_a_model() -> None:
    async def start(module: str) -> Child:
        process = FakeProcess()
        process.end(1)
        return process.child

    with pytest.raises(ModelFailed, match=r"Looking for a way .* exit status 1"):
        await try_ways(a_bundle(), Path("cache"), "auto", 120.0, start)


@in_virtual_time
async def test_a_box_that_cannot_start_a_process_does_not_blame_the_model() -> None:
    async def start(module: str) -> Child:
        raise DetectionUnavailable("The box cannot start a process")

    with pytest.raises(DetectionUnavailable):
        await try_ways(a_bundle(), Path("cache"), "auto", 120.0, start)


@in_virtual_time
async def test_who_stops_waiting_leaves_no_process_behind() -> None:
    measuring = Measuring(FIRST, **{FIRST: hangs})
    trying = asyncio.create_task(measuring.tried())
    await asyncio.sleep(1.0)
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    assert trying.cancelled()
    assert not measuring.processes[0].alive


@pytest.mark.parametrize("ticks", range(6))
@in_virtual_time
async def test_being_called_off_is_heard_though_the_process_says_something_at_that_moment(ticks: int) -> None:
    measuring = Measuring(FIRST, **{FIRST: hangs})
    trying = asyncio.create_task(measuring.tried())
    await asyncio.sleep(1.0)
    measuring.processes[0].say({"tried": FIRST, "milliseconds": 10.0, "reason": None})
    for _ in range(ticks):
        await asyncio.sleep(0)
    trying.cancel()
    await asyncio.wait([trying], timeout=30.0)
    assert trying.cancelled()
    assert not measuring.processes[0].alive
