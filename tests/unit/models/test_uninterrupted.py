"""Threads that come to their end before the task that waits for them ends, whatever befalls that task."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from models import uninterrupted
from models.uninterrupted import in_thread
from tests.support.held_threads import Held


@pytest.mark.parametrize("error", [None, OSError("the disk is full")])
def test_a_cancelled_task_ends_when_its_thread_has_ended_whatever_came_of_that(error: Exception | None) -> None:
    held = Held()

    def work() -> None:
        held.here()
        if error is not None:
            raise error

    async def story() -> None:
        assert not await held.cancelled(in_thread(work))

    asyncio.run(story())
    assert held.gone.is_set()


def test_what_comes_of_it_comes_of_it() -> None:
    def divided(one: int, *, by: int) -> float:
        return one / by

    async def story() -> None:
        assert await in_thread(divided, 6, by=3) == 2.0
        with pytest.raises(ZeroDivisionError):
            await in_thread(divided, 6, by=0)

    asyncio.run(story())


def test_a_second_cancellation_changes_nothing() -> None:
    held = Held()

    async def story() -> None:
        task = asyncio.ensure_future(in_thread(held.here))
        await held.is_met()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not task.done()
        held.go_on.set()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(story())


def test_a_scope_that_is_over_waits_without_turning_round_and_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """anyio cancels what is left in such a scope with every turn of the event loop."""
    held, waits = Held(), 0

    class Counted:
        def __getattr__(self, name: str) -> object:
            nonlocal waits
            waits += name == "wait"
            return getattr(asyncio, name)

    async def story() -> None:
        monkeypatch.setattr(uninterrupted, "asyncio", Counted())
        with anyio.CancelScope() as scope:

            async def cancel_and_let_go() -> None:
                await held.is_met()
                scope.cancel()
                for _ in range(50):
                    await asyncio.sleep(0)
                held.go_on.set()

            letting_go = asyncio.ensure_future(cancel_and_let_go())
            await in_thread(held.here)
            raise AssertionError("the cancellation was lost")
        await letting_go

    asyncio.run(story())
    assert held.gone.is_set()
    assert waits == 1
