"""A page that follows what is so: shown when it is built, and anew with each change while its visitor is there.

NiceGUI keeps a page that was left for a while, lest it was only cut off. Nobody looks at it meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nicegui import ui

from ui.kit.feed import Feed

T = TypeVar("T")

log = logging.getLogger(__name__)


async def follow(feed: Feed[T], show: Callable[[T], Awaitable[None] | None]) -> None:
    """Show every newer value in the element that is being built.

    `show` may wait until the visitor's browser has what it was given: what changes meanwhile is shown as one. Nothing is
    read for a visitor who has gone, or is cut off; one who is back sees the newest.
    """
    client, container = ui.context.client, ui.context.slot.parent
    task: asyncio.Task[None] | None = None

    async def keep_showing() -> None:
        with feed.subscribe() as newest:
            async for value in newest:
                if client.is_deleted:
                    return
                with container:
                    try:
                        await _finish(show(value))
                    except Exception:  # one value that cannot be shown must not end the page
                        log.exception("a page cannot show what changed")

    def start() -> None:
        nonlocal task
        if task is None:
            task = asyncio.create_task(keep_showing(), name="page follows")

    def stop() -> None:
        nonlocal task
        if task is not None:
            task.cancel()
            task = None

    def stop_unless_there() -> None:
        if not client.has_socket_connection:  # a browser that is back may be so before its old connection is given up
            stop()

    await _finish(show(await feed.now()))
    client.on_connect(start)
    client.on_disconnect(stop_unless_there)
    client.on_delete(stop)


async def _finish(showing: Awaitable[None] | None) -> None:
    if showing is not None:
        await showing
