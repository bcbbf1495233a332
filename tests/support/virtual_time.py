"""An event loop whose clock jumps: where nothing is ready, the next timer is due at once. No test ever sleeps.

    @in_virtual_time
    async def test_something() -> None: ...

The test fails, too, if it leaves tasks behind, or an exception that nobody looked at.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import selectors
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar

LONGEST_STORY = 100_000.0
"""Seconds."""

P = ParamSpec("P")
T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Seconds since it was made. It waits for real only while a thread of its executor works."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._in_threads = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """The virtual clock."""
        return self._seconds

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds += seconds
        if self._seconds > LONGEST_STORY:
            raise RuntimeError("The story never ends: something waits again and again")

    @property
    def waits_for_thread(self) -> bool:
        """Whether something is under way that takes real time."""
        return self._in_threads > 0

    def run_in_executor(  # type: ignore[override] # Python 3.10 cannot spell the types of its arguments
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """As always, and counted."""
        self._in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_is_done)
        return future

    async def end(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Cancel tasks, and let the threads end."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._in_threads += 1  # the executor ends in one, too
        await self.shutdown_default_executor()

    def _thread_is_done(self, _future: asyncio.Future[Any]) -> None:
        self._in_threads -= 1


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self._loop.waits_for_thread:
            return super().select(None)
        if timeout is None:
            raise RuntimeError("Nothing will ever happen again: the test waits for what nobody does")
        self._loop.jump(timeout)
        return ready


def in_virtual_time(story: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of an async function."""

    @functools.wraps(story)
    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        run_in_virtual_time(story(*args, **kwargs))

    return test


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. AssertionError if it leaves something behind."""
    complaints: list[str] = []
    loop = VirtualTimeLoop()
    loop.set_debug(True)
    loop.set_exception_handler(lambda _, context: complaints.append(f"{context['message']}: {context}"))
    try:
        outcome = loop.run_until_complete(work)
        left = asyncio.all_tasks(loop)
        loop.run_until_complete(loop.end(left))
    finally:
        loop.close()
    gc.collect()
    assert not left, f"left behind: {left}"
    assert not complaints, complaints
    return outcome
