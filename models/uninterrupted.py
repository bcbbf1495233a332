"""What has to come to its end also where nobody waits for it any more: a thread that writes cannot be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import anyio

T = TypeVar("T")
P = ParamSpec("P")


async def in_thread(function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
    """As `asyncio.to_thread`, for what changes something: who is cancelled here ends no sooner than the thread."""
    return await to_its_end(asyncio.to_thread(function, *arguments, **options))


async def to_its_end(
    work: Coroutine[Any, Any, T], *, interrupt: Callable[[], object] | None = None, within: float | None = None
) -> T:
    """Do it even if this task is cancelled meanwhile: that is raised when it is over, whatever it came to.

    So what comes next may work on the same files. `interrupt` asks for an early end then; after `within` more seconds it is
    left alone (None: never).
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if interrupt is not None:
            interrupt()
        task.add_done_callback(_look_at)
        now = asyncio.get_running_loop().time
        until = None if within is None else now() + within
        # A scope of anyio that has ended cancels what still runs in it again and again, unless it is told not to.
        with anyio.CancelScope(shield=True):
            while not task.done() and (until is None or now() < until):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([task], timeout=None if until is None else until - now())
        raise


def _look_at(task: asyncio.Task[Any]) -> None:
    """What it came to interests nobody: the cancellation is what is reported."""
    if not task.cancelled():
        task.exception()
