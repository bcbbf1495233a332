"""Workers that die in a row, models that are unfit, and the end of it all."""

from __future__ import annotations

import asyncio

import pytest

from models.errors import (
    BundleError,
    DetectionUnavailable,
    NoModel,
    WorkerLost,
)
from tests.support.fake_workers import a_bundle
from tests.support.supervised import SOCKETIO, now
from tests.support.supervised import SupervisedBox as Box
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_restarts_pause_when_they_follow_each_other() -> None:
    async with Box() as box:
        box.workshop.load_seconds = 0.0
        await box.load()
        pauses = []
        for _ in range(10):
            box.worker.die()
            died = now()
            await asyncio.sleep(31.0)
            pauses.append(box.workshop.times[-1] - died)
        assert pauses == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30]


@in_virtual_time
async def test_a_model_whose_workers_die_again_and_again_is_called_unfit_once() -> None:
    async with Box() as box:
        await box.load(a_bundle("4.2"))
        for count in range(1, 9):
            box.worker.die("It was ended by signal 11")
            await asyncio.sleep(40.0)
            assert len(box.unfit) == (count >= 5)
        [(version, why)] = box.unfit
        assert version == "4.2"
        assert why.startswith("Its worker died or did not start 5 times in a row.")
        assert "signal 11" in why


@in_virtual_time
async def test_deaths_are_forgiven_once_a_worker_has_proven_itself() -> None:
    async with Box() as box:
        await box.load()
        for _ in range(12):
            box.worker.die()
            await asyncio.sleep(40.0)
            await box.ask_all(*(f"picture {number}" for number in range(20)))
        assert box.unfit == []


@in_virtual_time
async def test_a_model_that_does_not_start_any_more_is_unfit_too() -> None:
    """Its folder was damaged while it served: nothing died, and nothing will ever serve."""
    async with Box() as box:
        await box.load(a_bundle("4.2"))
        box.workshop.refuse = lambda order: BundleError("the weight file is damaged")
        box.worker.die()
        await asyncio.sleep(60.0)
        [(version, why)] = box.unfit
        assert (version, "the weight file is damaged" in why) == ("4.2", True)
        with pytest.raises(WorkerLost, match=r"no other one was there within 2\.5 s"):
            await box.ask("cat", SOCKETIO)
        box.workshop.refuse = lambda order: None
        await asyncio.sleep(60.0)
        assert await box.ask("cat") == "cat"  # it is tried on and on


@in_virtual_time
async def test_a_box_that_cannot_start_processes_does_not_blame_the_model() -> None:
    async with Box() as box:
        await box.load()
        box.workshop.refuse = lambda order: DetectionUnavailable("The box cannot start a process: out of memory")
        box.worker.die()
        await asyncio.sleep(600.0)
        assert box.unfit == []
        assert len(box.workshop.orders) < 40  # the pauses grow all the same
        box.workshop.refuse = lambda order: None
        await asyncio.sleep(40.0)
        assert await box.ask("cat") == "cat"


@in_virtual_time
async def test_whatever_goes_wrong_with_a_replacement_the_next_is_tried() -> None:
    async with Box() as box:
        await box.load()
        box.workshop.refuse = lambda order: ZeroDivisionError("nobody has thought of this")
        box.worker.die()
        await asyncio.sleep(3.0)
        box.workshop.refuse = lambda order: None
        await asyncio.sleep(40.0)
        assert await box.ask("cat") == "cat"


@in_virtual_time
async def test_closing_refuses_what_waits_and_what_is_under_way() -> None:
    box = Box()
    await box.load()
    tasks = [box.ask(f"hang {number}") for number in range(5)]
    await asyncio.sleep(0.01)
    await box.supervisor.close()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["The appliance is shutting down"] * 5
    assert all(isinstance(outcome, NoModel) for outcome in outcomes)
    with pytest.raises(NoModel, match="shutting down"):
        await box.ask("late")
    assert box.workshop.alive == []


@in_virtual_time
async def test_closing_ends_the_old_worker_too_and_one_that_is_being_started() -> None:
    box = Box()
    await box.load(a_bundle("1.0"))
    hanging = box.ask("hang")
    await asyncio.sleep(0.01)
    await box.load(a_bundle("2.0"))  # the old worker has still something to do
    box.worker.die()
    await asyncio.sleep(0.5)  # and a successor is on its way
    await box.supervisor.close()
    assert box.workshop.alive == []
    await asyncio.gather(hanging, return_exceptions=True)
    await asyncio.sleep(60.0)
    assert box.workshop.alive == []


@in_virtual_time
async def test_a_model_that_is_ready_after_the_end_is_ended_too() -> None:
    box = Box()
    loading = asyncio.create_task(box.supervisor.load(a_bundle()))
    await asyncio.sleep(0.5)
    await box.supervisor.close()
    with pytest.raises(NoModel, match="shutting down"):
        await loading
    assert box.workshop.alive == []
