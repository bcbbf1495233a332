"""Feeds: read once for all, newest only, not at all when nobody looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from ui.kit.feed import Feed


class Source:
    """Something that changes; counts how often it is read."""

    def __init__(self) -> None:
        self.value = 1
        self.reads = 0
        self.broken = False
        self.left = 0
        self.feed: Feed[int] = Feed("numbers", self.read, 3600.0, on_unwatched=self.leave)

    def leave(self) -> None:
        """Nobody looks any more."""
        self.left += 1

    async def read(self) -> int:
        self.reads += 1
        if self.broken:
            raise OSError("the disk is gone")
        return self.value

    async def change(self, value: int) -> None:
        """Another value, and a hint that there is one."""
        reads, self.value = self.reads, value
        self.feed.poke()
        while self.reads == reads:
            await asyncio.sleep(0)
        await asyncio.sleep(0)


def told(story: Callable[[Source], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a story in an event loop."""

    @wraps(story)
    def run() -> None:
        asyncio.run(asyncio.wait_for(story(Source()), 20))

    del run.__wrapped__  # else pytest would look for fixtures named like the arguments
    return run


@told
async def test_who_subscribes_is_told_at_once_and_then_of_changes(source: Source) -> None:
    with source.feed.subscribe() as newest:
        assert await anext(newest) == 1
        await source.change(2)
        assert await anext(newest) == 2


@told
async def test_who_is_slow_gets_the_newest_and_nothing_in_between(source: Source) -> None:
    with source.feed.subscribe() as newest:
        assert await anext(newest) == 1
        for value in (2, 3, 4):
            await source.change(value)
        assert await anext(newest) == 4


@told
async def test_what_changed_and_changed_back_is_no_news(source: Source) -> None:
    with source.feed.subscribe() as newest:
        assert await anext(newest) == 1
        await source.change(2)
        await source.change(1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(newest), 0.05)


@told
async def test_many_look_and_it_is_read_once(source: Source) -> None:
    with source.feed.subscribe() as one, source.feed.subscribe() as other:
        assert [await anext(one), await anext(other)] == [1, 1]
        reads = source.reads
        await source.change(2)
        assert [await anext(one), await anext(other)] == [2, 2]
        assert source.reads == reads + 1
    assert source.left == 1, "told once, when the last one has gone"


@told
async def test_nobody_looks_and_nothing_is_read(source: Source) -> None:
    assert not source.feed.watched
    before = asyncio.all_tasks()
    with source.feed.subscribe() as newest:
        assert source.feed.watched
        await anext(newest)
    assert not source.feed.watched
    reads = source.reads

    source.feed.poke()
    await asyncio.sleep(0.05)

    assert source.reads == reads
    assert asyncio.all_tasks() == before, "nothing of it runs on"


@told
async def test_a_look_that_fails_is_not_the_last(source: Source) -> None:
    with source.feed.subscribe() as newest:
        assert await anext(newest) == 1
        source.broken = True
        await source.change(2)
        source.broken = False
        await source.change(3)
        assert await anext(newest) == 3
