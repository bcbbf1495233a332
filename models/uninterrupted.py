"""What has to come to its end also where nobody waits for it any more: a thread that writes cannot be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T], *, interrupt: Callable[[], None] | None = None) -> T:
    """Do it even if this task is cancelled meanwhile: that is raised when it is over, whatever it came to.

    So what comes next may work on the same files. `interrupt` asks for an early end then.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if interrupt is not None:
            interrupt()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at: the cancellation is what is reported
        raise
