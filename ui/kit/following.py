"""A page that follows what is so: shown when it is built, and anew with each change while its visitor looks at it.

NiceGUI keeps a page that was left for a while, lest it was only cut off; and people leave pages open behind others. Nobody
looks at either meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from nicegui import ui

from ui.kit.feed import Feed
from ui.kit.presence import Presence

T = TypeVar("T")

log = logging.getLogger(__name__)


async def follow(feed: Feed[T], show: Callable[[T], Awaitable[None] | None]) -> None:
    """Show every newer value in the element that is being built.

    `show` may wait until the visitor's browser has what it was given: what changes meanwhile is shown as one. Nothing is
    read for a visitor who has gone, is cut off, or has put the page away; one who is back sees the newest.
    """
    client, container = ui.context.client, ui.context.slot.parent
    presence = Presence.of(client)

    async def show_in_place(value: T) -> None:
        with container:
            await _finish(show(value))

    follower = _Follower(feed, show_in_place)

    def look() -> None:
        # A browser that is back may be so before its old connection is given up: it counts whether there is any.
        if client.has_socket_connection and presence.looking and not client.is_deleted:
            follower.go_on()
        else:
            follower.pause()

    await _finish(show(await feed.now()))
    client.on_connect(look)
    client.on_disconnect(look)
    presence.on_change(look)
    client.on_delete(follower.end)


class _Follower(Generic[T]):
    """Hands on what a feed tells while it is wanted. What is being shown is shown to its end: no half of it stays."""

    def __init__(self, feed: Feed[T], show: Callable[[T], Awaitable[None]]) -> None:
        self._feed = feed
        self._show = show
        self._wanted = False
        self._showing = False
        self._task: asyncio.Task[None] | None = None

    def go_on(self) -> None:
        """Begin, or go on; first comes what is so now."""
        self._wanted = True
        if self._task is None:
            self._task = asyncio.create_task(self._keep_showing(), name="page follows")

    def pause(self) -> None:
        """Subscribe to nothing until it goes on."""
        self._wanted = False
        if not self._showing:
            self.end()

    def end(self) -> None:
        """Stop at once, whatever is being shown."""
        self._wanted = False
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _keep_showing(self) -> None:
        with self._feed.subscribe() as newest:
            async for value in newest:
                self._showing = True
                try:
                    await self._show(value)
                except Exception:  # one value that cannot be shown must not end the page
                    log.exception("a page cannot show what changed")
                finally:
                    self._showing = False
                if not self._wanted:
                    self._task = None
                    return


async def _finish(showing: Awaitable[None] | None) -> None:
    if showing is not None:
        await showing
